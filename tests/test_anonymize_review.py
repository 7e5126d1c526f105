"""The review page: pairs and offsets, signs of risk, the journal, gold, who may reach the page, and a real browser."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymize import batch
from anonymize.adapt.run import _corrected
from anonymize.audit import broken_line
from anonymize.config import load_config
from anonymize.console import Console, UserError
from anonymize.engine import Anonymizer
from anonymize.files import read_json, read_rows, write_table
from anonymize.keys import Keys, SecretError, private_folder
from anonymize.measure import read_gold, score
from anonymize.policy import Policy, ReportsConfig
from anonymize.report import SAFE_SCHEMA, Identity, Report, Span
from anonymize.review import gold
from anonymize.review.alignment import align
from anonymize.review.data import Pair, Pairs, Safe, choose
from anonymize.review.journal import EditError, Journal, with_span
from anonymize.review.risk import Assessor
from anonymize.review.run import Options, run_review
from anonymize.review.session import ConflictError, Session

SECRET = b"a secret for tests only, of some length"
HEADINGS = ["IPP", "NOM", "PRENOM", "SEXE", "DATE_NAISSANCE", "NUM_ACCESSION", "DATE_EXAMEN", "LIBELLE_EXAMEN", "TEXTE"]
LEAK = "kermorvanou"  # in lower case, without a cue: no detector can know that it is a name


def body(number: int) -> str:
    """A report; the one of patient 1 holds a name that nothing finds, another one a sign beyond the BMP."""
    told = (
        f"Images revues avec {LEAK} hier."
        if number == 1
        else "Pas de lésion 𝛼."
        if number == 2
        else "Sans particularité."
    )
    return (
        f"Mme QUIBERONNEC{'AEIOU'[number]} Armelline, née le 12/03/195{number}.\n"
        f"Indication : douleur du genou.\nRésultats : {told}\nConclusion : gonarthrose stade 3 de Kellgren et Lawrence.\n"
        f"Dr Yseult LOCRONAN\n"
    )


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A safe export; the originals and the secret stand beside it."""
    folder = tmp_path_factory.mktemp("review")
    source = folder / "export.csv"
    with source.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=";")
        writer.writerow(HEADINGS)
        for number in range(5):
            name = f"QUIBERONNEC{'AEIOU'[number]}"
            exam = (
                f"9{number}0077",
                name,
                "Armelline",
                "F",
                f"12/03/195{number}",
                f"A{number}",
                "03/05/2024",
                "Genou face",
            )
            writer.writerow([*exam, body(number)])
    (folder / "secret").write_bytes(SECRET)
    batch.run_reports(ReportsConfig(workers=1), source, folder / "safe", Keys(SECRET), Console("quiet"))
    return folder / "safe"


@pytest.fixture
def session(safe: Path, tmp_path: Path) -> Iterator[Session]:
    journal = Journal(tmp_path / "journal")
    yield open_session(safe, journal)
    journal.close()


def open_session(safe: Path, journal: Journal, sample: int = 5) -> Session:
    config = load_config(ReportsConfig, safe / "reports" / "config.yaml")
    choice = choose(safe, 0, sample, 0)
    pairs = Pairs(safe, safe.parent / "export.csv", config, Keys(SECRET), choice.all, Console("quiet"))
    return Session(pairs, choice, journal, journal.path.parent, Console("quiet"))


def the_leak(session: Session) -> tuple[str, int, int]:
    """The report with the leak, and where it stands."""
    name = next(name for name in session.pairs.ids if LEAK in session.pairs[name].original.text)
    start = session.pairs[name].original.text.index(LEAK)
    return name, start, start + len(LEAK)


