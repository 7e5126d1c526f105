"""Speed and recall of report de-identification: this package beside others, same reports, same core, same run.

    python benchmarks/deid.py --gold FILE.jsonl [--gold ...] --language fr [--json] [--repeat 5]
    python benchmarks/deid.py --linear --gold FILE.jsonl     # milliseconds per kilobyte of texts of 1 to 128 kB
    python benchmarks/deid.py --worst                        # slowest strings of 10 kB out of the pack's own cue words

The gold files are those of ``anonymize measure`` (JSONL of text and spans; ``meta.known_patient`` is the record). Times are
the CPU time of the process, pinned to one core where the system allows it; documents per second come from the median of
the repeats, each after a warm-up on three documents. Nothing is kept between repeats: view and phone caches are emptied, so
that a line counts as seen only within a run. Peers run with their rules and a blank model: Presidio's ``AnalyzerEngine`` on
``spacy.blank``, EDS-NLP's ``eds.dates`` alone (dates only), the regular expressions of Incognito. A peer that is not
installed is left out with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anonymize.engine import Anonymizer, settle
from anonymize.keys import Keys
from anonymize.languages import Pack, load_pack
from anonymize.measure import Gold, read_gold, score
from anonymize.policy import ReportsConfig
from anonymize.report import Identity, Span
from anonymize.text import view_of

Find = Callable[[Sequence[Gold]], list[list[Span]]]
"""All documents in, the spans of each out: every system may work as it does best."""
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)  # kilobytes (1,000 characters)
WORST = 10_000  # characters
RECORD = Identity(
    patient_id="PAT-1234567",
    surname="Dupont-Lejeune",
    birth_name="Le Goff",
    given_name="Anne-Marie, Rose",
    sex="F",
    birth_date="1957-03-14",
    address="12 rue de la Paix",
    postcode="75002",
    town="Saint-Étienne-du-Rouvray",
    phone="0612345678",
    visit="987654321",
    accession="ACC12345",
    staff=("Dr Jean Petit", "Pr Van der Berg"),
)
"""A made-up record for the strings of ``--worst``: every column filled."""


@dataclass(frozen=True)
class Row:
    """One system on one set of reports. Rates without gold are None."""

    system: str
    documents_per_second: float | None
    ratio: float | None  # our speed with all detectors, without identity, divided by this one
    redact_recall: float | None = None
    redact_full: float | None = None
    false_positives_per_1000: float | None = None
    note: str = ""


def one_core() -> str:
    """Pin this process to one core where the system allows it; says what was done."""
    if not hasattr(os, "sched_setaffinity"):
        return "not pinned: the system has no affinity"
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return f"core {core}"


def forget(anonymizer: Anonymizer) -> None:
    """Empty what the engine remembers of texts."""
    view_of.cache_clear()
    for detector in anonymizer.detectors:
        for value in vars(detector).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def ours(anonymizer: Anonymizer, identity: bool) -> Find:
    """The engine as ``anonymize detect`` runs it."""
    return lambda gold: list(anonymizer.find_each((item.text, item.identity if identity else None) for item in gold))


def one_by_one(find: Callable[[Gold], list[Span]]) -> Find:
    """A system that takes a document at a time."""
    return lambda gold: [find(document) for document in gold]


def presidio(language: str) -> Find:
    """Presidio's default recognizers with a blank spaCy model. Raises ImportError where it is not installed."""
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    from anonymize.presidio import RecognizerRegistry

    # its mail recognizer asks the network for the list of top-level domains; the one that it brings serves
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())

    class Blank(SpacyNlpEngine):
        def __init__(self) -> None:
            super().__init__()
            self.nlp = {language: spacy.blank(language)}

    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language])
    engine = AnalyzerEngine(registry=registry, nlp_engine=Blank(), supported_languages=[language])

    def find(gold: Gold) -> list[Span]:
        found = engine.analyze(gold.text, language)
        return [Span(item.start, item.end, "id", item.score, item.entity_type) for item in found]

    return one_by_one(find)


def eds_dates(language: str) -> Find:
    """EDS-NLP's date pipe alone (French). Raises ImportError where it is not installed."""
    if language != "fr":
        raise ImportError("EDS-NLP is French")
    import edsnlp

    pipeline = edsnlp.blank("eds")
    pipeline.add_pipe("eds.dates")

    def find(gold: Gold) -> list[Span]:
        return [
            Span(item.start_char, item.end_char, "date", 1.0, "eds.dates")
            for item in pipeline(gold.text).spans["dates"]
        ]

    return one_by_one(find)


