"""Rows of terminology files as they are published: UMLS (RRF), SNOMED CT (RF2), a plain CSV, a language pack's own list.

Every reader is a generator that holds one row: files of several GB, also packed with gzip, are read in a stream. It
yields a :class:`Term`, or the reason (a string) for which a row is left out or refused, so that totals add up.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from anonymize.config import ConfigError
from anonymize.console import UserError
from anonymize.languages import load_pack

MALFORMED = {
    "wrong_field_count": "The row has another number of fields than the published layout; look for a cut download.",
    "not_utf8": "The row is not UTF-8; download the file again, or convert it.",
    "no_concept": "The row names no concept.",
    "no_term": "The row holds no term.",
    "bad_value": "A field holds a value that the published layout does not know.",
}
"""Reasons for which a row goes to the quarantine, each with its remedy."""

# UMLS LAT, the languages that MRCONSO holds, to ISO 639-1
UMLS_LANGUAGES = {
    **{"ENG": "en", "FRE": "fr", "SPA": "es", "GER": "de", "DUT": "nl", "ITA": "it", "POR": "pt", "SWE": "sv"},
    **{"DAN": "da", "NOR": "no", "FIN": "fi", "POL": "pl", "CZE": "cs", "HUN": "hu", "RUS": "ru", "JPN": "ja"},
    **{"KOR": "ko", "CHI": "zh", "GRE": "el", "TUR": "tr", "HRV": "hr", "EST": "et", "LAV": "lv", "UKR": "uk"},
    **{"BAQ": "eu", "HEB": "he", "SLK": "sk"},
}
RF2_HEADER = [
    *("id", "effectiveTime", "active", "moduleId", "conceptId"),
    *("languageCode", "typeId", "term", "caseSignificanceId"),
]
RF2_NAME, RF2_SYNONYM, RF2_DEFINITION = "900000000000003001", "900000000000013009", "900000000000550004"
_SEMANTIC_TAG = re.compile(r"\s*\([^()]*\)\s*$")  # of a fully specified name: "Fracture of radius (disorder)"


@dataclass(frozen=True, slots=True)
class Term:
    """One name of a concept.

    Attributes:
        concept: with its source before it ("umls:C0016658", "snomed:72704001", "pack:fracture", "csv:12").
        text: as the file has it, blanks around it removed.
        language: ISO 639-1; "" where the file does not say.
    """

    concept: str
    text: str
    language: str


Row = tuple[int, Term | str]
"""Row number from 1 (the header is row 1), and the term or the reason for which there is none."""


def read_mrconso(path: Path, concepts: frozenset[str] | None = None) -> Iterator[Row]:
    """Rows of UMLS ``MRCONSO.RRF``: CUI|LAT|TS|LUI|STT|SUI|ISPREF|AUI|SAUI|SCUI|SDUI|SAB|TTY|CODE|STR|SRL|SUPPRESS|CVF|.

    Suppressed rows (SUPPRESS other than N) are left out as ``suppressed``, languages without an ISO 639-1 code here as
    ``other_language``, and with ``concepts`` (CUIs) every other concept as ``semantic_type``.
    """
    for number, line in _lines(path):
        if line is None:
            yield number, "not_utf8"
            continue
        fields = line.split("|")
        if len(fields) != 19 or fields[18]:  # every field, the last too, is ended by a bar
            yield number, "wrong_field_count"
            continue
        cui, language, text, suppress = fields[0], fields[1], fields[14].strip(), fields[16]
        if not re.fullmatch(r"C\d{7}", cui):
            yield number, "no_concept"
        elif suppress not in ("N", "O", "E", "Y", "") or not re.fullmatch(r"[A-Z]{3}", language):
            yield number, "bad_value"
        elif not text:
            yield number, "no_term"
        elif suppress in ("O", "E", "Y"):
            yield number, "suppressed"
        elif language not in UMLS_LANGUAGES:
            yield number, "other_language"
        elif concepts is not None and cui not in concepts:
            yield number, "semantic_type"
        else:
            yield number, Term(f"umls:{cui}", text, UMLS_LANGUAGES[language])


def read_mrsty(path: Path, types: Sequence[str]) -> frozenset[str]:
    """CUIs of UMLS ``MRSTY.RRF`` (CUI|TUI|STN|STY|ATUI|CVF|) whose semantic type is one of ``types`` (TUI such as T037).

    Raises:
        UserError: no row has one of the types.
    """
    wanted, found = frozenset(types), set()
    for _, line in _lines(path):
        fields = line.split("|") if line else []
        if len(fields) >= 4 and fields[1] in wanted:
            found.add(fields[0])
    if not found:
        raise UserError(f"{path}: no concept has a semantic type of {', '.join(types)}; they are written like T037")
    return frozenset(found)


def read_rf2(path: Path) -> Iterator[Row]:
    """Rows of a SNOMED CT RF2 description snapshot, tab-separated; the semantic tag of a fully specified name is cut off.

    Inactive descriptions are left out as ``inactive``, text definitions as ``definition``.

    Raises:
        UserError: the header is not that of RF2 descriptions.
    """
    for number, line in _lines(path):
        fields = line.split("\t") if line is not None else []
        if number == 1:
            if fields != RF2_HEADER:
                raise UserError(
                    f"{path}: no RF2 description file: its first line must be {' '.join(RF2_HEADER)} with tabs"
                )
        elif line is None:
            yield number, "not_utf8"
        elif len(fields) != len(RF2_HEADER):
            yield number, "wrong_field_count"
        else:
            yield number, _description(fields)


def _description(fields: list[str]) -> Term | str:
    active, concept, language, kind, text = fields[2], fields[4], fields[5], fields[6], fields[7].strip()
    if not concept.isdigit():
        return "no_concept"
    if active not in ("0", "1") or kind not in (RF2_NAME, RF2_SYNONYM, RF2_DEFINITION):
        return "bad_value"
    if not re.fullmatch(r"[a-z]{2}(?:-.*)?", language):
        return "bad_value"
    if active == "0":
        return "inactive"
    if kind == RF2_DEFINITION:
        return "definition"
    if kind == RF2_NAME:
        text = _SEMANTIC_TAG.sub("", text)
    return Term(f"snomed:{concept}", text, language[:2]) if text else "no_term"


def read_csv(path: Path) -> Iterator[Row]:
    """Rows of a table with the columns concept, term and language (may be missing), separated by , ; or tab.

    Raises:
        UserError: no header with concept and term.
    """
    with _open(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        head = text.readline()
        mark = max(",;\t", key=head.count)
        names = [name.strip().strip('"').casefold() for name in head.rstrip("\r\n").split(mark)]
        if not {"concept", "term"} <= set(names):
            raise UserError(f"{path}: its first line must name the columns concept, term and (optional) language")
        places = {name: names.index(name) for name in ("concept", "term", "language") if name in names}
        rows = csv.reader(text, delimiter=mark)
        number = 1
        while True:
            number += 1
            try:
                fields = next(rows)
            except StopIteration:
                return
            except csv.Error:
                yield number, "bad_value"
                continue
            if fields:
                yield number, _table_row(fields, names, places)


def _table_row(fields: list[str], names: list[str], places: dict[str, int]) -> Term | str:
    if len(fields) != len(names):
        return "wrong_field_count"
    values = {name: fields[place].strip() for name, place in places.items()}
    if any("\ufffd" in value for value in values.values()):
        return "not_utf8"
    if not values["concept"]:
        return "no_concept"
    if not values["term"]:
        return "no_term"
    return Term(f"csv:{values['concept']}", values["term"], values.get("language", "").casefold()[:2])


def read_pack_list(language: str) -> Iterator[Row]:
    """Terms of ``synonyms.yaml`` of a language pack, in the pack's language.

    Raises:
        ConfigError: no such pack, or it has no synonyms.
    """
    concepts = load_pack(language)["synonyms"].get("concepts", {})
    number = 0
    for concept, terms in concepts.items():
        for term in terms:
            number += 1
            yield number, Term(f"pack:{concept}", str(term).strip(), language)


def read_terms(source: str, semantic_types: Sequence[str] = ()) -> Iterator[Row]:
    """Rows of ``source``, by what it is: MRCONSO.RRF (or the folder of it), an RF2 file, a CSV, or a pack's code.

    Args:
        semantic_types: TUIs; needs ``MRSTY.RRF`` beside MRCONSO.

    Raises:
        UserError: none of these, or a layout that is not the published one.
    """
    path = Path(source)
    if path.is_dir():
        path = next((path / n for n in ("MRCONSO.RRF", "MRCONSO.RRF.gz") if (path / n).is_file()), path / "MRCONSO.RRF")
    if not path.is_file():
        if re.fullmatch(r"[a-z]{2}", source):
            try:
                load_pack(source)["synonyms"]
            except ConfigError as error:
                raise UserError(f"--terms {source}: {error}") from None
            return read_pack_list(source)
        raise UserError(
            f"--terms {source}: no such file; give MRCONSO.RRF, an RF2 description file, a CSV or a language code"
        )
    name = path.name.casefold().removesuffix(".gz")
    if name.endswith(".rrf"):
        concepts = None
        if semantic_types:
            beside = [path.with_name(n) for n in ("MRSTY.RRF", "MRSTY.RRF.gz")]
            types_file = next((p for p in beside if p.is_file()), None)
            if types_file is None:
                raise UserError(f"semantic_types needs MRSTY.RRF beside {path}")
            concepts = read_mrsty(types_file, semantic_types)
        return read_mrconso(path, concepts)
    if name.startswith(("sct2_description", "xsct2_description")) and name.endswith(".txt"):
        return read_rf2(path)
    if name.endswith((".csv", ".tsv")):
        return read_csv(path)
    raise UserError(
        f"--terms {path}: not known by its name; there are *.RRF (parts such as .RRF.aa must be joined first), "
        "sct2_Description*.txt, *.csv and *.tsv, each also with .gz"
    )


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """Lines without their end, numbered from 1; None where a line is not UTF-8."""
    with _open(path) as stream:
        for number, raw in enumerate(stream, start=1):
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                yield number, None