# -- pairs and offsets ------------------------------------------------------------------------------------------------


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, list[Span], list[str], str]:
    """A text, spans of it, what they became, and the result, some words of which were changed once more."""
    words = draw(st.lists(st.text("ab𝛼 é\n.,", min_size=1, max_size=6), min_size=1, max_size=14))
    text, spans, news, position = "".join(words), [], [], 0
    for word in words:
        if draw(st.booleans()):
            spans.append(Span(position, position + len(word), "name", 0.9, "rule"))
            news.append(draw(st.sampled_from(["", "[NOM]", "xy", word, "x y z"])))
        position += len(word)
    pieces, position = [], 0
    for span, new in zip(spans, news, strict=True):
        pieces += [text[position : span.start], new]
        position = span.end
    safe = "".join([*pieces, text[position:]])
    if draw(st.booleans()):
        safe = re.sub(
            draw(st.sampled_from(["a", "b+", "x", r"\s", r"\w+$"])), draw(st.sampled_from(["[T]", "", "q"])), safe
        )
    return text, spans, news, safe


@given(edited())
def test_offsets_map_between_original_and_safe_text(case: tuple[str, list[Span], list[str], str]) -> None:
    text, spans, news, after = case
    aligned = align(text, spans, news, after)
    place = safe_place = 0
    for piece in aligned.pieces:
        assert (piece.start, piece.safe_start) == (place, safe_place)
        place, safe_place = piece.end, piece.safe_end
        if piece.span is None:
            assert text[piece.start : piece.end] == after[piece.safe_start : piece.safe_end]
            for offset in range(piece.start, piece.end):
                there = aligned.to_safe(offset, offset + 1)
                assert after[slice(*there)] == text[offset]
                assert aligned.to_original(*there) == (offset, offset + 1)
        elif piece.start < piece.end:
            low, high = aligned.to_safe(piece.start, piece.end)
            assert (low, high) == (piece.safe_start, piece.safe_end)
    assert (place, safe_place) == (len(text), len(after))
    hidden = {offset for piece in aligned.pieces if piece.span for offset in range(piece.start, piece.end)}
    for span in spans:
        assert hidden >= set(range(span.start, span.end)) or text[span.start : span.end] in after


def test_the_pair_is_what_the_run_made(session: Session) -> None:
    assert len(session.pairs.ids) == 5
    for name in session.pairs.ids:
        pair = session.pairs[name]
        assert pair.exact
        assert "QUIBERONNEC" not in pair.safe.text
        assert {pair.original.text[s.start : s.end] for s in pair.spans} >= {"Yseult LOCRONAN"}


def test_a_changed_safe_file_is_told(safe: Path, tmp_path: Path) -> None:
    copy = tmp_path / "safe"
    shutil.copytree(safe, copy)
    shutil.copy(safe.parent / "export.csv", tmp_path / "export.csv")
    part = next((copy / "reports").glob("part-*.parquet"))
    rows = read_rows(part)
    rows[0]["text"] = rows[0]["text"].replace("douleur", "gonalgie")
    write_table(part, rows, SAFE_SCHEMA)
    journal = Journal(tmp_path / "j")
    session = open_session(copy, journal)
    name = rows[0]["report_id"]
    assert session.risks[name].reasons["differs"]
    assert next(iter(session.overview()["reports"]))["id"] == name  # the riskiest stands first
    span = next(span for span in session.pairs[name].spans if span.rule == "changed")
    assert session.pairs[name].original.text[span.start : span.end] == "douleur"
    journal.close()


def test_what_an_older_run_left_is_proposed_and_counts_as_visible(safe: Path, tmp_path: Path) -> None:
    copy = tmp_path / "safe"
    shutil.copytree(safe, copy)
    shutil.copy(safe.parent / "export.csv", tmp_path / "export.csv")
    part = next((copy / "reports").glob("part-*.parquet"))
    rows = read_rows(part)
    rows[0]["text"] = re.sub(r"\nDr .*\n", "\nDr Yseult LOCRONAN\n", rows[0]["text"])
    write_table(part, rows, SAFE_SCHEMA)
    journal = Journal(tmp_path / "j")
    session = open_session(copy, journal)
    shown = session.report(rows[0]["report_id"])
    spans = {shown["original"][span["start"] : span["end"]]: span["status"] for span in shown["spans"]}
    assert spans["Yseult LOCRONAN"] == "visible"
    assert set(spans.values()) == {"visible", "hidden"}
    for name in session.sample:
        session.act(name, "accept", 0)
    assert session.totals()["leak"]["reports"]["count"] == 1
    journal.close()