def incognito(language: str) -> Find:
    """Incognito's regular expressions. Raises ImportError where it is not installed."""
    if language != "fr":
        raise ImportError("Incognito is French")
    from incognito_anonymizer.analyzer import RegexStrategy  # pyright: ignore[reportMissingImports]

    strategy = RegexStrategy()

    def find(gold: Gold) -> list[Span]:
        strategy.position = {}
        found = strategy.analyze(gold.text)
        return [Span(start, end, "id", 1.0, "incognito") for places in found for start, end in places]

    return one_by_one(find)


def timed(find: Find, gold: Sequence[Gold], repeat: int, clear: Callable[[], object]) -> tuple[float, list[list[Span]]]:
    """Median CPU seconds of a run over ``gold``, and the spans of the last one."""
    seconds, predicted = [], []
    find(gold[:3])
    for _ in range(repeat):
        clear()
        settle()  # as the package's commands do; every system gets it
        began = time.process_time()
        predicted = find(gold)
        seconds.append(time.process_time() - began)
    return statistics.median(seconds), predicted


def compare(gold: Sequence[Gold], language: str, repeat: int) -> list[Row]:
    """A row for each system, ours first."""
    anonymizer = Anonymizer(ReportsConfig(language=language), Keys(bytes(32)))
    rules = Anonymizer(ReportsConfig(language=language, ner="none"), Keys(bytes(32)))
    titles = anonymizer.pack["detectors"]["names"]["titles"]
    tagger = "with its trained tagger" if anonymizer.tagger else "the pack has no trained tagger"
    systems: list[tuple[str, Callable[[], Find], Callable[[], object], str]] = [
        ("ours", lambda: ours(anonymizer, False), lambda: forget(anonymizer), tagger),
        ("ours, known identity", lambda: ours(anonymizer, True), lambda: forget(anonymizer), tagger),
    ]
    if anonymizer.tagger:
        systems.append(("ours, rules alone", lambda: ours(rules, False), lambda: forget(rules), ""))
        systems.append(("ours, rules and identity", lambda: ours(rules, True), lambda: forget(rules), ""))
    systems += [
        ("presidio, blank model", lambda: presidio(language), _nothing, ""),
        ("eds-nlp, eds.dates alone", lambda: eds_dates(language), _nothing, "finds dates only"),
        ("incognito, regex", lambda: incognito(language), _nothing, ""),
    ]
    rows: list[Row] = []
    first = None
    for name, start, clear, note in systems:
        try:
            seconds, predicted = timed(start(), gold, repeat, clear)
        except ImportError as error:
            rows.append(Row(name, None, None, note=f"left out: {error}"))
            continue
        result = score(gold, predicted, titles)
        speed = len(gold) / seconds
        first = first or speed
        rows.append(
            Row(
                name,
                round(speed, 1),
                round(first / speed, 2),
                result["redact_recall"],
                result["redact_full"],
                result["false_positives_per_1000"],
                note,
            )
        )
    return rows


