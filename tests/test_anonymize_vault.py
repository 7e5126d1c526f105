"""The vault gives the originals back exactly, to who holds the secret and gives a reason, and tells nobody else."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_anonymize_batch import KEYS, PEOPLE, row, run, write
from typer.testing import CliRunner

from anonymize.audit import append_chained, broken_line
from anonymize.cli import app
from anonymize.edits import Edit, apply, over
from anonymize.engine import Anonymizer
from anonymize.files import read_rows
from anonymize.keys import Keys
from anonymize.policy import Policy, ReportsConfig
from anonymize.report import Identity, Report
from anonymize.sealing import Sealer, SealError
from anonymize.text import fold
from anonymize.vault import Vault, restore

IDENTITY = Identity(
    patient_id="8000077",
    surname="Kerbratec",
    given_name="Armelline",
    birth_date="1950-01-12",
    phone="06 12 34 50 78",
    town="Tregastelou",
    accession="ACC1",
    staff=("Dr Gwenolae QUIBERONNEC",),
)
PIECES = st.one_of(
    st.sampled_from(
        [
            "Mme KERBRATEC", "Armelline", "Kerbratek", "née le 12/01/1950", "le 3 mai 2024", "Dr Quiberonnec", "06.12.34.50.78",
            "K E R B R A T E C", "Tregastelou", "8000077", "[NOM]", "\n", "RESULTATS :", "CH DE TREGASTELOU", "92 ans", "x@y.fr",
        ]
    ),
    st.text(max_size=8),
)  # fmt: skip
ACTIONS = st.sampled_from(["surrogate", "tag", "mask", "generalise", "delete", "keep"])
ENGINES: dict[str, Anonymizer] = {}


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=20).map(" ".join), st.sampled_from(["Genou Kerbratec", ""]), ACTIONS)
def test_reveal_gives_the_text_back_exactly(text: str, exam: str, action: str) -> None:
    if action not in ENGINES:
        ENGINES[action] = Anonymizer(ReportsConfig(policy=Policy(**dict.fromkeys(Policy.model_fields, action))), KEYS)
    report = Report(2, IDENTITY, "2024-05-03", exam, text)
    outcome = ENGINES[action].anonymize(report)
    for column, original in (("text", text), ("exam", exam), ("patient", "8000077"), ("date", "2024-05-03")):
        rows = [item for item in outcome.replacements if item.field == column]
        assert restore(getattr(outcome.report, column), rows) == original
        for item in rows:
            assert original[item.original_start : item.original_start + len(item.original)] == item.original


@st.composite
def edits_of(draw: st.DrawFn, length: int) -> list[Edit]:
    edges = sorted(draw(st.lists(st.integers(0, length), max_size=8)))
    pairs = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False) if a < b]
    return [Edit(a, b, "name", draw(st.text("xyz", max_size=3))) for a, b in pairs]


@given(st.data(), st.text("abcdef", max_size=24))
def test_edits_over_edits(data: st.DataObject, text: str) -> None:
    first = data.draw(edits_of(len(text)))
    between = apply(text, first)
    second = data.draw(edits_of(len(between)))
    both = over(text, first, second)
    assert apply(text, both) == apply(between, second)
    edges = [edge for edit in both for edge in (edit.start, edit.end)]
    assert edges == sorted(edges)


def test_a_sealed_file_opens_with_its_secret_only_and_unchanged() -> None:
    sealer = Sealer(KEYS, "vault")
    sealed = sealer.seal(b"Kerbratec", {"run": "r"})
    assert sealed == Sealer(KEYS, "vault").seal(b"Kerbratec", {"run": "r"}) != sealer.seal(b"Kerbratec", {"run": "s"})
    assert b"Kerbratec" not in sealed
    content, header = sealer.open(sealed)
    assert (content, header["run"], header["key"]) == (b"Kerbratec", "r", KEYS.identifier)
    with pytest.raises(SealError, match="not the one that sealed"):
        Sealer(Keys(b"another secret, long enough"), "vault").open(sealed)
    with pytest.raises(SealError):
        Sealer(KEYS, "spool").open(sealed)  # each purpose has its own key
    for place in (sealed.index(b'"r"') + 1, len(sealed) - 1):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(SealError):
            sealer.open(bytes(changed))


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A safe export of six reports with its vault, and the secret as a file."""
    source = write(tmp_path / "export.csv", [row(person, exam) for exam in range(2) for person in range(3)], "utf-8")
    run(source, tmp_path / "safe", shard_mb=0.002)
    (tmp_path / "secret").write_bytes(KEYS.secret)
    return tmp_path