def test_what_the_policy_keeps_is_no_leak(session: Session) -> None:
    name, start, end = the_leak(session)
    pair, span = session.pairs[name], Span(start, end, "date", 1.0, "review")
    assert gold.status(pair, span, Policy()) == "visible"
    assert gold.status(pair, span, Policy(date="keep")) == "kept"
    known = next(span for span in pair.spans if pair.original.text[span.start : span.end].startswith("12/03"))
    assert gold.status(pair, known, Policy()) == "hidden"
    wider = Span(known.start - 6, known.end, "birth_date", 1.0, "review")
    assert gold.status(pair, wider, Policy()) == "partly"


def test_another_secret_or_export_is_refused(safe: Path) -> None:
    config = load_config(ReportsConfig, safe / "reports" / "config.yaml")
    with pytest.raises(UserError, match="belongs to"):
        Pairs(safe, safe.parent / "export.csv", config, Keys(b"x" * 32), choose(safe, 0, 0, 0).all, Console("quiet"))


def test_choice_is_random_and_repeatable(safe: Path) -> None:
    one = choose(safe, 3, 2, 7)
    assert one == choose(safe, 3, 2, 7)
    assert (len(one.sample), len(one.all), one.total) == (2, 3, 5)
    assert len({choose(safe, 3, 2, seed).sample for seed in range(20)}) > 5


def signs(
    text: str, spans: list[Span], news: list[str], after: str = "", identity: Identity = Identity()
) -> dict[str, str]:
    """Reason → the place it names, of a pair made by hand."""
    engine = Anonymizer(ReportsConfig(ner="none"), Keys(SECRET))
    aligned = align(text, spans, news, after or text)
    pair = Pair(
        Safe("R", "P", "", "", "fr", after or text),
        Report(2, identity, "", "", text),
        aligned,
        True,
        engine.known(identity),
    )
    risk, doubts = Assessor(engine).assess(pair)
    assert 0 <= risk.score < 100
    assert set(risk.reasons) >= {doubt.reason for doubt in doubts}
    return {reason: "" for reason in risk.reasons} | {doubt.reason: text[doubt.start : doubt.end] for doubt in doubts}


def test_signs_of_risk() -> None:
    assert signs("Gonarthrose du genou droit.", [], []) == {"no_span": ""}
    assert signs("Voir 4 81 51 62 34 au dossier.", [], [])["digits_left"] == "4 81 51 62 34"
    assert signs("Images revues avec Martin hier.", [], [])["name_left"] == "Martin"
    assert "name_left" not in signs("Kyste de Baker. Stade 3 de Kellgren et Lawrence. Petit fragment.", [], [])
    identity = Identity(surname="Quiberonnec")
    assert signs("Vue par quiberonnec.", [], [], identity=identity)["known_left"] == "quiberonnec"
    name = Span(4, 15, "name", 0.6, "names.cue")
    found = signs("Vu: Quiberonnec.", [name], ["Marrieux"], "Vu: Marrieux.", identity)
    assert found == {"low_score": "Quiberonnec"}
    assert "clinical_hidden" in signs(
        "Vu: gonarthrose.", [Span(4, 15, "name", 0.9, "names.cue")], ["Marrieux"], "Vu: Marrieux."
    )
    tagged = signs("Vu: Quiberonnec.", [Span(4, 15, "name", 0.9, "ner.trained")], ["Marrieux"], "Vu: Marrieux.")
    assert tagged == {"tagger_only": "Quiberonnec"}
    assert "long_gap" in signs("Vu: Quiberonnec. " + "genou " * 400, [name], ["X"], "Vu: X. " + "genou " * 400)


