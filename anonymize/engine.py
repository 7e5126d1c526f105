"""The order of things, known to this file only: detect, resolve overlaps, replace, look again, split into sections."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import islice

from anonymize import repeats, wrapped
from anonymize.dates import age_months, whole_weeks
from anonymize.detectors import build, hospital
from anonymize.detectors.known_identity import KnownIdentity
from anonymize.detectors.known_words import KnownWords
from anonymize.detectors.ner import Ner
from anonymize.detectors.tagger import open_tagger
from anonymize.edits import Edit, apply, over, replacements
from anonymize.evidence import Evidence
from anonymize.files import fingerprint
from anonymize.keys import Keys
from anonymize.languages import load_pack
from anonymize.overlaps import Rests, resolve
from anonymize.policy import ReportsConfig
from anonymize.presidio import RecognizerRegistry
from anonymize.report import Gazetteer, Identity, Replacement, Report, SafeReport, Span
from anonymize.sections import parser_of
from anonymize.surrogates import CAP_MONTHS, Person, Surrogates, originals
from anonymize.text import View, folded, view_of, words_of

TOGETHER = 16
"""Texts that the detectors look at together."""


@dataclass(frozen=True)
class Outcome:
    """One pseudonymised report and what was found in it."""

    report: SafeReport
    counts: dict[str, int]  # spans by kind
    residual: int  # known names that only the second look caught
    replacements: tuple[Replacement, ...] = ()  # by column and place; what the vault holds


class Anonymizer:
    """Pseudonymises reports of one language. Holds no state that changes a report: the same input gives the same
    output.

    Args:
        config: language, policy and switches.
        keys: the secret, from which surrogates and date offsets come.
        gazetteer: names of the export's own columns.
        avoid: folded words that no surrogate may equal.
    """

    def __init__(
        self,
        config: ReportsConfig,
        keys: Keys,
        gazetteer: Gazetteer | None = None,
        avoid: Collection[str] = frozenset(),
    ) -> None:
        self.config = config
        self.keys = keys
        self.pack = load_pack(config.language)
        known = gazetteer if gazetteer and config.use_export_names else Gazetteer()
        self.tagger, self.model = open_tagger(self.pack, config.ner)
        self.detectors = build(self.pack, known, config.identifiers)
        if self.model and (self.model / hospital.FILE).is_file():
            self.detectors.append(hospital.HospitalTerms(self.pack, self.model))
        if self.tagger:
            self.detectors.append(self.tagger)
        # titles of examinations repeat over an export: what rules say of one is kept, in memory only
        self._exam = lru_cache(maxsize=2048)(self.by_rule)
        self.words = KnownWords(self.pack)
        lexicon = self.tagger.lexicon if isinstance(self.tagger, Ner) else None
        self._evidence = Evidence(self.pack, self.words, lexicon)
        self._rests = Rests(self.pack, self.words)
        # "Kinder-", then "und Jugendmedizin" on the next line, "grand-" and "mère": no cut words
        words = self.pack["detectors"]
        halves = (str(word).rpartition("-")[2] for word in words["names"]["relatives"] if "-" in str(word))
        self._joins = folded((*words["contacts"].get("and", []), *halves))
        self._nobody = self.known(Identity())
        self.sections = parser_of(self.pack)
        self.surrogates = Surrogates(self.pack, keys, gazetteer or Gazetteer(), avoid)

    def registry(self) -> RecognizerRegistry:
        """The recognizers as a Presidio registry, for use in an ``AnalyzerEngine``."""
        return RecognizerRegistry(recognizers=self.detectors, supported_languages=[self.pack.language])

    def known(self, identity: Identity, extra: Iterable[str] = (), others: Iterable[Identity] = ()) -> KnownIdentity:
        """The recognizer of one patient, with the identities of the patient's ``others`` records and the names found in
        them. Build it once for all reports of the patient."""
        return KnownIdentity(self.pack, identity, self.words, extra=extra, others=others, fuzzy=self.config.fuzzy)

    def find(self, text: str, identity: Identity | None = None) -> list[Span]:
        """All that would be replaced in a document that stands alone: rules, the record's ``identity`` where given, and a
        second look for the names that the first one found."""
        return next(self.find_each([(text, identity)]))

    def find_each(self, documents: Iterable[tuple[str, Identity | None]]) -> Iterator[list[Span]]:
        """:meth:`find` of each text with its record's identity, in order."""
        waiting = iter(documents)
        while some := list(islice(waiting, TOGETHER)):
            texts = [text for text, _ in some]
            rules = self.by_rules(texts)
            names = [self.names_in(*pair) if self.config.second_pass else () for pair in zip(texts, rules, strict=True)]
            known = [
                self.known(identity, extra) if identity else self._nobody.with_extra(extra)
                for (_, identity), extra in zip(some, names, strict=True)
            ]
            yield from map(self.combine, texts, rules, known)

    def fingerprints(self) -> dict[str, str]:
        """What decides on the result: version, policy, language pack and trained model."""
        from anonymize import __version__

        return {
            "version": __version__,
            "policy_fingerprint": fingerprint(self.config.model_dump(mode="json", exclude={"workers", "columns"})),
            "pack_fingerprint": fingerprint(*sorted(p for p in self.pack.folder.iterdir() if p.is_file())),
            "model_fingerprint": fingerprint(self.model / "model.safetensors") if self.model else "none",
        }

    def detect(self, text: str, known: KnownIdentity | None = None) -> list[Span]:
        """Spans in ``text``, in order, without overlaps."""
        return self.combine(text, self.by_rule(text), known)

    def by_rule(self, text: str) -> list[Span]:
        """Spans that need no knowledge of the patient; they may overlap."""
        return self.by_rules([text])[0]

    def by_rules(self, texts: Sequence[str]) -> list[list[Span]]:
        """:meth:`by_rule` of each text. Detector by detector, not text by text: what one needs stays in the processor's
        caches. The result does not depend on what stands together."""
        joined = [wrapped.joined(text, self._joins) for text in texts]
        repeated = [repeats.runs(text) for text, _ in joined]
        views = [
            view_of(repeats.blanked(text, runs) if runs else text)
            for (text, _), runs in zip(joined, repeated, strict=True)
        ]
        found: list[list[Span]] = [[] for _ in texts]
        for detector in self.detectors:
            for view, spans in zip(views, found, strict=True):
                spans += detector.find(view)
        sifted = [self._evidence.sift(view, spans) for view, spans in zip(views, found, strict=True)]
        sifted = [repeats.spread(spans, runs) if runs else spans for spans, runs in zip(sifted, repeated, strict=True)]
        return [wrapped.spread(spans, cut) if cut else spans for spans, (_, cut) in zip(sifted, joined, strict=True)]

    def combine(self, text: str, spans: Sequence[Span], known: KnownIdentity | None) -> list[Span]:
        """The spans of :meth:`by_rule` and those of the patient's identity, in order, without overlaps."""
        view = view_of(text)
        return resolve(view, [*spans, *(known.find(view) if known else ())], self._rests)

    def names_in(self, text: str, spans: Sequence[Span]) -> set[str]:
        """Folded words of the names found in ``text`` that are worth searching in the patient's other reports."""
        view, words = view_of(text), self.words
        found: set[str] = set()
        places = bytearray(len(text))  # marked where a rule sees a town or an institution
        for span in spans:
            if span.kind in ("town", "institution") and span.rule != "ner.trained":
                places[span.start : span.end] = b"\1" * (span.end - span.start)
        for span in spans:
            tagged = span.rule == "ner.trained"
            if tagged and 1 in places[span.start : span.end]:
                continue  # a rule knows better
            if span.kind == "name" and span.score >= (0.95 if tagged else 0.6):
                name = self._whole(text[span.start : span.end])
                if len(name) <= 4 and name.isupper() and view.case == "mixed":
                    continue  # an abbreviation
                if view.case == "lower" and span.rule == "ner.trained" and isinstance(self.tagger, Ner):
                    found.update(word for word in words_of(name) if any(self.tagger.lexicon.codes(word)[1:3]))
                else:
                    found.update(words_of(name))
        capitals = view.case != "lower"
        return {
            word
            for word in found
            if len(word) > 2
            and word not in words.common
            and word not in words.particles
            and word not in words.titles
            and word not in words.protected.words
            and not (capitals and view.in_lower_case(word))
        }

    def anonymize(
        self, report: Report, known: KnownIdentity | None = None, by_rule: Sequence[Span] | None = None
    ) -> Outcome:
        """The safe form of one report. ``by_rule`` saves a second look where the spans are known already."""
        identity = report.identity
        known = known or self.known(identity)
        offset = self.keys.date_offset_days(identity.patient_id)
        if self.config.keep_weekdays:
            offset = whole_weeks(offset)
        age = age_months(identity.birth_date, report.exam_date)
        spans = self.combine(report.text, self.by_rule(report.text) if by_rule is None else by_rule, known)
        person = Person(identity, offset, report.exam_date, age, originals(report.text, spans))
        counts = Counter(span.kind for span in spans)
        text, edits, residual = self._replace(report.text, spans, person, known)
        exam_spans = self.combine(report.exam, self._exam(report.exam), known)
        exam, exam_edits, more = self._replace(report.exam, exam_spans, person, known)
        key = f"{identity.accession}{report.text}"
        accession = identity.accession or f"{identity.patient_id}\0{report.exam_date}\0{report.text}"
        safe = SafeReport(
            report_id=self.keys.pseudonym("report", key),
            patient=self.keys.pseudonym("patient", identity.patient_id),
            study=self.keys.pseudonym("study", accession),
            date=(date.fromisoformat(report.exam_date) + timedelta(offset)).isoformat() if report.exam_date else "",
            age_months=None if age is None else min(age, CAP_MONTHS),
            sex=identity.sex,
            language=self.pack.language,
            exam=exam,
            text=text,
            **self.sections.parse(text),
        )
        if not self.config.vault:
            return Outcome(safe, dict(counts), residual + more)
        whole = (("patient", "patient_id", identity.patient_id), ("study", "id", identity.accession))
        rows = [
            Replacement(safe.report_id, field, kind, 0, len(getattr(safe, field)), value, 0, getattr(safe, field))
            for field, kind, value in (*whole, ("date", "date", report.exam_date))
        ]
        rows += replacements(safe.report_id, "exam", report.exam, exam_edits)
        rows += replacements(safe.report_id, "text", report.text, edits)
        return Outcome(safe, dict(counts), residual + more, tuple(rows))

    def _replace(
        self, text: str, spans: Sequence[Span], person: Person, known: KnownIdentity
    ) -> tuple[str, list[Edit], int]:
        edits = self.edits(text, spans, person)
        safe = apply(text, edits)
        # a second look at the result: what the first one left because of its surroundings
        left = [
            span
            for span in known.find(View(safe))
            if span.rule not in ("known.typo", "known.initials", "known.initial_beside")
        ]
        left = [span for span in left if span.kind not in ("birth_date", "postcode")]
        if not left:
            return safe, edits, 0
        merged = resolve(View(safe), left)
        edits = over(text, edits, [Edit(s.start, s.end, s.kind, self.surrogates.tag(s.kind)) for s in merged])
        return apply(text, edits), edits, len(merged)

    def _whole(self, value: str) -> str:
        """A value without the break in it: ``Schoenmaker``, however its lines are cut."""
        return wrapped.joined(value, self._joins)[0]

    def substitute(self, text: str, spans: Sequence[Span], person: Person) -> str:
        """``text`` with each span replaced by the policy; outside of spans it is unchanged."""
        return apply(text, self.edits(text, spans, person))

    def edits(self, text: str, spans: Sequence[Span], person: Person) -> list[Edit]:
        """What the policy makes of ``spans``, which are in order and do not overlap."""
        policy, replaced = self.config.policy, self.surrogates.replace
        return [
            Edit(
                span.start,
                span.end,
                span.kind,
                replaced(
                    span,
                    self._whole(text[span.start : span.end]),
                    person,
                    getattr(policy, span.kind),
                    text[span.end : span.end + 48],
                ),
            )
            for span in spans
        ]


def settle() -> None:
    """Tell Python that what is loaded now (word lists, patterns, weights) stays: its collections of garbage pass over it."""
    gc.collect()
    gc.freeze()
