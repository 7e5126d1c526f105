"""Street addresses, postcodes and towns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain, takewhile

from anonymize.dates import forms_of
from anonymize.detectors import Detector
from anonymize.detectors.address_parts import AddressParts
from anonymize.detectors.postcodes import Postcodes, matches_at
from anonymize.detectors.protected_terms import protected_of
from anonymize.detectors.town_reader import TOWN_WORD, WORD, TownReader
from anonymize.languages import Pack
from anonymize.report import Gazetteer, Span
from anonymize.text import Anchored, Endings, View, alternatives, fold, folded, words_of

_BEFORE_STREET = re.compile(r"(?<![\w\-])[^\W\d_][\w\-]* $")
_COMMA = re.compile(r"[ ]?,[ \n]| ?\n|,? (?:in|te|a) ")
_SAME_LINE = re.compile(r"[ ]?, ?| [-–] | \(| (?:in|te|[aà]) ")
_CLOSED_TOWN = re.compile(r" ?(?:[,;.)\n]|$| [-–(])")


class Places(Detector):
    """A street needs a number or an address label; a town a postcode, a cue or the export's own town column."""

    kinds = ("address", "postcode", "town")

    def __init__(self, pack: Pack, gazetteer: Gazetteer) -> None:
        super().__init__(pack)
        words = pack["detectors"]["places"]
        self._reader = TownReader(pack)
        self._stop, self._particles, self._common = self._reader.stop, self._reader.particles, self._reader.common
        self._no_town = self._stop - self._particles
        self._protected = protected_of(pack).words
        self._no_at = self._common | self._protected | folded(words.get("countries", []))
        self._at = Anchored(words["at"], rf"(?<!\w){alternatives(words['at'])} ")
        self._towns = gazetteer.towns
        self._first_words = frozenset(town.split(" ", 1)[0] for town in gazetteer.towns)
        streets = alternatives(words["streets"])
        endings = alternatives(words["street_endings"])
        suffix = alternatives(words["number_suffixes"])
        number = rf"\d{{1,4}}(?: ?{suffix}\b| ?[a-d]\b)?"
        # number last: "4/2", "41/A", "19-21", "500-A", "210 III", "9 bus 2"
        units = alternatives(words.get("units", []))
        letter = rf"(?: ?{suffix}\b| ?[a-d]\b|[e-z]\b)?"
        second = (
            r"(?: ?[/\-] ?\d{1,4}[a-z]?(?![\w/.\-])|(?:/\d{1,3}){1,3}(?![\w/.\-])"
            r"|[/\-][a-z](?!\w)|[ \-](?:i{1,3}|iv)(?!\w))?"
        )
        last = rf"\d{{1,4}}{letter}{second}(?:,? {units}\.? ?\d{{1,4}}[a-z]?(?!\w)){{0,3}}"
        body = r"[^\n,;:|()\t]{2,50}?"
        self._parts = AddressParts(pack, words)
        self._postcodes = Postcodes(pack, self._reader, self._parts)
        # "41 rue de Varsovie à Bully": the town is read behind the street
        town = rf"| {alternatives(words['at'])} [a-z]|[ ]?[•·]" if self._parts.active else ""
        stop = rf"(?=\s*(?:[,;:|()\n\t]|$| - |  |\.(?:\s|$)| (?:[a-z]{{1,2}}[ \-])?\d{{4,5}}\b{town}))"
        # These begin with a number.
        self._street = re.compile(
            rf"(?<![\w.,/]){number}(?: ?[,] ?| )(?:{streets})(?![\w'])[. ]{{1,2}}{body}{stop}"
            rf"|(?<![\w]){number},? [a-z\-]{{3,30}}{endings}(?!\w)"
        )
        self._street_ending = Endings(words["street_endings"], rf"{endings} {last}(?!\w)", least=3)
        # "Jan van Galenstraat 5", "Dr.-Külz-Ring 15"
        openings = alternatives([*pack["detectors"]["names"].get("openings", []), *words.get("name_links", [])])
        self._named = re.compile(
            rf"(?<![\w.\-])(?:[A-ZÀ-Ý][^\W\d_.]+ ){{1,2}}(?i:{openings}) $|(?<![\w.\-])[A-ZÀ-Ý][^\W\d_]{{1,4}}\.$"
        )
        # "Wiener Straße 12": the kind of street stands apart, behind a word with a capital
        self._apart = Anchored(words["street_endings"], rf"(?<=[^\W\d_][ ]){endings} {last}(?!\w)")
        # 28 Victoria Road
        name_first = (
            rf"(?<![\w.,/])(?:\d{{1,4}}[a-d]?[/\-])?{number},? (?:[^\W\d_][^\W\d_'\-]+ ){{1,3}}{streets}(?!\w)\.?"
            if words.get("name_first")
            else "(?!)"
        )
        self._name_first = re.compile(name_first)
        self._kind_last = bool(words.get("name_first"))
        labels = alternatives(words["address_labels"])
        self._labelled = Anchored(
            words["address_labels"],
            rf"(?<!\w){labels} ?:? (?:au |a |a la |aux )?"
            rf"(?P<street>(?:{number},? )?(?:{streets}|[a-z\-]{{3,30}}{endings})\b{body}{stop})",
        )
        reverse = (
            rf"| {self._parts.unit_words}(?!\w)|[;)•]|\.(?:\s|$)| {alternatives(words['at'])} [a-z]"
            if self._parts.active
            else ""
        )
        self._reverse = Anchored(
            words["streets"],
            rf"(?<!\w)(?P<street>(?:{streets}) (?:d[eu]s? |de la |d')?"
            rf"[^\n,;:|()\d]{{3,40}}?,? {number}(?:/\d{{1,3}}(?!\d))?)(?=\s*(?:,|\n|$| - |\|{reverse}))",
        )
        self._cue = self._cues(words["town_cues"], words.get("elisions", {}))
        self._capital_cue = self._cues(words.get("town_cues_capital", []), words.get("elisions", {}))
        specialties = pack["detectors"]["institutions"].get("specialties", [])
        self._no_capital = self._reader.no_first | self._protected | pack.lists.clinical | folded(specialties)
        self._letter = re.compile(rf"[ \t]*(?P<town>{TOWN_WORD}(?: {TOWN_WORD}){{0,3}}), ?(?:le|the|den|el|a) \d")
        # "Town, date" alone on a line; the words that may stand between are the pack's
        months = forms_of(pack).months
        self._dated_line = re.compile(
            rf"[ \t]*(?P<town>{TOWN_WORD}(?: {TOWN_WORD}){{0,3}}), ?(?:{alternatives(words['letter_words'])} )?"
            rf"(?:\d{{1,2}}[./\-] ?\d{{1,2}}[./\-] ?\d{{2,4}}|\d{{1,2}}[.°º]? {alternatives(list(months))}\.? \d{{4}})"
            r"[ \t.]*(?=\n|$)"
            if "letter_words" in words
            else "(?!)"
        )
        # "Am Waldrand 21" needs a line of its own: its first word stands before everything
        own = alternatives(words.get("line_streets", []))
        self._own_line = re.compile(
            rf"[ \t]*(?P<street>{own} [^\W\d_][\w'\-]+(?: [^\W\d_][\w'\-]+)? {last})[ \t,]*(?=\n|$)"
        )
        self._box = Anchored(
            words.get("boxes", []), rf"(?<!\w){alternatives(words.get('boxes', []))}[ .:]{{1,3}}\d{{1,6}}(?!\w)"
        )
        self._town_after_street = {True: _COMMA, "line": _SAME_LINE}.get(words.get("town_after_street", False))

    def find(self, view: View) -> Iterable[Span]:
        """Spans of street with number, of postcode, and of town with its post office words."""
        folded = view.folded
        numbers = [(view.starts[index], index) for index in view.digits if len(view.words[index]) <= 5]
        for match in chain(matches_at(self._street, view, numbers), self._street_ending.finditer(view)):
            if self._kind_last and view.case == "mixed" and not self._parts.names(view.text[slice(*match.span())]):
                continue  # "32 St. the first three months"
            named = self._named.search(view.text, max(0, match.start() - 40), match.start())
            glued = named and named.group()[-1] == "." and view.text[match.start()] == "-"
            whole = named and (glued or not set(words_of(named.group())) & self._stop)
            start, end = self._parts.around(view, named.start() if named and whole else match.start(), match.end())
            yield Span(start, end, "address", 0.9, "places.street")
            yield from self._after_street(view, end)
        yield from self._parts.find(view)
        for match in matches_at(self._name_first, view, numbers) if self._name_first else ():
            first = re.search(r"[^\W\d_]{2}", match.group())
            if view.case == "mixed" and first and view.text[match.start() + first.start()].islower():
                continue  # "22 reported normal by Dr"
            if view.text[match.end() - len(match.group().rsplit(" ", 1)[1])].isupper() or view.case == "lower":
                yield Span(*match.span(), "address", 0.9, "places.street")
        for match in self._apart.finditer(view):
            name = _BEFORE_STREET.search(view.text, max(0, match.start() - 40), match.start())
            if name and view.text[match.start()].isupper() and not set(words_of(name.group())) & self._stop:
                yield Span(name.start(), match.end(), "address", 0.85, "places.street")
                yield from self._after_street(view, match.end())
        for match in self._box.finditer(view):
            yield Span(*match.span(), "address", 0.9, "places.box")
        for pattern in (self._labelled, self._reverse) if view.digits else (self._labelled,):
            for match in pattern.finditer(view):
                street = view.text[slice(*match.span("street"))]
                named = pattern is self._labelled or not self._parts.active or self._parts.names(street)
                if view.case == "lower" or (named and any(map(str.isupper, street))):
                    start, end = self._parts.around(view, *self._parts.cut(view, *match.span("street")))
                    yield Span(start, end, "address", 0.8, "places.labelled")
                    yield from self._after_street(view, end)
        yield from self._postcodes.find(view, numbers)
        for match in self._cue.finditer(view):
            end = self._reader.read(view, match.end())
            if end:
                yield Span(match.end(), end, "town", 0.8, "places.cue")
        for match in self._capital_cue.finditer(view) if view.case == "mixed" else ():
            word = WORD.match(view.text, match.end())
            if word and not self._no_capital.intersection(words_of(word.group())) - self._particles:
                end = self._reader.read(view, match.end())
                if end:
                    yield Span(match.end(), end, "town", 0.7, "places.cue")
        for match in self._at.finditer(view):
            word = WORD.match(view.text, match.end())
            if (
                word
                and word.group()[0].isupper()
                and len(word.group()) > 3
                and not word.group().isupper()
                and view.case == "mixed"
            ):
                end = self._reader.read(view, match.end())
                if end and not (set(words_of(word.group())) - self._particles) <= self._no_at:
                    yield Span(match.end(), end, "town", 0.6, "places.at")
        for start, stop in view.lines:
            street = self._own_line.match(folded, start, stop + 1) if view.text[stop - 1 : stop].isalnum() else None
            if street and view.text[street.start("street")].isupper():
                yield Span(*street.span("street"), "address", 0.8, "places.own_line")
                yield from self._after_street(view, street.end("street"))
            if folded.find(",", start, stop) < 0:
                continue
            match = self._letter.match(folded, start)
            if not match:
                match = self._dated_line.match(folded, start, stop)
                match = match if match and self._plausible(view.text[slice(*match.span("town"))]) else None
            if (
                match
                and (view.text[match.start("town")].isupper() or view.case == "lower")
                and not set(words_of(match["town"])) & self._no_town  # "Née DUPONT, le 3"
            ):
                yield Span(*match.span("town"), "town", 0.8, "places.letter")
        yield from self._known(view)

    @staticmethod
    def _cues(cues: list[str], elisions: dict[str, str]) -> Anchored:
        """Cues with what stands between them and the town; ``elisions`` says how a last word is written before a vowel."""
        parts = [cue.rpartition(" ") for cue in map(str, cues)]
        elided = [f"{before} {elisions[last]}" for before, _, last in parts if before and last in elisions]
        return Anchored(cues, rf"(?<!\w)(?:{alternatives(cues)}(?:[ .]{{0,24}}:| )? |{alternatives(elided)})")

    def _plausible(self, town: str) -> bool:
        """Words with capitals and particles, none of them clinical: no title of an examination before its date."""
        words = town.split(" ")
        capital = all(word[0].isupper() or fold(word) in self._particles for word in words)
        return capital and not set(words_of(town)) & (self._common | self._stop)

    def _after_street(self, view: View, end: int) -> Iterable[Span]:
        """The town behind a comma behind a street: ``Florstraat 2, Veendam``."""
        gap = self._town_after_street.match(view.text, end) if self._town_after_street else None
        stop = self._reader.read(view, gap.end()) if gap else None
        if stop and view.case != "mixed" and self._parts.active and not _CLOSED_TOWN.match(view.text, stop):
            return
        if gap and stop and not set(words_of(view.text[gap.end() : stop])) <= self._common:
            yield Span(gap.end(), stop, "town", 0.7, "places.after_street")

    def _known(self, view: View) -> Iterable[Span]:
        """Towns of the export's own column."""
        if not self._towns:
            return
        for index in sorted(i for word in self._first_words & view.vocabulary for i in view.where[word]):
            start = view.starts[index]
            if not (view.text[start].isupper() or view.case == "lower"):
                continue
            words = list(takewhile(str.isalpha, view.words[index : index + 5]))
            for count in range(len(words), 0, -1):
                name, end = " ".join(words[:count]), view.ends[index + count - 1]
                if name in self._towns and end - start <= len(name) + 4:
                    if count == 1 and (len(name) < 4 or name in self._common or name in self._stop):
                        continue
                    yield Span(start, end, "town", 0.7, "places.export")
                    break
