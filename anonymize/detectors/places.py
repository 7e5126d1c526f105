"""Street addresses, postcodes and towns."""

from __future__ import annotations

import re
from collections.abc import Iterable

from anonymize.detectors import Detector
from anonymize.detectors.protected_terms import ProtectedTerms
from anonymize.languages import Pack
from anonymize.report import Gazetteer, Span
from anonymize.text import View, alternatives, fold, words_of

_TOWN_WORD = r"[^\W\d_]+(?:['’\-][^\W\d_]+)*"


class Places(Detector):
    """A street needs a number or an address label; a town a postcode, a cue or the export's own town column."""

    kinds = ("address", "postcode", "town")

    def __init__(self, pack: Pack, gazetteer: Gazetteer) -> None:
        super().__init__(pack)
        words = pack["detectors"]["places"]
        self._stop = frozenset(fold(str(word)) for word in pack["detectors"]["names"]["stop"])
        self._particles = frozenset(fold(str(word)) for word in pack["detectors"]["names"]["particles"]) | {
            "sur",
            "en",
            "aux",
            "sous",
            "les",
            "lez",
            "l",
        }
        self._common = frozenset(fold(word) for word in pack.words("common") | pack.words("clinical"))
        self._protected = ProtectedTerms(pack).words
        self._at = re.compile(rf"(?<!\w){alternatives(words['at'])} ")
        self._towns = gazetteer.towns
        self._first_words = frozenset(town.split(" ", 1)[0] for town in gazetteer.towns)
        streets = alternatives(words["streets"])
        endings = alternatives(words["street_endings"])
        suffix = alternatives(words["number_suffixes"])
        number = rf"\d{{1,4}}(?: ?{suffix}\b| ?[a-d]\b)?"
        body = r"[^\n,;:|()\t]{2,50}?"
        stop = r"(?=\s*(?:[,;:|()\n\t]|$| - |  |\.(?:\s|$)| (?:[a-z]{1,2}[ \-])?\d{4,5}\b))"
        self._street = re.compile(
            rf"(?<![\w.,/]){number}(?: ?[,] ?| )(?:{streets})(?![\w'])[. ]{{1,2}}{body}{stop}"
            rf"|(?<!\w)[a-z\-]{{3,30}}{endings} {number}(?!\w)|(?<![\w]){number},? [a-z\-]{{3,30}}{endings}(?!\w)"
        )
        # 28 Victoria Road
        name_first = (
            rf"(?<![\w.,/]){number},? (?:[^\W\d_][^\W\d_'\-]+ ){{1,3}}{streets}(?!\w)\.?"
            if words.get("name_first")
            else "(?!)"
        )
        self._name_first = re.compile(name_first)
        labels = alternatives(words["address_labels"])
        self._labelled = re.compile(
            rf"(?<!\w){labels} ?:? (?:au |a |a la |aux )?"
            rf"(?P<street>(?:{number},? )?(?:{streets}|[a-z\-]{{3,30}}{endings})\b{body}{stop})"
        )
        self._reverse = re.compile(
            rf"(?<!\w)(?P<street>(?:{streets}) (?:d[eu]s? |de la |d')?"
            rf"[^\n,;:|()\d]{{3,40}}?,? {number})(?=\s*(?:,|\n|$| - |\|))"
        )
        self._postcode = re.compile(
            r"(?<![\w.,/+])(?P<code>(?:(?:f|b|ch|l|d|a|e|lu) ?- ?)?\d{4,5})(?P<gap>[ ,]{1,3}|\n)(?=[a-z'])"
        )
        self._canadian = re.compile(
            r"(?<!\w)(?P<code>[abceghj-nprstvxy]\d[abceghj-nprstv-z] ?\d[abceghj-nprstv-z]\d)(?!\w)"
        )
        self._british = re.compile(r"(?<!\w)[a-z]{1,2}\d[a-z\d]? \d[abd-hjlnp-uw-z]{2}(?!\w)")
        self._cue = re.compile(rf"(?<!\w){alternatives(words['town_cues'])} ?:? ")
        self._letter = re.compile(
            rf"(?:^|(?<=\n))[ \t]*(?P<town>{_TOWN_WORD}(?: {_TOWN_WORD}){{0,3}}), ?(?:le|the|den|el|a) \d"
        )
        self._office = re.compile(rf"(?<!\w){alternatives(words['post_office'])}(?: ?\d{{1,5}})?(?!\w)")

    def find(self, view: View) -> Iterable[Span]:
        """Spans of street with number, of postcode, and of town with its post office words."""
        folded = view.folded
        for match in self._street.finditer(folded):
            yield Span(*match.span(), "address", 0.9, "places.street")
        for match in self._name_first.finditer(folded):
            if view.text[match.end() - 1 - len(match.group().rsplit(" ", 1)[1]) + 1].isupper() or view.case == "lower":
                yield Span(*match.span(), "address", 0.9, "places.street")
        for match in self._british.finditer(folded):
            if view.case == "lower" or match.group().upper() == view.text[slice(*match.span())]:
                yield Span(*match.span(), "postcode", 0.85, "places.postcode")
        for pattern in (self._labelled, self._reverse):
            for match in pattern.finditer(folded):
                if any(char.isupper() for char in view.text[slice(*match.span("street"))]) or view.case == "lower":
                    yield Span(*match.span("street"), "address", 0.8, "places.labelled")
        yield from self._postcodes(view)
        for match in self._cue.finditer(folded):
            end = self._town(view, match.end())
            if end:
                yield Span(match.end(), end, "town", 0.8, "places.cue")
        for match in self._at.finditer(folded):
            word = re.compile(_TOWN_WORD).match(view.text, match.end())
            if (
                word
                and word.group()[0].isupper()
                and len(word.group()) > 3
                and not word.group().isupper()
                and view.case == "mixed"
            ):
                end = self._town(view, match.end())
                if end and not (set(words_of(word.group())) & (self._common | self._protected)):
                    yield Span(match.end(), end, "town", 0.6, "places.at")
        for match in self._letter.finditer(folded):
            if view.text[match.start("town")].isupper() or view.case == "lower":
                yield Span(*match.span("town"), "town", 0.8, "places.letter")
        yield from self._known(view)

    def _postcodes(self, view: View) -> Iterable[Span]:
        for match in self._postcode.finditer(view.folded):
            code = match["code"]
            end = self._town(view, match.end())
            if not end:
                continue
            if code.isdigit() and len(code) == 4:  # Belgium and Switzerland: four digits can be anything
                before = view.folded[max(0, match.start() - 3) : match.start()].strip(" ")
                if before and before[-1] not in ",-|\n(":
                    continue
                if code[:2] in ("19", "20") and view.text[match.end() :][:1].islower():
                    continue
            yield Span(*match.span("code"), "postcode", 0.85, "places.postcode")
            yield Span(match.end(), end, "town", 0.85, "places.postcode")
        for match in self._canadian.finditer(view.folded):
            if any(char.isupper() for char in match.group()) or match.group().count(" ") or view.case != "mixed":
                yield Span(*match.span("code"), "postcode", 0.85, "places.postcode")
                after = (
                    self._town(view, match.end() + 1)
                    if view.text[match.end() : match.end() + 1] in (" ", ",")
                    else None
                )
                if after:
                    yield Span(match.end(), after, "town", 0.7, "places.postcode")
                before = re.search(
                    rf"(?P<town>{_TOWN_WORD}(?: {_TOWN_WORD}){{0,3}}),? ?\(?(?:quebec|qc|ontario|on)\)?,? $",
                    view.folded[: match.start()],
                )
                if before:
                    yield Span(*before.span("town"), "town", 0.85, "places.postcode")

    def _town(self, view: View, start: int) -> int | None:
        """End of the town whose name begins at ``start``: capitalised words, particles between them."""
        position, end, count = start, None, 0
        while count < 6:
            match = re.compile(_TOWN_WORD).match(view.text, position)
            if not match:
                break
            word, folded = match.group(), view.folded[match.start() : match.end()]
            lower_ok = view.case == "lower" and (count < 1 or (count == 1 and end is None))
            if folded in self._particles and (count or word[0].isupper() or view.case == "lower"):
                pass
            elif word[0].isupper() or re.match(r"[dl]['’][A-ZÀ-Ý]", word) or lower_ok:
                if folded in self._stop or (folded in self._common and count == 0 and not word[0].isupper()):
                    break
                if view.case == "upper" and count >= 2:
                    break
                end = match.end()
            else:
                break
            count += 1
            position = match.end()
            if not re.match(r"[ \u00a0\-][^\W\d_'’]", view.text[position : position + 2]):
                break
            position += 1
        office = self._office.match(view.folded, end + 1) if end else None
        return office.end() if office else end

    def _known(self, view: View) -> Iterable[Span]:
        """Towns of the export's own column."""
        if not self._towns:
            return
        words = list(re.finditer(r"[^\W\d_]+", view.folded))
        for index, first in enumerate(words):
            if first.group() not in self._first_words or not (
                view.text[first.start()].isupper() or view.case == "lower"
            ):
                continue
            for count in range(5, 0, -1):
                if index + count > len(words):
                    continue
                last = words[index + count - 1]
                name = " ".join(word.group() for word in words[index : index + count])
                if name in self._towns and last.end() - first.start() <= len(name) + 4:
                    if count == 1 and (len(name) < 4 or name in self._common or name in self._stop):
                        continue
                    yield Span(first.start(), last.end(), "town", 0.7, "places.export")
                    break
