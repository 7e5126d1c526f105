"""An attack by somebody who holds the originals: finds what was planted, and nothing in a sound export."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_anonymize_batch import KEYS, row, write
from typer.testing import CliRunner

from anonymize import attack, batch
from anonymize.attack.chance import binomial_tail
from anonymize.attack.guessing import Pair, guessing
from anonymize.attack.originals import Case, link_by_content, read_safe
from anonymize.attack.rarity import rarity
from anonymize.attack.written_dates import finder_of
from anonymize.cli import app
from anonymize.console import Console
from anonymize.files import read_rows, write_table
from anonymize.languages import load_pack
from anonymize.policy import ReportsConfig
from anonymize.report import SAFE_SCHEMA, Report, SafeReport
from anonymize.text import View, fold
from vlp.phantom.chunk import csv_line, report_lines
from vlp.phantom.config import PhantomConfig

QUIET = Console("quiet")
CONFIG = ReportsConfig(workers=1, shard_mb=0.1)
FR = load_pack("fr")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom export of 60 patients and what `anonymize reports` made of it."""
    folder = tmp_path_factory.mktemp("attack")
    lines = [csv_line(list(FR["phantom"]["columns"].values())).encode()]
    lines += report_lines(PhantomConfig(patients=60, seed=3), 0, 60)
    (folder / "export.csv").write_bytes(b"".join(lines))
    batch.run_reports(CONFIG, folder / "export.csv", folder / "safe", KEYS, QUIET)
    return folder


def run(folder: Path, safe: str, *, secret: bool = True, everyone: bool = False) -> attack.Attack:
    return attack.run_attack(
        CONFIG, folder / safe, folder / "export.csv", KEYS if secret else None, QUIET, everyone=everyone
    )


def original_reports(folder: Path) -> dict[str, Report]:
    from anonymize.attack.originals import read_originals
    from anonymize.readers import open_source

    reports = read_originals(open_source(folder / "export.csv", CONFIG), FR)
    return {KEYS.pseudonym("study", report.identity.accession): report for report in reports}


@pytest.mark.parametrize("secret", [True, False])
def test_a_sound_export_has_no_surviving_original(phantom: Path, secret: bool) -> None:
    found = run(phantom, "safe", secret=secret)
    assert found.leaks == ()
    assert found.traces == ()
    assert not found.order["follows_export"]
    assert not found.found
    assert found.linked == found.reports > 60
    assert found.guessing["pairs"] > 100
    assert found.guessing["close"] == 0
    assert found.guessing["first_letter"]["p"] > 1e-4
    assert found.linkage["offsets"]["more_than_one_offset"] == 0
    assert found.linkage["examinations"]["right"] <= found.linkage["examinations"]["unique"] <= 60


UNITS = [
    "zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze", "douze", "treize", "quatorze",
    "quinze", "seize",
]  # fmt: skip
TENS = {2: "vingt", 3: "trente", 4: "quarante", 5: "cinquante", 6: "soixante"}


