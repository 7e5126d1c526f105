"""Free text of headers and documents through the report engine, with what the header says about the patient.

Two ways. A *descriptor* (a title, a comment, an unlisted text attribute) is short and out of context, so that no engine can
tell a surname from a word ("Genou DUPONT face"): after the engine only words of the packs' vocabulary and short numbers stay.
A *narrative* (text of a structured report or of a PDF) is treated as a report, in its own language as its words tell it: what
a header states of the language is often the vendor's default. After the engine, tokens that look like codes go as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from anonymize.dicom.elements import gathered
from anonymize.dicom.values import parse_date
from anonymize.dicom.words import identity_tokens, is_plain, vocabulary
from anonymize.keys import Keys
from anonymize.languages import load_pack
from anonymize.policy import Policy, ReportsConfig
from anonymize.readers.propose import guess_language
from anonymize.report import Identity, Report, Span

if TYPE_CHECKING:
    from anonymize.detectors.known_identity import KnownIdentity

_LONGEST = 10_240  # characters of a descriptor that are looked at (VR LT)
# words of one language alone that tell a document's: of 231 documents in six languages, cut to 20 words, none was told
# wrong; short lines of Dutch (Deduce's examples) are left open
_OWN_WORDS = 5
_MAJORITY = 0.5  # of such words that must be of the same language
_WORD = re.compile(r"\S+")
_CODE = re.compile(r"(?=\w*\d)(?=\w*[^\W\d_])\w{5,}|\d{6,}")  # letters and digits mixed, or a long number
_NUMBER_IDS = ("PatientID", "OtherPatientIDs", "IssuerOfPatientID", "AccessionNumber", "StudyID", "AdmissionID")
_NUMBER_IDS += ("RequestedProcedureID", "ScheduledProcedureStepID", "PerformedProcedureStepID", "MilitaryRank")
_NUMBER_IDS += ("PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest")


@dataclass(frozen=True)
class Patient:
    """What free text of one instance is searched for."""

    identity: Identity
    exam_date: str  # ISO 8601 or ""
    tokens: frozenset[str]  # folded parts of names and identifiers, of three characters and more


def patient_of(ds: Dataset) -> Patient:
    """Names, identifiers, dates and addresses of the header, at every depth."""
    names = str(ds.get("PatientName", "") or "").split("=")[0].split("^")
    own = str(ds.get("PatientName", "") or "")
    people = dict.fromkeys(gathered(ds, lambda e: [str(e.value)] if e.VR == "PN" and str(e.value) != own else []))
    numbers = dict.fromkeys(gathered(ds, lambda e: [str(e.value)] if e.keyword in _NUMBER_IDS and e.value else []))
    birth, day = parse_date(ds.get("PatientBirthDate")), parse_date(ds.get("StudyDate"))
    identity = Identity(
        patient_id=_text(ds, "PatientID"),
        surname=names[0].strip(),
        given_name=" ".join(part.strip() for part in names[1:3]).strip(),
        birth_name=_text(ds, "PatientBirthName").split("^")[0],
        sex=sex if (sex := _text(ds, "PatientSex")) in ("F", "M") else "",
        birth_date=birth.isoformat() if birth else "",
        address=_text(ds, "PatientAddress"),
        phone=_text(ds, "PatientTelephoneNumbers"),
        visit=_text(ds, "AdmissionID"),
        accession=_text(ds, "AccessionNumber"),
        staff=tuple(" ".join(filter(None, re.split(r"[\^=]+", person))) for person in people if person.strip("^= ")),
        numbers="\n".join(numbers),
    )
    return Patient(identity, day.isoformat() if day else "", identity_tokens(ds))


def _text(ds: Dataset, keyword: str) -> str:
    return str(ds.get(keyword, "") or "").strip()


class Reader:
    """The engine of one language; what its rules find is kept in memory for the next same text, at most 4,096 of them."""

    def __init__(self, language: str, keys: Keys, *, keep_weekdays: bool) -> None:
        from anonymize.engine import Anonymizer

        self.engine = Anonymizer(
            ReportsConfig(language=language, keep_weekdays=keep_weekdays, vault=False, policy=Policy()), keys
        )
        self.rules = lru_cache(maxsize=4096)(self._by_rule)
        self.known = lru_cache(maxsize=64)(self._of)

    def _by_rule(self, text: str) -> tuple[Span, ...]:
        return tuple(self.engine.by_rule(text))

    def _of(self, identity: Identity) -> KnownIdentity:
        return self.engine.known(identity)


class Texts:
    """Cleans text: descriptors in the first of ``languages``, with words of all of them; narratives in their own.

    The engine of a language is loaded at its first text.
    """

    def __init__(self, languages: tuple[str, ...], keys: Keys, *, keep_weekdays: bool) -> None:
        clinical = (load_pack(language).lists.clinical for language in languages)
        self.words = vocabulary(languages).union(*clinical)
        self._first = languages[0]
        self._reader = lru_cache(maxsize=None)(lambda language: Reader(language, keys, keep_weekdays=keep_weekdays))

    def language_of(self, texts: Iterable[str]) -> str:
        """The pack in whose language a document is written; the first of the configured ones where that cannot be told."""
        language, share = guess_language(texts, _OWN_WORDS)
        return language if share > _MAJORITY else self._first

    def descriptor(self, text: str, patient: Patient) -> str:
        """The words of ``text`` that may stay, joined by blanks."""
        text = text[:_LONGEST]
        reader = self._reader(self._first)
        spans = reader.engine.combine(text, reader.rules(text), reader.known(patient.identity))
        left, place = [], 0
        for span in spans:
            left.append(text[place : span.start])
            place = span.end
        left.append(text[place:])
        return " ".join(
            word for word in _WORD.findall(" ".join(left)) if is_plain(word, self.words, patient.tokens)
        ).strip(" -/,;:.^=")

    def narratives(self, texts: Iterable[str], patient: Patient) -> list[str]:
        """Texts of one document as reports: names that one of them introduces are looked for in all."""
        texts = list(texts)
        reader = self._reader(self.language_of(texts))
        rules = [list(reader.rules(text)) for text in texts]
        names: set[str] = set()
        for text, spans in zip(texts, rules, strict=True):
            names |= reader.engine.names_in(text, spans)
        known = reader.known(patient.identity)
        known = known.with_extra(names) if names else known
        return [
            _narrative(reader, text, spans, known, patient) if text.strip() else ""
            for text, spans in zip(texts, rules, strict=True)
        ]


def _narrative(reader: Reader, text: str, spans: list[Span], known: KnownIdentity, patient: Patient) -> str:
    report = Report(0, patient.identity, patient.exam_date, "", text)
    return _CODE.sub("", reader.engine.anonymize(report, known, spans).report.text)


@lru_cache(maxsize=2)
def texts_of(languages: tuple[str, ...], keys: Keys, keep_weekdays: bool) -> Texts:
    """The cleaner of this process: loading an engine costs seconds."""
    return Texts(languages, keys, keep_weekdays=keep_weekdays)
