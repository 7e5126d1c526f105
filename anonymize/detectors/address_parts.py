"""What stands around a street: building, flat, floor, estate, box of the post office; streets without a number.

Each part is found beside a street, or alone where a postcode with its town follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import Anchored, View, alternatives, fold, folded

_CODE_AHEAD = re.compile(r"[ ,\-–—\n•|]{1,5}(?:[A-Z]{1,2}-)?\d{4,5} [A-ZÀ-Ý']")
_CODE_AHEAD_FOLDED = re.compile(r"[ ,\-–—\n•|]{1,5}(?:[a-z]{1,2}-)?\d{4,5} [a-z']")
_GAP = re.compile(r"[ ]?[,\-–—] ?|\n[ \t]*|[ ]")
_NAME_STEP = re.compile(r"(?:[ \u00a0]|['’]|(?<=['’]))(?P<word>[^\W\d_]+(?:['’\-][^\W\d_]+)*\.?|\d{1,4}(?:er)?(?!\w))")
_SEGMENT = re.compile(r"[^,\n;|•:]*\Z")
_SEPARATOR = re.compile(r"(?:[ ]?[,\-–—] ?|[ ]?\n[ \t]*|[ ])\Z")
_CLOSED = re.compile(r"[ ]?(?:[,;)\n|]|$|\.(?:\s|$)| [-–—] )")
_NUMBER = r"(?:n ?[°o]\.? ?)?(?:[a-z]{0,2}[ \-]?\d{1,5}[a-z]{0,2}|[a-z](?:\d{1,3})?)(?![\w'])"
_FIRST_NUMBER = re.compile(r"(?<![\w.,/\-])\d{1,4} ?[\-–/] ?\Z")  # "55-57 avenue"
_BEFORE_CODE = re.compile(r"[ ]?[,\-–] ?\Z|\n[ \t]*\Z")
_LINE = 100
_HEADER = 700
_PARTS = 5


class AddressParts:
    """Read by :class:`anonymize.detectors.places.Places`; does nothing without ``places.complements`` in the pack."""

    def __init__(self, pack: Pack, words: Mapping[str, Any]) -> None:
        own = words.get("complements") or {}
        self.active = bool(own)
        units, named, boxes = (alternatives(own.get(key, [])) for key in ("units", "named", "boxes"))
        self.unit_words = units
        floors, ordinals = alternatives(own.get("floors", [])), alternatives(own.get("ordinals", []))
        alone = alternatives(own.get("alone_units", []))
        # behind these letters no name of a street goes on
        self._particles = pack.lists.particles | folded(own.get("particles", []))
        self._stop = pack.lists.stop - self._particles
        self._clinical = pack.lists.clinical
        institutions = pack["detectors"]["institutions"]
        roles = (*institutions.get("specialties", []), *institutions["heads"])
        self._ordinary = (self._clinical | self._stop | folded(roles)) - self._particles
        self._months = pack.lists.months
        self._abbreviated = folded(words["abbreviations"])
        # "bâtiment C", "bte 4", "3e étage", "BP 218"
        unit = rf"(?:{units}(?!\w)\.?[ ]?{_NUMBER}|\d{{1,2}} ?{ordinals}?\.? {floors}(?!\w)|{alone}(?!\w))"
        box = rf"{boxes}[ .:]{{1,3}}\d{{1,6}}(?![\w/]|[.,]\d)"
        self._unit = re.compile(rf"(?:{unit}|{box})(?:[ ]{unit})?")
        self._unit_last = re.compile(rf"(?<![\w\-])(?:{unit}|{box})(?:[ ]{unit})?\Z")
        self._named = Anchored(own.get("named", []), rf"(?<![\w\-]){named}(?!\w)\.?")
        self._named_last = re.compile(rf"(?<![\w\-]){named}(?!\w)\.?(?=[ ])")
        self._sure = folded(own.get("sure", []))
        self._box = Anchored(own.get("boxes", []), rf"(?<![\w\-]){box}")
        self._long_boxes = folded(own.get("long_boxes", []))
        streets = [str(word) for word in own.get("streets", [])]
        self._street = Anchored(streets, rf"(?<![\w\-/]){alternatives(streets)}(?=[ .])\.?")
        weak = [str(word) for word in own.get("weak_streets", [])]
        self._weak_street = Anchored(weak, rf"(?<![\w\-/]){alternatives(weak)}(?=[ .])\.?")
        whole = own.get("whole_streets", [])
        house = rf"\d{{1,4}}(?:/\d{{1,3}})?(?: ?(?:[a-d]|{alternatives(words['number_suffixes'])}))?(?![\w%]|[.,]\d)"
        self._whole = Anchored(whole, rf"(?<![\w\-]){alternatives(whole)}(?:,? {house}|(?!\w))")
        self._house = re.compile(rf",? {house}")
        self._kind = re.compile(rf"{alternatives([*words['streets'], *streets, *weak])}(?!\w)\.?(?=[ ])")
        self._numbered = re.compile(rf"{house}[ ]?,? ?\Z")

    def around(self, view: View, start: int, end: int) -> tuple[int, int]:
        """The range of a street with what stands before and behind it."""
        if not self.active:
            return start, end
        first = _FIRST_NUMBER.search(view.text, max(0, start - 8), start)
        return self._left(view, first.start() if first else start), self._right(view, end)

    def before_code(self, view: View, code: int) -> Iterator[Span]:
        """A name with capitals from the start of a line to a postcode: ``La Croix Blanche, 35140 Mézières``."""
        if not self.active or view.case != "mixed":
            return
        gap = _BEFORE_CODE.search(view.text, max(0, code - 6), code)
        if not gap or gap.start() - view.line_of(gap.start())[0] > _LINE:
            return
        start = self._left(view, gap.end())
        name = view.text[view.line_of(gap.start())[0] : min(start, gap.start())].rstrip(" ,-–")
        words = re.findall(r"[^\W\d_]+", name)
        folded = [fold(word) for word in words]
        if (
            2 <= len(words) <= 6
            and re.fullmatch(r"[^\W\d_][\w'’ \-]+", name)
            and all(word[0].isupper() or small in self._particles for word, small in zip(words, folded, strict=True))
            and self._ordinary.isdisjoint(folded)
        ):
            begin = view.line_of(gap.start())[0]
            yield Span(begin, begin + len(name), "address", 0.6, "places.before_code")
            if start < gap.start():
                yield Span(start, gap.start(), "address", 0.6, "places.before_code")

    def cut(self, view: View, start: int, end: int) -> tuple[int, int]:
        """The range of a street, without what follows its name and number in a sentence."""
        kind = self._kind.match(view.folded, start) if self.active and view.case == "mixed" else None
        name = self._name(view, kind.end()) if kind else None
        return (start, name) if name and name < end and not re.search(r"\d", view.text[name:end]) else (start, end)

    def names(self, street: str) -> bool:
        """Whether a name with a capital stands behind the kind of street: "mise en place d'une sonde N° 8" has none."""
        words = re.findall(r"[^\W\d_]+", street)[1:]
        first = next((word for word in words if fold(word) not in self._particles), "")
        return first[:1].isupper()

    def find(self, view: View) -> Iterator[Span]:
        """Streets without a number, estates and boxes that stand without a street."""
        if not self.active:
            return
        for pattern, weak in ((self._street, False), (self._weak_street, True)):
            for match in pattern.finditer(view):
                end = self._bare(view, match, weak)
                if end:
                    yield Span(*self.around(view, match.start(), end), "address", 0.7, "places.bare_street")
        for match in self._whole.finditer(view):
            start = match.start()
            number = self._numbered.search(view.folded, max(0, start - 9), start)
            numbered = number or match.group()[-1].isdigit()
            if numbered and view.text[start].isupper() and _CLOSED.match(view.text, match.end()):
                yield Span(number.start() if number else start, match.end(), "address", 0.75, "places.whole_street")
        for match in self._named.finditer(view):
            end = self._name(view, match.end()) if self._capital(view, match.start(), match.end()) else None
            if end and (view.case == "mixed" or self._code_ahead(view, self._right(view, end))):
                whole = self._right(view, end)
                if match.group().rstrip(".") in self._sure or self._code_ahead(view, whole):
                    yield Span(match.start(), whole, "address", 0.7, "places.estate")
        for match in self._box.finditer(view):
            word = re.split(r"[ .:]+\d", match.group())[0]
            written = view.text[match.start() : match.start() + len(word)]
            if " " in word or written.isupper():
                end = self._right(view, match.end())
                long = word.rstrip(".") in self._long_boxes and len(match.group()) > len(word) + 4
                if (
                    long
                    or " " in word
                    or self._code_ahead(view, end)
                    or (view.opens_line(match.start()) and word != written)
                ):
                    yield Span(match.start(), end, "address", 0.75, "places.box")

    @staticmethod
    def _capital(view: View, start: int, end: int) -> bool:
        """Whether a word stands behind ``end`` whose name may begin; abbreviations such as ZA need their capitals."""
        short = end - start <= 3
        return view.case == "lower" or not short or view.text[start:end].rstrip(".").isupper()

    @staticmethod
    def _code_ahead(view: View, end: int) -> bool:
        if view.case == "lower":
            return bool(_CODE_AHEAD_FOLDED.match(view.folded, end))
        return bool(_CODE_AHEAD.match(view.text, end))

    def _bare(self, view: View, match: re.Match[str], weak: bool) -> int | None:
        """End of a street without a number: its name needs a capital; in a text of capitals, a letterhead."""
        start = match.start()
        if view.case == "lower":
            return None
        end = self._name(view, match.end())
        if not end:
            return None
        if self._numbered.search(view.folded, max(0, start - 8), start):
            return None  # read with its number
        house = self._house.match(view.folded, end)
        if house and (_CLOSED.match(view.text, house.end()) or self._right(view, house.end()) > house.end()):
            end = house.end()
        header = start < _HEADER and _CLOSED.match(view.text, end)
        if view.case == "upper":
            return end if header and not weak else None
        ahead = self._code_ahead(view, self._right(view, end))
        return end if not weak or ahead else None

    def _right(self, view: View, end: int) -> int:
        """End of the parts that follow."""
        for _ in range(_PARTS):
            gap = _GAP.match(view.text, end)
            if not gap:
                break
            position = gap.end()
            part = self._unit.match(view.folded, position)
            stop = part.end() if part else None
            if not stop and gap.group() != " ":
                named = self._named.regex.match(view.folded, position)
                fits = named and self._capital(view, position, named.end()) and view.case == "mixed"
                stop = self._name(view, named.end()) if named and fits else None
            if not stop:
                break
            end = stop
        return end

    def _left(self, view: View, start: int) -> int:
        """Start of the parts that stand before, each behind a comma, a dash or a line break."""
        for _ in range(_PARTS):
            lead = max(0, start - 70)
            gap = _SEPARATOR.search(view.text, lead, start)
            if not gap:
                break
            segment = _SEGMENT.search(view.text, lead, gap.start())
            first = segment.start() if segment else gap.start()
            part = self._unit_last.search(view.folded, first, gap.start())
            begin = part.start() if part else None
            if begin is None and gap.group() != " ":
                for named in self._named_last.finditer(view.folded, first, gap.start()):
                    fits = self._capital(view, *named.span())
                    if fits and self._name(view, named.end()) == gap.start():
                        begin = named.start()
                        break
            if begin is None:
                break
            start = begin
        return start

    def _name(self, view: View, position: int) -> int | None:
        """End of the name of a street or estate: words with capitals, particles and dates between them."""
        if view.text[position : position + 1] == "\n":
            return None
        limit = view.line_of(position)[1]
        end, count, month = None, 0, False
        while count < 8:
            step = _NAME_STEP.match(view.text, position, limit)
            if not step:
                break
            word = step["word"]
            folded = view.folded[step.start("word") : step.start("word") + len(word.rstrip("."))]
            if word[0].isdigit():
                if month and len(word) == 4:
                    end = step.end()
                    break
                following = re.compile(r" ([^\W\d_]+)").match(view.folded, step.end())
                if not (following and following[1] in self._months):
                    break
            elif folded in self._months and view.text[position - 1].isdigit():
                end, month = step.end(), True
            elif folded in self._particles:
                pass
            elif word[0].isupper() or (view.case == "lower" and end is None) or self._elided(word):
                if folded in self._stop or (folded in self._clinical and end is None):
                    break
                end = step.end()
                if word.endswith("."):
                    end = step.end() if folded in self._abbreviated or len(folded) < 3 else step.end() - 1
                    if end < step.end():
                        break
            else:
                break
            position = step.end()
            count += 1
        return end

    @staticmethod
    def _elided(word: str) -> bool:
        """``l'Église``."""
        return len(word) > 3 and word[1] in "'’" and word[2].isupper()
