"""Street addresses, postcodes and towns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, takewhile

from anonymize.dates import forms_of
from anonymize.detectors import Detector
from anonymize.detectors.address_parts import AddressParts
from anonymize.detectors.protected_terms import protected_of
from anonymize.languages import Pack
from anonymize.report import Gazetteer, Span
from anonymize.text import Anchored, Endings, View, alternatives, fold, folded, words_of

_TOWN_WORD = r"[^\W\d_]++(?:['’\-][^\W\d_]++)*+"
_WORD = re.compile(_TOWN_WORD)
_NEXT = re.compile(r"[ \u00a0\-][^\W\d_'’]")
_ELIDED = re.compile(r"[dl]['’][A-ZÀ-Ý]|s-[A-ZÀ-Ý]")
_BEFORE_STREET = re.compile(r"(?<![\w\-])[^\W\d_][\w\-]* $")
_COMMA = re.compile(r"[ ]?,[ \n]| ?\n|,? (?:in|te|a) ")
_SAME_LINE = re.compile(r"[ ]?, ?| [-–] | \(| (?:in|te|[aà]) ")
_GLUED = re.compile(r"[a-z\d][\-/.]$")
_CLOSED_TOWN = re.compile(r" ?(?:[,;.)\n]|$| [-–(])")
_AFTER_CODE = re.compile(r"[ ,]{1,3}|\n")
_HEADING = re.compile(r"[ .]{0,24}:")
_COUNTRIES = frozenset(("f", "b", "ch", "l", "d", "a", "e", "lu"))
_CLOSED = re.compile(r" ?(?:[,;.\n)]|$)")
_HOUSE_BEFORE = re.compile(r"[^\W\d_]\.? \d{1,3} ?[a-z]?(?: /)? $")


class Places(Detector):
    """A street needs a number or an address label; a town a postcode, a cue or the export's own town column."""

    kinds = ("address", "postcode", "town")

    def __init__(self, pack: Pack, gazetteer: Gazetteer) -> None:
        super().__init__(pack)
        words = pack["detectors"]["places"]
        self._stop = pack.lists.stop
        # the label of the next line is no town
        labels = [*pack["detectors"]["names"]["labels"], *words["address_labels"]]
        self._stop |= frozenset(parts[0] for parts in map(words_of, map(str, labels)) if parts and len(parts[0]) > 3)
        self._particles = pack.lists.particles | folded(words.get("particles", []))
        self._never = folded(words.get("no_towns", []))
        self._no_town = self._stop - self._particles
        self._short = folded(words["abbreviations"])
        self._common = pack.lists.common | pack.lists.clinical
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
        self._label = re.compile(rf"(?<!\w){labels} ?: ?$")
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
        self._postcode = re.compile(
            r"(?<![\w.,/+])(?<!\d-)(?P<code>(?:(?:f|b|ch|l|d|a|e|lu) ?- ?)?\d{4,5})(?P<gap>[ ,]{1,3}|\n)(?=[a-z'])"
        )
        self._canadian = re.compile(
            r"(?<!\w)(?P<code>[abceghj-nprstvxy]\d[abceghj-nprstv-z] ?\d[abceghj-nprstv-z]\d)(?!\w)"
        )
        provinces = rf"\(?{alternatives(words.get('provinces', []))}\)?,? {{1,3}}$"
        self._province = re.compile(rf"[ ,]{provinces}")
        self._before_code = re.compile(rf"(?P<town>{_TOWN_WORD}(?: {_TOWN_WORD}){{0,3}}),? ?{provinces}")
        self._british = re.compile(r"(?<!\w)[a-z]{1,2}\d[a-z\d]? \d[abd-hjlnp-uw-z]{2}(?!\w)")
        self._cue = self._cues(words["town_cues"], words.get("elisions", {}))
        self._capital_cue = self._cues(words.get("town_cues_capital", []), words.get("elisions", {}))
        heads = pack["detectors"]["institutions"]["heads"]
        # "fait à l'Hôpital X": the institution is read as such
        self._no_first = self._stop | folded(heads)
        specialties = pack["detectors"]["institutions"].get("specialties", [])
        self._no_capital = self._no_first | self._protected | pack.lists.clinical | folded(specialties)
        self._letter = re.compile(rf"[ \t]*(?P<town>{_TOWN_WORD}(?: {_TOWN_WORD}){{0,3}}), ?(?:le|the|den|el|a) \d")
        # "Town, date" alone on a line; the words that may stand between are the pack's
        months = forms_of(pack).months
        self._dated_line = re.compile(
            rf"[ \t]*(?P<town>{_TOWN_WORD}(?: {_TOWN_WORD}){{0,3}}), ?(?:{alternatives(words['letter_words'])} )?"
            rf"(?:\d{{1,2}}[./\-] ?\d{{1,2}}[./\-] ?\d{{2,4}}|\d{{1,2}}[.°º]? {alternatives(list(months))}\.? \d{{4}})"
            r"[ \t.]*(?=\n|$)"
            if "letter_words" in words
            else "(?!)"
        )
        codes = words.get("postcodes", [])
        self._codes = re.compile("|".join(rf"(?<!\w)(?:{code})(?!\w)" for code in codes)) if codes else None
        # "Am Waldrand 21" needs a line of its own: its first word stands before everything
        own = alternatives(words.get("line_streets", []))
        self._own_line = re.compile(
            rf"[ \t]*(?P<street>{own} [^\W\d_][\w'\-]+(?: [^\W\d_][\w'\-]+)? {last})[ \t,]*(?=\n|$)"
        )
        # where bare four digits count behind a street or a cue alone: in German, years stand before nouns with capitals
        where = alternatives([*words["address_labels"], *words["town_cues"]])
        self._behind_street = (
            re.compile(rf"\d ?[a-z]?(?:/\d{{1,3}})?[ ,|\n\-]{{1,4}}$|(?<!\w){where} ?:? ?$")
            if words.get("bare_four_digits") == "behind_street"
            else None
        )
        self._box = Anchored(
            words.get("boxes", []), rf"(?<!\w){alternatives(words.get('boxes', []))}[ .:]{{1,3}}\d{{1,6}}(?!\w)"
        )
        self._town_after_street = {True: _COMMA, "line": _SAME_LINE}.get(words.get("town_after_street", False))
        self._office = re.compile(rf"(?<!\w){alternatives(words['post_office'])}(?: ?\d{{1,5}})?(?!\w)")

    def find(self, view: View) -> Iterable[Span]:
        """Spans of street with number, of postcode, and of town with its post office words."""
        folded = view.folded
        numbers = [(view.starts[index], index) for index in view.digits if len(view.words[index]) <= 5]
        for match in chain(_from(self._street, view, numbers), self._street_ending.finditer(view)):
            if self._kind_last and view.case == "mixed" and not self._parts.names(view.text[slice(*match.span())]):
                continue  # "32 St. the first three months"
            named = self._named.search(view.text, max(0, match.start() - 40), match.start())
            glued = named and named.group()[-1] == "." and view.text[match.start()] == "-"
            whole = named and (glued or not set(words_of(named.group())) & self._stop)
            start, end = self._parts.around(view, named.start() if named and whole else match.start(), match.end())
            yield Span(start, end, "address", 0.9, "places.street")
            yield from self._after_street(view, end)
        yield from self._parts.find(view)
        for match in _from(self._name_first, view, numbers) if self._name_first else ():
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
        # letters with digits behind them: SW1A 2AA, H1A 1A1
        codes = [
            (view.starts[index - 1], index)
            for index in view.digits
            if index and view.ends[index - 1] == view.starts[index] and len(view.words[index - 1]) <= 2
        ]
        for match in _from(self._british, view, codes):
            if view.case == "lower" or match.group().upper() == view.text[slice(*match.span())]:
                yield Span(*match.span(), "postcode", 0.85, "places.postcode")
        for pattern in (self._labelled, self._reverse) if view.digits else (self._labelled,):
            for match in pattern.finditer(view):
                street = view.text[slice(*match.span("street"))]
                named = pattern is self._labelled or not self._parts.active or self._parts.names(street)
                if view.case == "lower" or (named and any(map(str.isupper, street))):
                    start, end = self._parts.around(view, *self._parts.cut(view, *match.span("street")))
                    yield Span(start, end, "address", 0.8, "places.labelled")
                    yield from self._after_street(view, end)
        yield from self._postcodes(view, numbers, codes)
        for match in self._cue.finditer(view):
            end = self._town(view, match.end())
            if end:
                yield Span(match.end(), end, "town", 0.8, "places.cue")
        for match in self._capital_cue.finditer(view) if view.case == "mixed" else ():
            word = _WORD.match(view.text, match.end())
            if word and not self._no_capital.intersection(words_of(word.group())) - self._particles:
                end = self._town(view, match.end())
                if end:
                    yield Span(match.end(), end, "town", 0.7, "places.cue")
        for match in self._at.finditer(view):
            word = _WORD.match(view.text, match.end())
            if (
                word
                and word.group()[0].isupper()
                and len(word.group()) > 3
                and not word.group().isupper()
                and view.case == "mixed"
            ):
                end = self._town(view, match.end())
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
        stop = self._town(view, gap.end()) if gap else None
        if stop and view.case != "mixed" and self._parts.active and not _CLOSED_TOWN.match(view.text, stop):
            return
        if gap and stop and not set(words_of(view.text[gap.end() : stop])) <= self._common:
            yield Span(gap.end(), stop, "town", 0.7, "places.after_street")

    def _postcodes(self, view: View, numbers: list[tuple[int, int]], codes: list[tuple[int, int]]) -> Iterable[Span]:
        prefixed = [
            (view.starts[index - 1] if index and view.words[index - 1] in _COUNTRIES else start, index)
            for start, index in numbers
            if len(view.words[index]) >= 4
        ]
        for match in _from(self._postcode, view, prefixed):
            code = match["code"]
            end = self._town(view, match.end())
            if not end:
                continue
            if code.isdigit() and len(code) == 4:  # Belgium and Switzerland: four digits can be anything
                before = view.folded[max(0, match.start() - 3) : match.start()].strip(" ")
                labelled = before.endswith(":") and self._label.search(
                    view.folded, max(0, match.start() - 40), match.start()
                )
                if self._behind_street:
                    if not labelled and not self._behind_street.search(
                        view.folded, max(0, match.start() - 30), match.start()
                    ):
                        continue
                elif before and before[-1] not in ",-|\n(•·" and not labelled:
                    # "Avenue Crocq 15 1020 Bruxelles": a house number behind a word
                    housed = _HOUSE_BEFORE.search(view.folded, max(0, match.start() - 24), match.start())
                    if not housed or set(words_of(view.text[match.end() : end])) & (self._common | self._protected):
                        continue
                if _GLUED.search(view.folded, max(0, match.start() - 2), match.start()):
                    continue  # the end of a number or a date
                if code[:2] in ("19", "20") and view.text[match.end() :][:1].islower():
                    continue
            if match["gap"] == "  " and code[:2] in ("19", "20") and view.opens_line(match.start()):
                continue  # a list of years
            yield Span(*match.span("code"), "postcode", 0.85, "places.postcode")
            yield Span(match.end(), end, "town", 0.85, "places.postcode")
            if len(code) == 5:
                yield from self._parts.before_code(view, match.start())
        for match in self._codes.finditer(view.folded) if numbers and self._codes else ():
            if not any(map(str.isupper, view.text[slice(*match.span())])):
                continue  # letters of a code are capitals: "1250 mg" is none
            yield Span(*match.span(), "postcode", 0.85, "places.postcode")
            gap = _AFTER_CODE.match(view.text, match.end())
            end = self._town(view, gap.end()) if gap else None
            if gap and end and not (gap.group() == "\n" and _HEADING.match(view.folded, end)):
                yield Span(gap.end(), end, "town", 0.85, "places.postcode")
        for match in _from(self._canadian, view, codes):
            if any(char.isupper() for char in match.group()) or match.group().count(" ") or view.case != "mixed":
                yield Span(*match.span("code"), "postcode", 0.85, "places.postcode")
                after = (
                    self._town(view, match.end() + 1)
                    if view.text[match.end() : match.end() + 1] in (" ", ",")
                    else None
                )
                if after:
                    yield Span(match.end(), after, "town", 0.7, "places.postcode")
                before = None
                if self._province.search(view.folded, max(0, match.start() - 14), match.start()):
                    before = self._before_code.search(view.folded, max(0, match.start() - 60), match.start())
                if before:
                    yield Span(*before.span("town"), "town", 0.85, "places.postcode")

    def _town(self, view: View, start: int) -> int | None:
        """End of the town whose name begins at ``start``: capitalised words, particles between them."""
        position, end, count, linked = start, None, 0, False
        while count < 6:
            match = _WORD.match(view.text, position + (view.text[position : position + 1] in ("'", "’")))
            if not match:
                break
            word, folded = match.group(), view.folded[match.start() : match.end()]
            lower_ok = view.case == "lower" and (count < 1 or (count == 1 and end is None))
            if _ELIDED.match(word) and not self._elided(word, folded):
                break
            if folded in self._particles and (count or word[0].isupper() or view.case == "lower"):
                pass
            elif word[0].isupper() or _ELIDED.match(word) or lower_ok:
                if (
                    folded in self._stop
                    or (end is None and folded in self._never)
                    or (folded in self._common and end is None and not word[0].isupper())
                ):
                    break
                if view.case == "upper" and count >= 2:
                    break
                end = match.end()
            elif view.case == "lower" and linked and _CLOSED.match(view.text, match.end()):
                end = match.end()  # "saint-denis de la réunion,"
            else:
                break
            linked = folded in self._particles
            count += 1
            position = match.end()
            if folded in self._short and view.text[position : position + 1] == ".":
                position += 1  # St. Johann
            if not _NEXT.match(view.text, position):
                break
            position += 1
        office = self._office.match(view.folded, end + 1) if end else None
        return office.end() if office else end

    def _elided(self, word: str, folded: str) -> bool:
        """Whether an elided word may begin a town: ``l'Isle``, not ``l'Hôpital`` or ``l'INO``."""
        return folded[2:] not in self._no_first and not (word[0].islower() and word[2:].isupper())

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


def _from(pattern: re.Pattern[str], view: View, starts: list[tuple[int, int]]) -> Iterator[re.Match[str]]:
    """Matches of ``pattern`` that begin at one of ``starts`` (offset, word number of a run of digits), without overlaps.

    An offset that does not lead to a match is tried again at the digits themselves: the word before them was none of it.
    """
    done, folded = 0, view.folded
    for start, index in starts:
        match = pattern.match(folded, start) if start >= done else None
        if not match and start < (digits := view.starts[index]) and digits >= done:
            match = pattern.match(folded, digits)
        if match:
            done = match.end()
            yield match