def test_the_cache_of_risks_holds_no_text_and_serves(safe: Path, session: Session) -> None:
    path = session.journal.path.parent / "risk.json"
    assert path.stat().st_mode & 0o777 == 0o600
    written = path.read_text()
    words = {word for number in range(5) for word in re.findall(r"[^\W\d_]{5,}", body(number))}
    assert not [word for word in words if word in written]
    data = read_json(path)
    first = next(iter(data["reports"]))
    data["reports"][first]["risk"]["score"] = 12.3
    path.write_text(json.dumps(data))
    again = Session(session.pairs, session.choice, session.journal, path.parent, Console("quiet"))
    assert again.risks[first].score == 12.3


# -- corrections ------------------------------------------------------------------------------------------------------


@given(
    st.text("ab ,;\n", min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6),
)
def test_corrected_spans_never_overlap_and_always_hold_something(text: str, picks: list[tuple[int, int]]) -> None:
    spans: list[Span] = []
    for start, end in picks:
        covered = {i for span in spans for i in range(span.start, span.end) if text[i].isalnum()}
        try:
            after = with_span(text, spans, start, end, "town")
        except EditError:
            assert not (0 <= start < end <= len(text)) or not any(map(str.isalnum, text[start:end]))
            continue
        wanted = covered | {i for i in range(start, end) if text[i].isalnum()}
        assert {i for span in after for i in range(span.start, span.end) if text[i].isalnum()} == wanted
        assert all(a.end <= b.start for a, b in pairwise(after))
        assert all(any(map(str.isalnum, text[span.start : span.end])) for span in after)
        spans = after


