"""Names of one word in running text, without a title: ``vue avec Agathe``, ``réponse de Yves``, ``Sauriol propose``.

A given name that the list knows says enough alone. A word that no list knows needs what only persons do or have beside
it: a preposition of company, a verb, a thing that belongs to somebody. Eponyms stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from anonymize.detectors import Detector
from anonymize.detectors.name_reader import NameReader
from anonymize.detectors.protected_terms import protected_of
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import Anchored, View, alternatives, fold, folded

_GRADE = re.compile(r"(?: ?[\[(]?\d|[ \-](?:i{1,3}v?|iv|vi{0,3}|[a-d])(?![\w'])|['’]s(?!\w)|[./@_]\w)")
_LINKED = re.compile(r"([^\W\d_]{3,}) ?(?:-|/| [a-z]{1,2} | & ) ?\Z")
_LINK_AFTER = re.compile(r" ?(?:-|/| [a-z]{1,2} | & ) ?([^\W\d_]{3,})")
_BRACKET = re.compile(r"\((?P<name>[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿœ]{2,})(?=[,)])")
_NOUN = re.compile(r" ([a-z]+)(?: ([a-z]+))?")
_PARTICLE = re.compile(r"\((?P<name>(?P<particle>[^\W\d_]{1,3}[ '’])[^\W\d_]+(?:-[^\W\d_]+)?)(?=[,)])")
_COMPOUND_BEFORE = re.compile(r"(?<![\w\-])[^\W\d_]+-\Z")
_COMPOUND_AFTER = re.compile(r"-[A-ZÀ-ÖØ-Þ][^\W\d_]+")
_BEFORE = re.compile(r"([^\W\d_]+)(?:[ ]{1,2}|['’])\Z")
# A line of a chat or of a dictated dialogue, folded: "[14:02] jules : ..."
_SPEAKER = re.compile(
    r"[ \t]*[\[(]?\d{1,2}[:h]\d\d(?::\d\d)?[\])]?[ ,\-–]{1,3}(?P<name>[^\W\d_]{3,}(?:[ \-][^\W\d_]{2,})?) ?: "
)
_CAPITAL = r"(?P<name>[^\W\d_]+(?:['’\-][^\W\d_]+){0,3})"
_CLAUSE = re.compile(r" ?(?:[.,;:)\n]|$)")
_MOST = 5  # frequency class from which a word of the text is too ordinary to be a name by itself


class RunningNames(Detector):
    """Spans of single names that their surroundings or the list of given names tell."""

    kinds = ("name",)

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        words = pack["detectors"]["names"]
        self._reader = NameReader(pack)
        self._lexicon = self._reader.lexicon
        self._titles = self._reader.titles
        self._protected = protected_of(pack)
        self._heads = pack.lists.heads
        known = self._reader
        ordinary = known.clinical | known.common | known.stop | known.roles | known.calendar | self._protected.words
        self._ordinary = ordinary | known.particles
        self._given = frozenset(
            word for word in self._lexicon.given_names(2, _MOST) if len(word) > 2 and word not in self._ordinary
        )
        self._bracketed = frozenset(self._lexicon.given_names(3, _MOST + 1)) - self._ordinary
        # everyday words and eponyms that are given names above all: beside a person's act they are one
        never = known.clinical | known.stop | known.roles | known.calendar
        self._double = (
            frozenset(self._lexicon.given_names(1, _MOST + 1)) & (known.common | self._protected.words) - never
        )
        self._citing = folded(words["citing"])
        company, owned = alternatives(words["company"]), alternatives(words["owned"])
        of = alternatives(words["of"])
        some = alternatives(word for word in words["particles"] if len(str(word)) > 1)
        self._company = Anchored(
            words["company"], rf"(?<!\w){company} (?P<particle>(?:{some} ){{0,2}}){_CAPITAL}(?!\w)"
        )
        self._owned = Anchored(words["owned"], rf"(?<!\w){owned} {of} ?{_CAPITAL}(?!\w)")
        self._acts = Anchored(words["acts"], rf"(?<!\w){alternatives(words['acts'])}(?!\w)")

    def find(self, view: View) -> Iterable[Span]:
        """Spans with scores from 0.75 (two tokens of evidence) to 0.7."""
        if view.case == "upper":
            yield from self._in_capitals(view)
            return
        yield from self._speakers(view)
        if view.case == "lower":
            return  # without capitals every rare word would be one
        yield from self._listed(view)
        yield from self._in_brackets(view)
        for rule, pattern in (("names.company", self._company), ("names.owned", self._owned)):
            for match in pattern.finditer(view):
                start, end = match.span("name")
                if not view.text[start].isupper():
                    continue
                before = _BEFORE.search(view.folded, max(0, match.start() - 24), match.start())
                if before and before[1] in self._citing:
                    continue  # "cas rapportés par Choudry": literature
                double = rule == "names.company" and match["name"] in self._double and view.text[start:end].istitle()
                if not double and not self._may_be(view, start, end):
                    continue
                # "fermeture par Vicryl", "avec Dotarem": a single preposition is no evidence for a word nobody bears
                listed = double or rule == "names.owned" or " " in view.folded[match.start() : start - 1]
                if (listed or self._borne(match["name"])) and not self._graded(view, start, end):
                    span = self._extended(view, start, end, rule)
                    particle = match.groupdict().get("particle")
                    yield replace(span, start=match.start("particle")) if particle else span  # "revue par De Wever"
        for match in self._acts.finditer(view):
            yield from self._actor(view, match.start())

    def _in_capitals(self, view: View) -> Iterator[Span]:
        """Behind a preposition of company, in a text of capitals: only a word that no text holds and that ends a clause."""
        for match in self._company.finditer(view):
            start, end = match.span("name")
            words = re.split(r"['’\-]", match["name"])
            unknown = all(len(word) > 3 and not self._lexicon.codes(word)[0] for word in words)
            if unknown and self._ordinary.isdisjoint(words) and _CLAUSE.match(view.text, end):
                yield Span(start, end, "name", 0.7, "names.company")

    def _listed(self, view: View) -> Iterator[Span]:
        """Given names that stand alone inside a sentence."""
        text = view.text
        for index in sorted(index for word in self._given & view.vocabulary for index in view.where[word]):
            if index and view.words[index - 1] in self._titles:
                continue  # found by its title
            start, end = view.starts[index], view.ends[index]
            if _opens(text, start) or view.shape(index) != "title" or text[end : end + 1] == "’":
                continue
            if text[start - 1 : start] == "-" or text[end : end + 1] == "-":
                start, end = self._whole(view, start, end)
                other = fold(text[start:end]).split("-")
                if text[end : end + 1] == "-" or _opens(text, start) or not self._ordinary.isdisjoint(other):
                    continue  # "Fowler-Philip", "Maria-Hilf-Stift"
            if not self._graded(view, start, end) and not self._led(view, start):
                yield self._extended(view, start, end, "names.given")

    def _extended(self, view: View, start: int, end: int, rule: str) -> Span:
        """The name with the surname behind it."""
        if view.text[end : end + 1] != " " or not view.text[end + 1 : end + 3].strip():
            return Span(start, end, "name", 0.7, rule)
        whole = self._reader.read(view, start)
        if whole and whole > end and view.text[whole - 1].isalpha():
            last = re.split(r"[ '’\-]", view.text[end:whole].strip())[-1]
            if len(last) > 2 and self._rare(fold(last)) and fold(last) not in self._ordinary:
                end = whole
        return Span(start, end, "name", 0.7, rule)

    @staticmethod
    def _whole(view: View, start: int, end: int) -> tuple[int, int]:
        """The compound around a word: ``Pier-Luc``."""
        before = _COMPOUND_BEFORE.search(view.text, max(0, start - 24), start)
        after = _COMPOUND_AFTER.match(view.text, end)
        return before.start() if before else start, after.end() if after else end

    def _in_brackets(self, view: View) -> Iterator[Span]:
        """``annulé (de Brye, non compatible)``, ``Papa (Modou)``: the name opens the bracket."""
        for match in _BRACKET.finditer(view.text) if "(" in view.text else ():
            if fold(match["name"]) in self._bracketed:
                yield Span(*match.span("name"), "name", 0.7, "names.given")
        for match in _PARTICLE.finditer(view.text) if "(" in view.text else ():
            start, end = match.span("name")
            if view.folded[start : match.end("particle")].rstrip(" '’") not in self._reader.particles:
                continue
            if self._may_be(view, match.end("particle"), end):
                yield Span(start, end, "name", 0.7, "names.given")

    def _speakers(self, view: View) -> Iterator[Span]:
        if ":" not in view.text or not view.digits:
            return
        for start, end in view.lines:
            match = _SPEAKER.match(view.folded, start, end) if view.text[start] in "[( 0123456789" else None
            if not match:
                continue
            first, stop = match.span("name")
            words = re.split(r"[ \-]", match["name"])
            if len(words) > 1 and words[-1] in self._ordinary:
                stop -= len(words.pop()) + 1  # "Laeti IDE :", "Bonnet cadre :"
            if self._ordinary.isdisjoint(words):
                yield Span(first, stop, "name", 0.75, "names.speaker")

    def _actor(self, view: View, position: int) -> Iterator[Span]:
        """The capitalised word right before a verb of persons."""
        if view.text[view.text.rfind(" ", 0, max(0, position - 1)) + 1 : position].islower():
            return  # most often
        before = view.text[max(0, position - 40) : position]
        match = re.search(rf"(?<![\w'’\-]){_CAPITAL} \Z", before)
        if not match:
            return
        start = position - len(before) + match.start("name")
        end = start + len(match["name"])
        sure = fold(match["name"]) in self._double and match["name"].istitle()
        if not sure and self._may_be(view, start, end):
            sure = not _opens(view.text, start) or self._borne(match["name"])
        if sure and not self._led(view, start):
            yield Span(start, end, "name", 0.7, "names.actor")

    def _may_be(self, view: View, start: int, end: int) -> bool:
        """Whether a word or a compound can be a person's name: written as one, no part of it a word of the language."""
        text = view.text[start:end]
        parts = re.split(r"['’\-]", text)
        if not text[0].isupper() or any(len(part) < 2 or (part.isupper() and len(part) < 6) for part in parts):
            return False
        if any(part[0].islower() and fold(part) not in self._reader.particles for part in parts):
            return False
        folded = [fold(part) for part in parts if fold(part) not in self._reader.particles]
        if not folded or not self._ordinary.isdisjoint(folded) or max(map(len, folded)) < 3:
            return False
        return all(self._rare(word) for word in folded)

    def _rare(self, word: str) -> bool:
        """Whether a word is seldom, or borne more often than its frequency would let expect."""
        frequency, given, surname, town = self._lexicon.codes(word)
        if given in (1, 2) or surname in (1, 2):
            return frequency <= _MOST
        return frequency <= (2 if not town else 1)

    def _borne(self, name: str) -> bool:
        """Whether people bear each part of a name, as its first word of a sentence has a capital in any case."""
        codes = [self._lexicon.codes(fold(part)) for part in re.split(r"['’\-]", name)]
        return all(frequency <= 4 and (0 < given < 3 or 0 < surname < 4) for frequency, given, surname, _ in codes)

    def _graded(self, view: View, start: int, end: int) -> bool:
        """Whether a number, a grade or an eponym beside the word says that it is one: ``Risser 2``, ``Fowler-Philip``."""
        if _GRADE.match(view.folded, end):
            return True
        noun = _NOUN.match(view.folded, end)
        if noun and not self._heads.isdisjoint(noun.groups()):
            return True  # "Sherman type", "Terry Thomas sign"
        before = _LINKED.search(view.folded, max(0, start - 24), start)
        after = _LINK_AFTER.match(view.folded, end)
        return any(match and match[1] in self._protected.words for match in (before, after))

    def _led(self, view: View, start: int) -> bool:
        """Whether a head word stands before: ``signe d'Archibald``, ``Saint Jude``, ``sonde Mentor``."""
        for _ in range(2):
            match = _BEFORE.search(view.folded, max(0, start - 24), start)
            if not match:
                return False
            if match[1] in self._heads:
                return True
            if match[1] not in self._reader.particles:
                return view.text[match.start(1)].isupper() and match[1] not in self._reader.stop
            start = match.start(1)
        return match[1] in self._heads or view.text[match.start(1)].isupper()


def _opens(text: str, start: int) -> bool:
    """Whether a sentence, a line or an entry of a list begins at ``start``: there a capital tells nothing."""
    before = text[max(0, start - 6) : start].rstrip(" ")
    if before[-1:] in ("-", "–", "—"):
        before = before[:-1].rstrip(" ")
    return not before or before[-1] in ".!?:\n•*\t|"