def reveal(folder: Path, *arguments: str, secret: str = "secret"):
    return CliRunner().invoke(app, ["reveal", str(folder / "safe"), *arguments, "--secret-file", str(folder / secret)])


def log_of(folder: Path) -> list[dict]:
    path = folder / "safe.private" / "reveal.log.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def test_reveal_shows_originals_and_logs_every_call(export: Path) -> None:
    patient = KEYS.pseudonym("patient", "8010077")
    shown = reveal(export, "--patient", patient, "--reason", "recall of an implant", "--json")
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)["reports"]
    assert {item["text"] for item in found} == {row(1, 0)[-1]}
    assert {item["study"] for item in found} == {"ACC10000", "ACC10001"}
    assert {item["patient"] for item in found} == {"8010077"}
    one = reveal(export, "--report", found[0]["report_id"], "--kind", "phone", "--reason", "call back", "--json")
    text = json.loads(one.stdout)["reports"][0]["text"]
    assert "06 12 34 51 78" in text
    assert PEOPLE[1][0].upper() not in text
    study = reveal(export, "--study", KEYS.pseudonym("study", "ACC10001"), "--reason", "question of the ward")
    assert PEOPLE[1][0].upper() in study.stdout
    log = log_of(export)
    assert [line["reports"] for line in log] == [2, 1, 1]
    assert log[0]["reason"] == "recall of an implant"
    assert log[0]["asked"] == {"patient": patient}
    assert broken_line(export / "safe.private" / "reveal.log.jsonl") is None


def test_reveal_refuses_without_reason_and_with_another_secret(export: Path) -> None:
    patient = KEYS.pseudonym("patient", "8010077")
    refused = reveal(export, "--patient", patient)
    assert refused.exit_code == 2
    assert "--reason" in refused.stderr
    assert log_of(export) == []
    (export / "wrong").write_bytes(b"not the secret of this run")
    refused = reveal(export, "--patient", patient, "--reason", "curiosity", secret="wrong")
    assert refused.exit_code == 2
    assert "secret is not the one" in refused.stderr.replace("\n", " ")
    assert "kerbratec" not in fold(refused.output)
    assert [line["outcome"] for line in log_of(export)] == ["refused"]
    path = export / "safe.private" / "reveal.log.jsonl"
    append_chained(path, {"more": 1})
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])  # somebody removes the first line
    assert broken_line(path) == 1
    assert "lines were changed" in " ".join(reveal(export, "--patient", patient, "--reason", "check").stderr.split())


def test_nothing_in_clear_on_disk_and_private_modes(export: Path) -> None:
    private = export / "safe.private"
    held = [path for path in private.rglob("*") if path.is_file()]
    assert [path for path in held if path.suffix == ".vault"]
    for path in held:
        content = fold(path.read_bytes().decode("latin-1"))
        assert not any(fold(name).strip() in content for person in PEOPLE for name in person if name), path.name
    for path in (private / "vault").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((private / "vault").stat().st_mode) == 0o700


def test_a_changed_safe_text_is_not_revealed_wrongly(export: Path) -> None:
    vault = Vault(export / "safe", KEYS)
    rows = vault.read(0)
    safe = read_rows(export / "safe" / "reports" / "part-00000.parquet")
    items = [item for item in rows[0] if item.field == "text"]
    with pytest.raises(SealError, match="was changed"):
        restore(" " + safe[0]["text"], items)