def test_corrections_are_kept_undone_and_never_lost(safe: Path, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    session = open_session(safe, journal)
    name, start, end = the_leak(session)
    before = session.report(name)
    added = session.act(name, "add", 0, start=start - 1, end=end + 1, kind="name")["report"]
    new = next(span for span in added["spans"] if span["by_person"])
    assert (new["start"], new["end"], new["status"]) == (start, end, "visible")
    low, high = new["safe"]
    assert added["safe"][low:high] == LEAK
    with pytest.raises(ConflictError):
        session.act(name, "remove", 0, start=start, end=end)
    changed = session.act(name, "change", 1, start=start, end=end, kind="town")["report"]
    assert next(span for span in changed["spans"] if span["start"] == start)["kind"] == "town"
    wider = session.act(name, "extend", 2, start=start, end=end, new_start=start, new_end=end + 5)["report"]
    assert wider["original"][start : wider["spans"][-2]["end"]] == f"{LEAK} hier"
    assert session.act(name, "undo", 3)["report"]["spans"] == changed["spans"]
    gone = session.act(name, "remove", 4, start=start, end=end)["report"]
    assert [span["start"] for span in gone["spans"]] == [span["start"] for span in before["spans"]]
    first = before["spans"][0]
    freed = session.act(name, "remove", 5, start=first["start"], end=first["end"])["report"]["freed"]
    assert [(item["start"], item["end"]) for item in freed] == [(first["start"], first["end"])]
    with pytest.raises(EditError):
        session.act(name, "remove", 6, start=0, end=1)
    with pytest.raises(UserError, match="another review page"):
        Journal(tmp_path / "j")
    last = session.report(name)
    journal.close()

    path = tmp_path / "j" / "journal.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    assert LEAK not in path.read_text()
    with path.open("a") as stream:
        stream.write('{"time": "cut off by a cra')
    journal = Journal(tmp_path / "j")
    assert open_session(safe, journal).report(name) == last
    journal.record(name, "undo")
    assert len(path.read_text().splitlines()) == 7
    journal.close()


def test_selecting_in_the_safe_text_marks_the_original(session: Session) -> None:
    name, start, end = the_leak(session)
    low, high = session.pairs[name].alignment.to_safe(start, end)
    spans = session.act(name, "add", 0, side="safe", start=low, end=high, kind="name")["report"]["spans"]
    assert (start, end) in {(span["start"], span["end"]) for span in spans}


# -- gold and the estimate --------------------------------------------------------------------------------------------


def test_gold_is_read_by_measure_and_adapt(session: Session, tmp_path: Path) -> None:
    name, start, end = the_leak(session)
    session.act(name, "add", 0, start=start, end=end, kind="name")
    path = tmp_path / "gold.jsonl"
    assert session.write_gold(path, False) == 0  # not accepted yet
    session.act(name, "accept", 1)
    assert session.write_gold(path, True) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    row = json.loads(path.read_text(encoding="utf-8"))
    assert (row["id"], row["source"], row["lang"]) == (name, "review", "fr")
    document = next(read_gold(path))
    assert document.identity.surname == "QUIBERONNECE"
    assert (start, end, "NOM") in document.spans
    engine = Anonymizer(ReportsConfig(), Keys(SECRET))
    result = score([document], [session.pairs[name].spans])
    assert result["gold_tokens"] > 5
    assert result["by_label"]["NOM"]["leaked_spans"] == 1
    assert score([document], [engine.find(document.text, document.identity)])["redact_full"] == 0.0
    assert (start, end, "name") in _corrected(document).spans


def test_every_kind_has_a_label_that_adapt_reads() -> None:
    from anonymize.detectors.outside_model import known_labels, plain_label
    from anonymize.measure import COUNTED
    from anonymize.report import KINDS

    assert set(gold.LABELS) == set(KINDS)
    for kind, label in gold.LABELS.items():
        if kind != "age":
            assert label in COUNTED
            assert known_labels()[plain_label(label)] == ("name" if kind == "initials" else kind)


def test_the_estimate_comes_from_the_start_of_the_random_sample(session: Session) -> None:
    name, start, end = the_leak(session)
    assert session.totals()["leak"]["reports"]["share"] is None
    others = [other for other in session.sample if other != name]
    session.act(name, "add", 0, start=start, end=end, kind="name")
    session.act(name, "accept", 1)
    for other in others[:-1]:
        session.act(other, "accept", 0)
    last = session.sample.index(others[-1])
    assert session.totals()["sample_reviewed"] == last  # what lies behind the gap does not count
    session.act(others[-1], "accept", 0)
    totals = session.totals()
    leak = totals["leak"]
    assert (totals["reviewed"], totals["left"], leak["reports"]["count"], leak["reports"]["n"]) == (5, 0, 1, 5)
    assert leak["reports"]["low"] == pytest.approx(0.0362, abs=2e-4)  # Wilson for 1 of 5
    assert leak["reports"]["high"] == pytest.approx(0.6245, abs=2e-4)
    assert leak["spans"]["count"] == 1


# -- who may reach the page -------------------------------------------------------------------------------------------

TOKEN = "t" * 43


@pytest.fixture
def client(session: Session) -> Any:
    pytest.importorskip("fastapi")
    testing = pytest.importorskip("fastapi.testclient")
    from anonymize.review.guard import Guard
    from anonymize.review.server import page

    app = Guard(page(session, lambda: {"gold": "", "gold_reports": 0}), TOKEN, "127.0.0.1", 8765, Console("quiet"))  # type: ignore[arg-type]
    return testing.TestClient(app, base_url="http://127.0.0.1:8765")


def test_without_the_token_nothing_is_served(client: Any, session: Session) -> None:
    name = session.pairs.ids[0]
    for path in ("/", "/?token=", "/?token=wrong", f"/?token={TOKEN}x", f"/?token=x&token={TOKEN}", "/assets/app.js"):
        assert client.get(path).status_code == 403, path
    for path in ("/api/reports", f"/api/reports/{name}", f"/api/reports?token={TOKEN}", "/docs", "/openapi.json"):
        answer = client.get(path)
        assert answer.status_code == 403
        assert "reports" not in answer.text or "terminal" in answer.text
    assert client.get("/", headers={"Cookie": "anonymize_review_8765=wrong"}).status_code == 403
    opened = client.get(f"/?token={TOKEN}")
    assert opened.status_code == 200
    cookie = opened.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert client.get("/api/reports").status_code == 200  # by the cookie
    assert client.get(f"/api/reports/{name}").json()["original"].startswith("Mme QUIBERONNEC")
    assert client.get("/docs").status_code == 404
    assert client.get("/assets/..%2fserver.py").status_code == 404


def test_headers_close_the_page(client: Any) -> None:
    for answer in (
        client.get("/"),
        client.get(f"/?token={TOKEN}"),
        client.get("/assets/app.css"),
        client.get("/nothing"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers
    html = client.get(f"/?token={TOKEN}").text
    assert not re.search(r"https?://|<script(?![^>]* src=)|style=|onclick", html)


@pytest.mark.parametrize(
    "host", ["evil.example:8765", "127.0.0.1", "127.0.0.1:80", "127.0.0.1.evil.example:8765", "", ":8765"]
)
def test_other_hosts_are_refused(client: Any, host: str) -> None:
    assert client.get(f"/?token={TOKEN}", headers={"Host": host}).status_code == 403


def test_names_of_this_machine_are_served(client: Any) -> None:
    for host in ("localhost:8765", "127.0.0.1:8765", "[::1]:8765"):
        assert client.get(f"/?token={TOKEN}", headers={"Host": host}).status_code == 200


def test_other_sites_cannot_change_anything(client: Any, session: Session) -> None:
    client.get(f"/?token={TOKEN}")
    path, body = f"/api/reports/{session.pairs.ids[0]}", {"action": "accept", "version": 0}
    assert client.post(path, json=body, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post(path, json=body, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post(path, content=json.dumps(body), headers={"Content-Type": "text/plain"}).status_code == 403
    assert client.post(path, content=b" " * 70_000, headers={"Content-Type": "application/json"}).status_code == 403
    assert client.options(path, headers={"Origin": "http://evil.example"}).status_code == 403
    assert session.totals()["reviewed"] == 0
    assert client.post(path, json=body, headers={"Origin": "http://127.0.0.1:8765"}).status_code == 200
    assert client.post(path, json=body).status_code == 409  # another window was faster
    assert client.post(path, json={**body, "kind": "nonsense"}).status_code == 422
    assert client.post("/api/reports/nothing", json=body).status_code == 404
    assert session.totals()["reviewed"] == 1


def test_errors_show_no_text(client: Any, session: Session, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    client.get(f"/?token={TOKEN}")
    monkeypatch.setattr(session, "report", lambda name: 1 / 0 if name else None)
    answer = client.get(f"/api/reports/{session.pairs.ids[0]}")
    assert answer.status_code == 500
    assert "division" not in answer.text
    assert "ZeroDivisionError in" in capsys.readouterr().err


def test_a_public_address_needs_a_word(safe: Path) -> None:
    with pytest.raises(UserError, match="--allow-network"):
        run_review(
            safe, safe.parent / "export.csv", safe.parent / "secret", Options(host="0.0.0.0"), Console("quiet"), print
        )


def test_gold_does_not_go_into_the_safe_export(safe: Path) -> None:
    options = Options(gold_out=safe / "gold.jsonl", export_only=True)
    with pytest.raises(UserError, match="inside the safe export"):
        run_review(safe, safe.parent / "export.csv", safe.parent / "secret", options, Console("quiet"), print)


def test_a_review_makes_no_secret(safe: Path) -> None:
    with pytest.raises(SecretError, match="--secret-file"):
        run_review(safe, safe.parent / "export.csv", None, Options(export_only=True), Console("quiet"), print)
    assert not (private_folder(safe) / "secret.key").exists()


# -- a real browser ---------------------------------------------------------------------------------------------------


class Server:
    """``anonymize review`` in a process of its own, as a person starts it."""

    def __init__(self, safe: Path, *more: str) -> None:
        command = [
            sys.executable,
            "-m",
            "anonymize.cli",
            "review",
            str(safe),
            "--originals",
            str(safe.parent / "export.csv"),
        ]
        command += ["--secret-file", str(safe.parent / "secret"), "--json", *more]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stderr
        self.address = ""
        self.lines: list[str] = []
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)
            if found:
                self.address = found.group()
                break

    def stop(self) -> tuple[int, dict[str, Any], str]:
        """Ctrl-C: exit code, summary, what was said."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, json.loads(out), "".join(self.lines) + err


@pytest.fixture
def begin(safe: Path) -> Iterator[Callable[[], Server]]:
    """Starts servers; those that a failed test leaves are killed."""
    servers: list[Server] = []

    def one() -> Server:
        servers.append(Server(safe))
        assert servers[-1].address, servers[-1].lines
        return servers[-1]

    yield one
    for server in servers:
        server.process.kill()
        server.process.communicate()


def test_in_a_browser(safe: Path, begin: Callable[[], Server]) -> None:
    pytest.importorskip("fastapi")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    server = begin()
    problems: list[str] = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 860})
        tab.on("console", lambda message: problems.append(message.text))  # also what the content policy refuses
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.goto(server.address)
        tab.wait_for_selector("#original mark")
        assert "token" not in tab.url
        for _ in range(5):  # to the report with the leak, by keyboard
            if LEAK in tab.inner_text("#original"):
                break
            before = tab.url
            tab.keyboard.press("j")
            api.expect(tab).not_to_have_url(before)
        assert "QUIBERONNECE" in tab.inner_text("#original")
        assert "QUIBERONNECE" not in tab.inner_text("#safe")
        assert LEAK in tab.inner_text("#safe")

        tab.locator("#original mark").first.hover()  # hovering one shows the other
        assert tab.locator("#safe mark.twin").count() == 1

        box = tab.evaluate(  # the word by mouse, its kind by keyboard
            """word => {
                const walker = document.createTreeWalker(document.getElementById("original"), NodeFilter.SHOW_TEXT);
                for (let node = walker.nextNode(); node; node = walker.nextNode()) {
                    const at = node.data.indexOf(word);
                    if (at < 0) continue;
                    const range = document.createRange();
                    range.setStart(node, at);
                    range.setEnd(node, at + word.length);
                    const { x, y, width, height } = range.getBoundingClientRect();
                    return { x, y, width, height };
                }
            }""",
            LEAK,
        )
        tab.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.wait_for_selector("#menu:not([hidden])")
        tab.keyboard.press("4")
        tab.wait_for_selector("#original mark.leak")
        assert tab.inner_text("#original mark.leak") == LEAK
        assert tab.inner_text("#safe mark.leak") == LEAK
        tab.keyboard.press("1")  # the new span has the focus: another kind
        tab.wait_for_selector('#original mark.leak[data-label^="name"]')
        tab.keyboard.press("Enter")
        api.expect(tab.locator("#done")).to_have_text("1")
        code, summary, said = server.stop()
        assert code == 0, said
        assert (summary["reviewed"], summary["gold_reports"]) == (1, 1)
        assert LEAK not in said
        assert "QUIBERONNEC" not in said

        server = begin()  # after a restart the correction is still there
        tab.goto(server.address)
        tab.wait_for_selector("#original mark")
        assert tab.inner_text("#done") == "1"
        tab.select_option("#f-state", "accepted")
        tab.click("#reports .item")
        tab.wait_for_selector("#original mark.leak")
        assert tab.inner_text("#original mark.leak") == LEAK
        tab.keyboard.press("u")  # the acceptance can be taken back
        api.expect(tab.locator("#done")).to_have_text("0")
        browser.close()
        code, summary, _ = server.stop()
    assert (code, summary["reviewed"], summary["edited"]) == (0, 0, 1)
    assert not [text for text in problems if "ERR_CONNECTION" not in text]  # the server was stopped under the page
    path = private_folder(safe) / "review" / "gold.jsonl"
    document = next(read_gold(path))
    start = document.text.index(LEAK)
    assert (start, start + len(LEAK), "NOM") in document.spans
    stages = [json.loads(line)["stage"] for line in (safe / "audit.jsonl").read_text().splitlines()]
    assert stages[-4:] == ["review-open", "review"] * 2
    assert broken_line(safe / "audit.jsonl") is None