def in_words(number: int) -> str:
    """A number below 1,000,000 in French, as a report may have it."""
    if number >= 1000:
        head = "" if number < 2000 else in_words(number // 1000) + " "
        return f"{head}mille {in_words(number % 1000)}".removesuffix(" zéro")
    if number >= 100:
        head = "" if number < 200 else UNITS[number // 100] + " "
        return f"{head}cent {in_words(number % 100)}".removesuffix(" zéro")
    if number < 17:
        return UNITS[number]
    if number < 20:
        return f"dix-{UNITS[number - 10]}"
    if number >= 80:
        return f"quatre-vingt-{in_words(number - 80)}".removesuffix("-zéro")
    if number >= 70:
        return f"soixante-{in_words(number - 60)}"
    ten, one = TENS[number // 10], number % 10
    return ten if not one else f"{ten} et un" if one == 1 else f"{ten}-{UNITS[one]}"


def longest(name: str) -> str:
    return max(name.replace("-", " ").replace("'", " ").split(), key=len)


def swapped(word: str) -> str:
    """One typing error: two letters in the middle change places."""
    at = next(i for i in range(1, len(word) - 1) if word[i] != word[i + 1])
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def birth_in_words(report: Report) -> str:
    born = date.fromisoformat(report.identity.birth_date)
    return f"{in_words(born.day)} {FR['pack']['months'][born.month - 1][0]} {in_words(born.year)}"


# kind → what is planted (from the original record), and the sentence around it
PLANTS: dict[str, tuple[Callable[[Report], str], str]] = {
    "typo": (lambda r: swapped(longest(r.identity.surname).title()), "Avis demandé pour {} ce jour."),
    "accentless": (lambda r: fold(longest(r.identity.given_name)).upper(), "Clichés de {} comparés."),
    "spelled": (lambda r: " ".join(longest(r.identity.surname).upper()), "Nom épelé : {}."),
    "birth": (birth_in_words, "Naissance le {}."),
    "phone": (lambda r: "/".join(filter(str.isdigit, r.identity.phone)), "Rappel au {} demain."),
    "ipp": (lambda r: r.identity.patient_id, "Dossier {} relu en staff."),
    "street": (lambda r: r.identity.address, "Retour au domicile, {}."),
    "mail": (lambda r: f"x.{fold(longest(r.identity.surname))}@courrier.example", "Copie à {}."),
    "reversed": (lambda r: f"{r.identity.surname.title()} {r.identity.given_name.title()}", "Relu avec {} au lit."),
    "staff": (lambda r: longest(r.identity.staff[-1].split()[-1]).title(), "Vu avec {} en salle."),
}  # fmt: skip


def plant(phantom: Path, target: Path, seed: int) -> dict[str, tuple[str, int, int]]:
    """A copy of the safe export with ten leaks, each in another report: kind → report, start, end."""
    shutil.copytree(phantom / "safe", target)
    by_study, draw = original_reports(phantom), random.Random(seed)
    parts = {path: read_rows(path) for path in sorted((target / "reports").glob("part-*.parquet"))}
    rows = [item for held in parts.values() for item in held]
    draw.shuffle(rows)
    words = attack.Survival(FR, [])
    planted: dict[str, tuple[str, int, int]] = {}
    for item in rows:
        waiting = [kind for kind in PLANTS if kind not in planted]
        original = by_study[item["study"]]
        names = {longest(original.identity.surname), longest(original.identity.given_name)}
        if not waiting or any(len(name) < 6 or fold(name) in words.ordinary() for name in names):
            continue
        make, sentence = PLANTS[waiting[0]]
        value = make(original)
        lead, tail = sentence.split("{}")
        text = item["text"]
        at = draw.choice([0, len(text), text.find(". ") + 2, text.rfind("\n") + 1])
        start = at + 1 + len(lead)
        item["text"] = f"{text[:at]} {lead}{value}{tail} {text[at:]}"
        planted[waiting[0]] = (item["report_id"], start, start + len(value))
    for path, held in parts.items():
        write_table(path, held, SAFE_SCHEMA)
    assert len(planted) == 10
    return planted


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("secret", [True, False])
def test_all_ten_planted_leaks_are_found(phantom: Path, tmp_path: Path, secret: bool, seed: int) -> None:
    planted = plant(phantom, tmp_path / "copy", seed)
    found = attack.run_attack(CONFIG, tmp_path / "copy", phantom / "export.csv", KEYS if secret else None, QUIET)
    for kind, (report, start, end) in planted.items():
        hits = [f for f in found.leaks if f.report_id == report and f.start < end and start < f.end]
        assert hits, kind
    reports = {report for report, _, _ in planted.values()}
    assert {finding.report_id for finding in found.leaks} <= reports
    assert found.found


def test_an_ordinary_word_that_is_also_the_name_is_ambiguous(tmp_path: Path) -> None:
    texts = ["RESULTATS : petit fragment osseux.", "CONCLUSION : kyste de Baker."]
    rows = [row(0, exam, text) for exam, text in enumerate(texts)]
    for item in rows:
        item[1], item[3] = "PETIT", "Baker"
    source = write(tmp_path / "e.csv", rows, "utf-8")
    batch.run_reports(CONFIG, source, tmp_path / "safe", KEYS, QUIET)
    part = tmp_path / "safe" / "reports" / "part-00000.parquet"
    safe = [{**item, "text": item["text"].replace("[NOM]", "Petit")} for item in read_rows(part)]
    safe[0]["text"] += " Vu Mme Petit ce jour."
    write_table(part, safe, SAFE_SCHEMA)
    found = attack.run_attack(CONFIG, tmp_path / "safe", source, KEYS, QUIET)
    texts_of = {item["report_id"]: item["text"] for item in safe}
    leaks = [texts_of[f.report_id][f.start : f.end] for f in found.leaks if f.kind == "name"]
    unsure = [texts_of[f.report_id][f.start : f.end] for f in found.ambiguous if f.kind == "name"]
    assert leaks == ["Petit"]
    assert sorted(unsure) == ["Baker", "petit"]
    assert found.ambiguous[0].shape


def test_command_exit_code_and_no_value_in_its_output(phantom: Path, tmp_path: Path) -> None:
    planted = plant(phantom, tmp_path / "copy", 1)
    (tmp_path / "secret").write_bytes(KEYS.secret)
    common = ["--originals", str(phantom / "export.csv"), "--secret-file", str(tmp_path / "secret"), "--json"]
    sound = CliRunner().invoke(app, ["attack", str(phantom / "safe"), *common])
    assert sound.exit_code == 0, sound.output
    assert json.loads(sound.stdout)["surviving"] == 0
    result = CliRunner().invoke(app, ["attack", str(tmp_path / "copy"), *common])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["surviving"] >= 10
    assert {"report_id", "kind", "start", "end"} <= found["findings"][0].keys()
    assert all("value" not in item for item in found["findings"])
    report, start, end = planted["staff"]
    texts = {item["report_id"]: item["text"] for item in read_rows(tmp_path / "copy" / "reports")}
    assert texts[report][start:end] not in result.output
    shown = CliRunner().invoke(app, ["attack", str(tmp_path / "copy"), *common, "--show"])
    assert texts[report][start:end] in shown.output


def test_traces_in_other_files_and_the_order_of_rows_are_found(phantom: Path, tmp_path: Path) -> None:
    shutil.copytree(phantom / "safe", tmp_path / "copy")
    by_study = original_reports(phantom)
    ordinary = attack.Survival(FR, read_safe(phantom / "safe", 0).values()).ordinary()
    names = (report.identity for report in by_study.values())
    some = next(
        who for who in names if who.surname.isalpha() and fold(who.surname) not in ordinary and len(who.surname) > 6
    )
    (tmp_path / "copy" / f"notes-{some.surname}.txt").write_text(f"IPP {some.patient_id}\n")
    rows = read_rows(tmp_path / "copy" / "reports")
    rows.sort(key=lambda item: by_study[item["study"]].position)
    for path in (tmp_path / "copy" / "reports").glob("part-*.parquet"):
        path.unlink()
    write_table(tmp_path / "copy" / "reports" / "part-00000.parquet", rows, SAFE_SCHEMA)
    found = attack.run_attack(CONFIG, tmp_path / "copy", phantom / "export.csv", KEYS, QUIET)
    assert {(trace.where, trace.kind) for trace in found.traces} == {("name", "name"), ("content", "id")}
    assert found.order["follows_export"]
    assert found.order["ascending_share"] == 1


@given(st.dates(date(1900, 1, 1), date(2069, 12, 31)))
def test_dates_in_every_form(day: date) -> None:
    month = FR["pack"]["months"][day.month - 1][0]
    first = "premier" if day.day == 1 else in_words(day.day)
    forms = [
        f"{day:%d/%m/%Y}", f"{day.day}.{day.month}.{day.year}", f"{day:%Y-%m-%d}", f"{day:%d%m%Y}", f"{day:%Y%m%d}101500",
        f"{day.day} {month} {day.year}", f"{day:%d %m %Y}", " ".join(f"{day:%d%m%Y}"),
        f"{first} {month.upper()} {in_words(day.year)}",
        f"{day:%d_%m_%Y}",
    ]  # fmt: skip
    for form in forms:
        text = f"née le {form}, vue ce jour"
        assert day in {found for _, _, found in finder_of(FR).find(View(text))}, form


def test_guessing_sees_surrogates_that_tell() -> None:
    names = [f"{a}{b}ard" for a in "bcdfglmnprst" for b in ("el", "ou", "in")]
    draw = random.Random(0)
    sound = {Pair(str(i), name, draw.choice(names)) for i in range(40) for name in draw.sample(names, 3)}
    sound = {pair for pair in sound if pair.original != pair.surrogate}
    assert guessing(sound)["first_letter"]["p"] > 1e-3
    telling = {Pair(p.patient, p.original, p.original[0] + "x" * 6) for p in sound}
    result = guessing(telling)
    assert result["first_letter"]["p"] < 1e-6
    assert result["same_name"]["p"] < 1e-6  # the same surrogate for everybody of a name


def test_chance_of_hits() -> None:
    assert binomial_tail(0, 10, 0.5) == 1
    assert binomial_tail(10, 10, 0.5) == pytest.approx(0.5**10)
    assert binomial_tail(1, 3, 0.5) == pytest.approx(0.875)
    assert binomial_tail(1100, 2001, 0.5) < 1e-4


def test_rare_combinations_are_counted() -> None:
    def case(patient: str, age: int, exam: str, months: int) -> Case:
        day = (date(2024, 1, 5) + timedelta(31 * months)).isoformat()
        empty = dict.fromkeys(("indication", "technique", "comparison", "results", "conclusion", "text"), "")
        return Case(patient, [SafeReport("R", patient, "S", day, age * 12, "F", "fr", exam, **empty)])

    cells = rarity([case("a", 61, "Genou", 0), case("b", 64, "GENOU", 0), case("c", 31, "Main", 2)])
    assert [cell["alone"] for cell in cells] == [1, 1, 1]
    assert [cell["below_5"] for cell in cells] == [3, 3, 3]
    assert cells[2]["columns"] == ["age_band", "sex", "exam", "month"]


def test_reports_are_linked_by_their_words_alone(phantom: Path, tmp_path: Path) -> None:
    shutil.copytree(phantom / "safe", tmp_path / "copy")
    for path in (tmp_path / "copy" / "reports").glob("part-*.parquet"):
        write_table(path, [{**item, "sex": "", "age_months": None} for item in read_rows(path)], SAFE_SCHEMA)
    by_study = original_reports(phantom)
    cases = read_safe(tmp_path / "copy", 0)
    link_by_content(cases, by_study.values())
    pairs = [(case.safe[number], report) for case in cases.values() for number, report in case.linked.items()]
    right = sum(by_study[safe.study].position == report.position for safe, report in pairs)
    assert right == len(pairs) >= 0.95 * len(by_study)