def linear(gold: Sequence[Gold], language: str, repeat: int) -> list[dict[str, float]]:
    """Milliseconds for texts of :data:`SIZES`, built of the reports one after another."""
    anonymizer = Anonymizer(ReportsConfig(language=language), Keys(bytes(32)))
    known = next((document.identity for document in gold if document.identity.surname), RECORD)
    body = "\n\n".join(document.text for document in gold)
    rows = []
    for size in SIZES:
        text = (body * (1 + 1000 * size // len(body)))[: 1000 * size]
        seconds, _ = timed(ours(anonymizer, True), [Gold(text, (), known)], repeat, lambda: forget(anonymizer))
        rows.append(
            {"kilobytes": size, "milliseconds": round(1000 * seconds, 2), "per_kilobyte": _share(seconds, size)}
        )
    return rows


def hostile(pack: Pack, seed: int = 0, mixtures: int = 200) -> Iterator[tuple[str, str]]:
    """Names and texts of :data:`WORST` characters that ask most of rules: repeated cues, signs, and mixtures of them."""
    words = sorted({*cue_words(pack), *pack.words("protected")})
    units = ["A ", "A.", "Aa ", "AA ", "A, ", "1 ", "1.", "1/", "12 ", "(0", "+1 ", "a@", "www.", "|", "\nPID|^", "d'"]
    units += ["A-", "é", "e\u0301", "\u0301", "’", "\n", " ", "\t", "_", "a1", "Dupont-", "D u p ", "de la ", "12 rue "]
    units += [
        "01/01/",
        "75000 A",
        "H1A 1A1 ",
        "Dr A et ",
        "M. A ",
        "« ",
        "1 a",
        "a.fr ",
        "PAT-",
        "2020-",
        "\r",
        " - ",
        "- ",
    ]
    for unit in units:
        yield repr(unit), _filled(unit)
    for word in words:
        for joint in (" ", "\n", ", ", " A", " 1 ", " : "):
            yield repr(word + joint), _filled(word + joint)
            yield repr(word.capitalize() + joint), _filled(word.capitalize() + joint)
    draw = random.Random(seed)
    for number in range(mixtures):
        pool = [draw.choice(words) for _ in range(draw.randint(1, 6))] + draw.sample(units, 3)
        joint = draw.choice((" ", "\n", ", ", "-", " 1 ", "."))
        picked = (form(draw.choice(pool)) for form in draw.choices((str, str.upper, str.capitalize), k=4000))
        yield f"mixture {number}", _filled(joint.join(picked))


def cue_words(pack: Pack) -> set[str]:
    """Every word and phrase of the pack's detectors."""

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, below in value.items():
                yield from walk(below)
                yield str(key)
        elif isinstance(value, list):
            for below in value:
                yield from walk(below)
        elif isinstance(value, str):
            yield value

    return set(walk(pack["detectors"])) - {""}


def worst(language: str, seconds: float) -> dict[str, Any]:
    """The slowest strings of :func:`hostile` within the given time, best of three runs each."""
    anonymizer = Anonymizer(ReportsConfig(language=language), Keys(bytes(32)))
    texts = list(hostile(load_pack(language)))
    random.Random(0).shuffle(texts)
    ends = time.monotonic() + seconds
    rows = []
    for name, text in texts:
        if time.monotonic() > ends:
            break
        best = min(
            timed(ours(anonymizer, True), [Gold(text, (), RECORD)], 1, lambda: forget(anonymizer))[0] for _ in "123"
        )
        rows.append((round(1000 * best, 1), name))
    rows.sort(reverse=True)
    return {
        "strings": len(rows),
        "of": len(texts),
        "above_50_ms": sum(milliseconds > 50 for milliseconds, _ in rows),
        "median_ms": statistics.median(milliseconds for milliseconds, _ in rows) if rows else None,
        "slowest": [{"milliseconds": milliseconds, "string": name} for milliseconds, name in rows[:20]],
    }


def _filled(unit: str) -> str:
    return (unit * (1 + WORST // len(unit)))[:WORST]


def _share(seconds: float, size: int) -> float:
    return round(1000 * seconds / size, 3)


def _nothing() -> None:
    return None


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as aligned columns."""
    heads = list(rows[0])
    cells = [heads, *([("" if row[head] is None else str(row[head])) for head in heads] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gold", type=Path, action="append", default=[], help="JSONL of texts with gold spans")
    parser.add_argument("--language", default="fr")
    parser.add_argument("--repeat", type=int, default=5, help="runs, of which the median counts")
    parser.add_argument("--linear", action="store_true", help="time by length instead")
    parser.add_argument("--worst", action="store_true", help="hostile strings instead")
    parser.add_argument("--seconds", type=float, default=300, help="time for --worst")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    core = one_core()
    result: dict[str, Any] = {"core": core, "python": sys.version.split()[0], "language": options.language}
    if options.worst:
        result["worst"] = worst(options.language, options.seconds)
    elif not options.gold:
        parser.error("name at least one --gold FILE")
    for path in [] if options.worst else options.gold:
        gold = list(read_gold(path))
        rows = (
            linear(gold, options.language, options.repeat)
            if options.linear
            else [asdict(row) for row in compare(gold, options.language, options.repeat)]
        )
        result[path.name] = {"documents": len(gold), "rows": rows}
        if not options.json:
            print(f"{path.name}: {len(gold)} documents, {core}, median of {options.repeat}\n{_table(rows)}\n")
    if options.json:
        print(json.dumps(result, ensure_ascii=False, indent=2))
    elif options.worst:
        print(_table(result["worst"].pop("slowest")), "\n", result["worst"])


if __name__ == "__main__":
    main()
