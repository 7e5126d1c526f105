"""Findings mined from the words of a report by the language pack: present, absent, uncertain, with qualifiers.

Terms, cues and scope words come from ``labels.yaml`` of the pack. Text is matched in lower case without accents at
unchanged offsets. What a report says about a label is decided section by section: the conclusion outranks the results,
and within a section present outranks uncertain outranks absent. What is asked or looked for, what runs in the family
and what is old does not count as present. A rule-based labeler errs: measure it (``anonymize labels --measure``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from anonymize.cleaning.sentences import sentences_of
from anonymize.config import ConfigError
from anonymize.labels.grades import Grades
from anonymize.labels.row import DERIVED, Mention, Qualifiers, Value
from anonymize.labels.scope import Clause, Cue, Scope, compile_patterns, need
from anonymize.languages import Pack, load_pack
from anonymize.report import SECTIONS
from anonymize.sections import SectionSpan, parser_of
from anonymize.text import fold

_RANK = {Value.PRESENT: 3, Value.UNCERTAIN: 2, Value.ABSENT: 1, Value.NOT_MENTIONED: 0}
_COUNTED = ("conclusion", "results")  # in the order of their authority


@dataclass(frozen=True)
class Finding:
    """Compiled rules of one label."""

    name: str
    terms: re.Pattern[str]
    normal: re.Pattern[str]  # wordings that say it is absent
    old: Cue  # of a finding that is healed, reduced or only a trace
    has_old: bool
    persists: bool  # an old one is still there (a prosthesis)
    abnormal: bool  # present means that the study is not normal
    sections: tuple[str, ...]  # where it counts beside results and conclusion
    not_with: re.Pattern[str]  # words in the same sentence that show that something else is meant
    elsewhere: Elsewhere | None


@dataclass(frozen=True)
class Elsewhere:
    """A bare term that means another label by what the report is about ("effusion" of a knee)."""

    label: str
    words: re.Pattern[str]  # the report is about that
    unless: re.Pattern[str]  # the report is about this label after all
    explicit: re.Pattern[str]  # behind the term: says itself which one is meant


class Miner:
    """Reads the labels of one language. Build it once per pack: :func:`miner`."""

    def __init__(self, pack: Pack) -> None:
        topic, place = pack["labels"], f"language pack '{pack.language}', labels.yaml"
        self.language = pack.language
        self._sections = parser_of(pack)
        self._sentences = sentences_of(pack)
        try:
            self.findings = [_finding(name, rules) for name, rules in need(topic, "findings", place).items()]
            self._scope = Scope(
                need(topic, "scope_end", place), topic.get("list_joins") or [], topic.get("list_ends") or []
            )
            self._negation = Cue.of(need(topic, "negation", place))
            self._uncertainty = Cue.of(need(topic, "uncertainty", place))
            self._question = Cue.of(topic.get("question"))
            self._family = Cue.of(topic.get("family"))
            self._history = Cue.of(topic.get("history"))
            self._other = re.compile(compile_patterns(topic.get("other")).pattern + r"\s*$")
            self._pseudo = compile_patterns(need(topic, "pseudo", place))
            self._normal_study = compile_patterns(topic.get("normal_study"))
            self._sides = {name: compile_patterns(words) for name, words in (topic.get("laterality") or {}).items()}
            self._changes = {name: compile_patterns(words) for name, words in (topic.get("change") or {}).items()}
            self.grades = Grades(topic.get("values", {}), self._sides)
        except (KeyError, TypeError, AttributeError, re.error) as error:
            raise ConfigError(f"{place}: {type(error).__name__}: {error}") from None
        self.labels = (*(finding.name for finding in self.findings), *DERIVED)

    def mentions(self, text: str, sections: Sequence[SectionSpan] | None = None) -> list[Mention]:
        """Every finding named in ``text`` (NFC), in order; ``sections`` saves splitting the text again."""
        spans = self._sections.spans(text) if sections is None else sections
        folded = fold(text)
        plain = self._pseudo.sub(lambda match: "_" * len(match.group()), folded)
        found: list[Mention] = []
        other = {
            f.name: f.elsewhere
            for f in self.findings
            if f.elsewhere and f.elsewhere.words.search(folded) and not f.elsewhere.unless.search(folded)
        }
        for span in spans:
            for start, end in self._sentences.split(text, span.start, span.end):
                found += self._in_sentence(plain, start, end, span.name)
        found = [
            replace(m, label=rule.label)
            if (rule := other.get(m.label)) and not rule.explicit.match(folded, m.end)
            else m
            for m in found
        ]
        return sorted(found, key=lambda mention: (mention.start, mention.label))

    def read(self, text: str) -> dict[str, Mention]:
        """What the report says about each label it names: the mention that decides, its value settled.

        Labels that are not named are missing; a label that is only asked about, of the family, or stands in the
        indication has the value NOT_MENTIONED.
        """
        spans = self._sections.spans(text)
        mentions = self.mentions(text, spans)
        decided = {name: self._decide(name, mentions) for name in {mention.label for mention in mentions}}
        labels = {name: mention for name, mention in decided.items() if mention is not None}
        labels |= self.grades.read(text, [span for span in spans if span.name in _COUNTED])
        self._arthrosis_by_grade(labels)
        study = self._study(labels, fold(text), spans)
        return labels | ({"abnormal": study} if study else {})

    # -- one sentence -------------------------------------------------------------------------------------------------

    def _in_sentence(self, plain: str, start: int, end: int, section: str) -> Iterable[Mention]:
        sentence = plain[start:end]
        for finding in self.findings:
            healthy = [m.span() for m in finding.normal.finditer(sentence)]
            named = list(finding.terms.finditer(sentence))
            if (healthy or named) and finding.not_with.search(sentence):
                continue
            for a, b in healthy:
                qualifiers = Qualifiers(negated=True, laterality=self._side(self._scope.clause(sentence, a, b)))
                value = Value.ABSENT if self._counts(finding, section) else Value.NOT_MENTIONED
                yield Mention(finding.name, value, start + a, start + b, section, qualifiers)
            for match in named:
                a, b = match.span()
                # "heart not enlarged" holds a term inside a normal wording: the normal wording decides
                if not any(a < d and c < b for c, d in healthy):
                    yield self._mention(finding, sentence, start, a, b, section)

    def _mention(self, finding: Finding, sentence: str, offset: int, a: int, b: int, section: str) -> Mention:
        clause = self._scope.clause(sentence, a, b)
        qualifiers, other = self._qualify(finding, clause)
        value = Value.PRESENT
        answered = qualifiers.negated and _leads(self._negation.after, clause)  # "suspected, not found"
        if qualifiers.hypothetical and not answered:
            value = Value.UNCERTAIN
        elif qualifiers.negated:
            value = Value.ABSENT
        if qualifiers.history and not finding.persists and value is not Value.ABSENT:
            value = Value.ABSENT if finding.has_old else Value.NOT_MENTIONED
        asked = qualifiers.question and value is not Value.ABSENT
        if qualifiers.family or asked or other or not self._counts(finding, section):
            value = Value.NOT_MENTIONED
        return Mention(finding.name, value, offset + a, offset + b, section, qualifiers)

    def _qualify(self, finding: Finding, clause: Clause) -> tuple[Qualifiers, bool]:
        """The qualifiers of a mention, and whether it is about another one than those named before."""
        open_end = _leads(self._uncertainty.after, clause)  # "cannot be excluded" holds a negation, and is none
        negated = bool(
            self._scope.reaches(self._negation.before, clause)
            or (not open_end and _leads(self._negation.after, clause))
        )
        unsure = open_end or bool(self._scope.reaches(self._uncertainty.before, clause))
        old = finding.old.before.search(clause.before) or finding.old.after.search(clause.after)
        history = old or self._scope.reaches(self._history.before, clause) or self._history.after.search(clause.after)
        qualifiers = Qualifiers(
            negated=negated,
            hypothetical=unsure,
            family=bool(self._family.before.search(clause.before) or self._family.after.search(clause.after)),
            history=bool(history) and not negated,
            question=bool(
                self._scope.reaches(self._question.before, clause) or self._question.after.search(clause.after)
            ),
            laterality=self._side(clause),
            change=next((name for name, words in self._changes.items() if _near(words, clause)), ""),
        )
        if clause.sentence.rstrip().endswith("?") and not negated:
            qualifiers = replace(qualifiers, hypothetical=True)
        other = negated and self._other.search(clause.before) is not None
        return qualifiers, other

    def _side(self, clause: Clause) -> str:
        """The side word nearest to the finding: first behind it, then before it in the sentence."""
        behind = {name: m.start() for name, words in self._sides.items() if (m := words.search(clause.after))}
        if behind:
            return min(behind, key=lambda name: behind[name])
        before = {
            name: max(m.start() for m in matches)
            for name, words in self._sides.items()
            if (matches := list(words.finditer(clause.sentence, 0, clause.end)))
        }
        return max(before, key=lambda name: before[name]) if before else ""

    # -- one report ---------------------------------------------------------------------------------------------------

    @staticmethod
    def _counts(finding: Finding, section: str) -> bool:
        return section in _COUNTED or section in finding.sections

    @staticmethod
    def _decide(name: str, mentions: Sequence[Mention]) -> Mention | None:
        """The mention of ``name`` that says what the report says: conclusion first, then the strongest value."""
        own = [mention for mention in mentions if mention.label == name]
        for section in (*_COUNTED, *SECTIONS):
            counted = [m for m in own if m.section == section and m.value is not Value.NOT_MENTIONED]
            current = [m for m in counted if not m.qualifiers.history] or counted
            if current:
                return max(current, key=lambda m: (_RANK[m.value], m.qualifiers.history, -m.start))
        return own[0] if own else None

    @staticmethod
    def _arthrosis_by_grade(labels: dict[str, Mention]) -> None:
        """Kellgren-Lawrence 2 or more is osteoarthritis, 1 is doubtful, 0 is none (Kellgren & Lawrence 1957)."""
        graded, said = labels.get("kl_grade"), labels.get("osteoarthritis")
        if graded is None or graded.grade is None or (said and said.value is not Value.NOT_MENTIONED):
            return
        value = (Value.ABSENT, Value.UNCERTAIN)[graded.grade] if graded.grade < 2 else Value.PRESENT
        labels["osteoarthritis"] = replace(graded, label="osteoarthritis", value=value)

    def _study(self, labels: Mapping[str, Mention], folded: str, spans: Sequence[SectionSpan]) -> Mention | None:
        """Whether the study is abnormal: by the findings, else by a wording that calls all of it normal."""
        tells = [labels[finding.name] for finding in self.findings if finding.abnormal and finding.name in labels]
        for value in (Value.PRESENT, Value.UNCERTAIN):
            for mention in tells:
                old = value is Value.PRESENT and mention.qualifiers.history and mention.value is Value.ABSENT
                if mention.value is value or old:
                    return replace(mention, label="abnormal", value=value)
        for name in _COUNTED:
            for span in spans:
                match = self._normal_study.search(folded, span.start, span.end) if span.name == name else None
                if match:
                    return Mention("abnormal", Value.ABSENT, match.start(), match.end(), name, Qualifiers(negated=True))
        return None


def _leads(cue: re.Pattern[str], clause: Clause) -> bool:
    """Whether ``cue`` stands behind the finding in its clause, or is all that the next clause says."""
    if cue.search(clause.after):
        return True
    later = clause.later.split(",")[0].strip(" .;:!?\n")
    match = cue.match(later)
    return bool(match) and len(later[match.end() :].split()) <= 1


def _near(words: re.Pattern[str], clause: Clause) -> bool:
    return bool(words.search(clause.before) or words.search(clause.after) or words.search(clause.later))


def _finding(name: str, rules: Mapping[str, Any]) -> Finding:
    return Finding(
        name=name,
        terms=compile_patterns(rules["terms"]),
        normal=compile_patterns(rules.get("normal")),
        old=Cue.of(rules.get("old")),
        has_old=bool(rules.get("old")),
        persists=bool(rules.get("persists", False)),
        abnormal=bool(rules.get("abnormal", True)),
        sections=tuple(rules.get("sections") or ()),
        not_with=compile_patterns(rules.get("not_with")),
        elsewhere=_elsewhere(rules["elsewhere"]) if rules.get("elsewhere") else None,
    )


def _elsewhere(rules: Mapping[str, Any]) -> Elsewhere:
    words, unless, explicit = (compile_patterns(rules[key]) for key in ("words", "unless", "explicit"))
    return Elsewhere(rules["label"], words, unless, re.compile(r"\s*" + explicit.pattern))


@lru_cache(maxsize=16)
def miner(language: str) -> Miner:
    """The miner of a language pack.

    Raises:
        ConfigError: the pack lacks ``labels.yaml``, or one of its expressions cannot be compiled.
    """
    return Miner(load_pack(language))
