"""Addresses by their parts: house number last, labelled lines, units, postcodes and listed towns beside them.

Works only where the language pack has ``addresses`` in its detectors; complements ``places``, which reads addresses that
begin with the house number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from anonymize.detectors import Detector
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import Anchored, View, alternatives, fold, words_of

_WORD = re.compile(r"(?:\d{1,2}(?= de )|[A-Z]{1,3}-?\d{1,4}(?!\w)|[^\W\d_]+(?:['’\-][^\W\d_]+)*)\.?")
_GAP = re.compile(r",? {1,2}|\.(?! )|(?<=\.) ?")
_BODY = 9  # words of a street's name
_HOUSE = r"\d{1,4}(?:[ ]?[\-/][ ]?\d{1,4})?(?: ?[a-z](?![\w.]))?"


_BETWEEN = re.compile(
    r"(?<![\w.,/:\-])(?:\d{3,5} (?P<name>(?:[^\W\d_][\w'’.\-]* ){1,5})\d{1,4}(?![\w%:/]|[.,]\d)"
    r"|\d{4,5} \d{1,4} (?P<second>[A-ZÀ-Ý][\w'’\-]*(?: (?:[a-z]{2} )?[A-ZÀ-Ý][\w'’\-]*){1,5}))"
)
_HOUSE_FIRST = re.compile(
    r"(?<![\w.,/:\-])\d{1,5} [A-ZÀ-Ý][\w'’.\-]*(?: (?:[a-z]{2} )?[A-ZÀ-Ý][\w'’.\-]*){0,4}(?=,? ?\n|, )"
)
_LABEL = re.compile(r"(?:[ \t]{2,}|[.;] )[^\W\d_][\w ./]{0,25}:")
_HOUSE_BEFORE = re.compile(r",? ?(?:n[º°.] ?)?(?:\d{1,4}|s ?/ ?n)(?: ?[a-zA-Z])?[.,]? (?:- )? ?\Z")
_LIST_END = re.compile(r"[,.;)\n]|$| (?:[A-Z]{2},? )?\d{5}| [A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}")
_LAST_WORD = re.compile(r"[^\W\d_]+\Z")
_CLOSED = re.compile(r"[ ]?(?:[,.;)\n|]|$)")
_BLOCK_GAP = re.compile(r",? ?(?:(?:\n[ \t>?]*){1,2}(?:, ?)?)?(?<=[\s,>?])")
_BLOCK_CODE = re.compile(r"(?:[A-Za-z]{2,3},?\s{1,3})?(?:[A-Z]{1,2}-)?\d{4,5}(?:-\d{3,4})?(?![\w%]|[.,]\d)")


class Addresses(Detector):
    """Spans of kinds address, postcode and town."""

    kinds = ("address", "postcode", "town")

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        detectors = pack["detectors"]
        words: dict[str, Any] = detectors["addresses"]
        self._stop, self._titles, self._particles = pack.lists.stop, pack.lists.titles, pack.lists.particles
        self._clinical = pack.lists.clinical
        kinds = [str(kind) for kind in words.get("streets", [])]
        self._kinds = frozenset(fold(kind).rstrip(".") for kind in kinds)
        signs = [kind for kind in kinds if not kind[-1].isalnum()]
        plain = [kind for kind in kinds if kind[-1].isalnum()]
        self._kind = Anchored(kinds, rf"(?<![\w./])(?:{alternatives(plain)}(?!\w)[. ]{{1,2}}|{alternatives(signs)} ?)")
        marks = alternatives(words.get("number_marks", []))
        units = alternatives(words.get("units", []))
        self._number = re.compile(
            rf"(?:[,.]? ?|-)(?:km\.? ?\d{{1,4}}(?:[.,]\d{{1,3}})?|{marks}[. ]{{0,2}}(?:{_HOUSE})?|{_HOUSE})"
            r"(?![\w%]|[.,]\d| ?(?:mg|mm|cm|ml|g|km)\b)"
        )
        floor = r"\d{1,2}\.?[ºª°oa]?(?: ?[a-h])?(?![\w%]|[.,]\d)"
        self._tail = re.compile(
            rf"(?:(?:,? ?-? ?|\. ?|/)(?:{floor}|[a-np-xz](?![\w'\-]|\.\w)|p\d(?!\w)"
            rf"|{units}(?!\w)\.?(?: ?(?:\d{{1,3}}[ºª°oa]?|[a-z])(?!\w))?))*"
        )
        self._sure = frozenset(fold(str(kind)).rstrip(".") for kind in words.get("sure", []))
        lines = words.get("lines", [])
        self._line = Anchored(lines, rf"(?<!\w){alternatives(lines)}[ \t]?[:=]\s{{0,3}}")
        codes = words.get("postcode_labels", [])
        self._labelled = Anchored(
            codes,
            rf"(?<!\w){alternatives(codes)}[ :.º]{{1,4}}(?:is )?"
            r"(?P<code>(?:[a-z]{1,2}[ \-]|[a-z])?\d{2,5}(?:[\- .]\d{3,4}|[\- ][a-z]{2})?)(?![\w%]|[.,]\d)",
        )
        flats = words.get("designators", [])
        self._designator = Anchored(flats, rf"(?<!\w){alternatives(flats)}\.? ?#? ?\d{{1,4}}[a-z]?(?!\w)")
        units, posts = words.get("military", []), words.get("military_posts", [])
        self._military = Anchored(
            [*units, *posts],
            rf"(?<!\w)(?:{alternatives(units)}\b[^\n]{{0,30}}\s)?{alternatives(posts)},? a[aep] \d{{5}}(?:-\d{{4}})?(?!\w)",
        )
        self._block = bool(words.get("block"))
        self._code = re.compile(r"(?<![\w.,/+\-])(?:es?[ \-])?(?P<code>\d{5}(?:-\d{3})?|\d\d\.\d{3})(?![\w%]|[.,/]\d)")
        self._loose = bool(words.get("loose_postcode"))
        self._towns = _by_first_word(words.get("towns", []))
        self._cued = frozenset(" ".join(words_of(str(town))) for town in words.get("towns_cued", []))
        self._towns_after = bool(words.get("town_after_street"))
        self._cue = re.compile(rf"(?:(?<!\w){alternatives(words.get('cues', []))} |[,(] ?|\n[ \t]*)$")
        provinces = "|".join(sorted((str(word) for word in words.get("provinces", [])), key=len, reverse=True))
        self._province = (
            re.compile(
                rf"(?<=[^\W\d_][^\W\d_])(?:,? ?\((?P<bracket>{provinces})\)"
                rf"|,? {{1,3}}(?P<bare>{provinces})(?![\w\-])(?P<code>,?\s{{1,3}}(?:\d{{4,5}}|[A-Z]\d[A-Z] ?\d[A-Z]\d)(?!\w))?)"
            )
            if provinces
            else None
        )
        # "the corner of Main and 5th", a flat before its house number
        part = r"(?:[A-ZÀ-Ý\d][\w'’.\-]*)(?: [A-ZÀ-Ý\d][\w'’\-]*){0,3}"
        corners = words.get("corners", [])
        joins = alternatives(detectors["contacts"].get("and", []))
        self._corner = Anchored(corners, rf"(?<!\w){alternatives(corners)} ")
        self._crossing = re.compile(rf"{part} {joins} {part}")
        self._house_ahead = re.compile(r"[ \t]*(?:, ?|\n[ \t]*|[ ])\d{1,5}[a-z]?(?:[\-/]\d{1,4})? [A-ZÀ-Ý][\w'’.\-]+")
        scales = words.get("scales", [])
        self._scales = frozenset(part for scale in scales for part in words_of(str(scale)))
        links = alternatives(detectors["protected"]["links"])
        self._measured = re.compile(rf"(?<!\w){alternatives(scales)} (?:{links} )?$")

    def find(self, view: View) -> Iterable[Span]:
        """Streets and lines first: a loose postcode needs one of them, or a listed town, beside it."""
        streets = [*self._streets(view), *self._lines(view), *self._units(view)]
        if self._block:
            streets += self._numbered(view)
            yield from self._blocks(view, streets)
        yield from streets
        for match in self._corner.finditer(view):
            crossing = self._crossing.match(view.text, match.end())
            if crossing:
                yield Span(match.start(), crossing.end(), "address", 0.8, "addresses.corner")
        for match in self._military.finditer(view):
            yield Span(*match.span(), "address", 0.85, "addresses.military")
        for match in self._labelled.finditer(view):
            yield Span(*match.span("code"), "postcode", 0.9, "addresses.postcode_label")
        towns = list(self._listed(view))
        yield from towns
        if self._province:
            yield from self._provinces(view, towns)
        if self._loose:
            yield from self._postcodes(view, streets, towns)
        if self._towns_after:
            yield from self._after(view, streets)

    def _streets(self, view: View) -> Iterator[Span]:
        done = 0
        for match in self._kind.finditer(view):
            if match.start() >= done:
                end = self._walk(view, match.start(), match.end(), view.line_of(match.start())[1])
                if end:
                    done = end
                    yield Span(match.start(), end, "address", 0.9, "addresses.street")

    def _walk(self, view: View, kind: int, position: int, limit: int) -> int | None:
        """End of the house number and its units behind the street's name that begins at ``position``.

        Words that are always streets may stand before a name without capitals, or without a number.
        """
        sure = view.folded[kind:position].rstrip(". ") in self._sure and (
            view.text[kind].isupper() or view.case == "lower"
        )
        named, lower = False, 0
        for _ in range(_BODY):
            word = _WORD.match(view.text, position, limit)
            if not word:
                return None
            letters = word.group().rstrip(".")
            folded = fold(letters)
            usual = folded not in self._clinical and len(letters) > 2
            if letters[-1].isdigit() and letters[0].isupper():
                named = True  # a road: N-340
            elif (letters[0].isupper() and len(letters) > 2 and (usual or view.case != "mixed")) or (
                view.case == "lower" and usual
            ):
                named = True
            elif not (letters[0].isdigit() or letters[0].isupper() or folded in self._particles):
                lower += 1
                if not usual or lower > 3 or not sure or word.group().endswith("."):
                    return None
            position = word.end()
            if named or (sure and lower):
                number = self._number.match(view.folded, position, limit)
                if number:
                    return self._tail.match(view.folded, number.end(), limit).end()  # type: ignore[union-attr]
                if re.compile(r"[.,]? {1,2}(?:es?-)?\d{5}(?!\w)").match(view.folded, position, limit):
                    return position
            gap = _GAP.match(view.text, position, limit)
            if not gap or "," in gap.group():
                return position if sure and named and not lower and (gap or position == limit) else None
            position = gap.end()
        return None

    def _lines(self, view: View) -> Iterator[Span]:
        """What stands behind ``Domicilio:`` up to the next label, over the lines of one block."""
        for match in self._line.finditer(view):
            start = end = match.end()
            for _ in range(5):
                line = view.text.find("\n", end, end + 140)
                line = min(end + 140, len(view.text)) if line < 0 else line
                label = _LABEL.search(view.folded, end, line)
                end = label.start() if label else line
                more = re.match(r"\n[ \t]*(?=[^\n:@]{2,50}(?:\n|$))", view.text[end : end + 70])
                if label or "\n" not in match.group() or not more:
                    break
                end += more.end()
            value = view.text[start:end].rstrip(" .,;\n")
            if len(value) < 140 and any(char.isdigit() for char in value) and "@" not in value:
                yield Span(start, start + len(value), "address", 0.85, "addresses.line")

    def _units(self, view: View) -> Iterator[Span]:
        """``12 Example Street Apt. 4``: back from the flat to the house number."""
        for match in self._designator.finditer(view):
            if self._house_ahead.match(view.text, match.end()) and view.text[match.start()].isupper():
                yield Span(*match.span(), "address", 0.8, "addresses.unit_before")
            before = view.folded[max(0, match.start() - 60) : match.start()]
            house = None
            for found in re.finditer(r"(?<![\w.,])\d{1,5}[a-z]? (?=[^\W_])", before):
                if not re.search(r"[.!?:;] |\n.*\n", before[found.start() :].replace("st. ", "st  ")):
                    house = found.start()
                    break
            if house is not None:
                yield Span(match.start() - len(before) + house, match.end(), "address", 0.85, "addresses.unit")

    def _numbered(self, view: View) -> Iterator[Span]:
        """A name between two numbers, ``9721 Dalmatinova 43``, as forms of many countries print it."""
        for match in _BETWEEN.finditer(view.text):
            name = match["name"] or match["second"]
            words = words_of(name)
            street = name[0].isupper() or words[0] in self._kinds or view.case == "lower"
            if street and not any(word in self._clinical or word in self._stop - self._particles for word in words):
                yield Span(*match.span(), "address", 0.7, "addresses.numbered")

    def _blocks(self, view: View, streets: list[Span]) -> Iterator[Span]:
        """Lines below a street down to the postcode: flat, town, state, country."""
        sites = [*streets, *(Span(m.start(), m.end(), "address", 0.7, "") for m in _HOUSE_FIRST.finditer(view.text))]
        for span in sites:
            position, end = span.end, None
            for _ in range(8):
                gap = _BLOCK_GAP.match(view.text, position)
                if not gap:
                    break
                unit = self._designator.regex.match(view.folded, gap.end())
                code = _BLOCK_CODE.match(view.text, gap.end())
                name = None if unit or code else self._name(view, gap.end())
                if unit:
                    position = end = unit.end()
                elif code:
                    position = end = code.end()
                    break
                elif name:
                    position = name
                else:
                    break
            if end and (span.rule or (view.text[position - 1].isdigit() and position == end)):
                start = span.start if span.rule == "" else span.end
                yield Span(start, end, "address", 0.7, "addresses.block")

    def _listed(self, view: View) -> Iterator[Span]:
        """Towns and provinces of the pack's list, unless they name a score or a classification."""
        tokens = view.tokens
        index = 0
        while index < len(tokens):
            first = tokens[index]
            index += 1
            entries = self._towns.get(first.folded)
            if not entries or not (first.shape in ("title", "upper", "mixed") or view.case == "lower"):
                continue
            for entry in entries:
                last = tokens[index + len(entry) - 2] if index + len(entry) - 2 < len(tokens) else None
                if last is None or tuple(t.folded for t in tokens[index - 1 : index - 1 + len(entry)]) != entry:
                    continue
                if last.end - first.start > sum(map(len, entry)) + 2 * len(entry):
                    continue
                if self._names_a_place(view, first.start, last.end, index + len(entry) - 1, " ".join(entry)):
                    yield Span(first.start, last.end, "town", 0.7, "addresses.town")
                    index += len(entry) - 1
                break

    def _provinces(self, view: View, towns: list[Span]) -> Iterator[Span]:
        """``Camucia (AR)``, ``Moncton NB``: letters of a province behind a town; without brackets the town is a listed one
        or a postcode follows."""
        ends = {span.end for span in towns}
        for match in self._province.finditer(view.text) if self._province else ():
            last = _LAST_WORD.search(view.text, max(0, match.start() - 40), match.start())
            town = last.group() if last else "-"
            listed = match.start() in ends
            if not listed and (view.case != "mixed" or not town[0].isupper() or town.isupper()):
                continue
            if not listed and (fold(town) in self._clinical or fold(town) in self._stop):
                continue
            if match["bracket"] or match["code"] or (listed and _CLOSED.match(view.text, match.end())):
                yield Span(*match.span("bracket" if match["bracket"] else "bare"), "town", 0.7, "addresses.province")

    def _names_a_place(self, view: View, start: int, end: int, following: int, name: str) -> bool:
        before = view.folded[max(0, start - 40) : start]
        if self._measured.search(before):
            return False
        near = view.tokens[following : following + 3]
        if any(
            token.folded in self._scales
            for token in near
            if token.start - end < 25 and "." not in view.text[end : token.start]
        ):
            return False
        if name in self._cued or view.case != "mixed":
            cue = self._cue.search(before)
            if cue and cue.group().strip() in ("", ",", "("):  # in a list or an address: "Barrett, Prague C2" is none
                return bool(_LIST_END.match(view.text, end))
            return bool(cue)
        return True

    def _postcodes(self, view: View, streets: list[Span], towns: list[Span]) -> Iterator[Span]:
        ends = {span.end for span in streets}
        town_starts, town_ends = {span.start for span in towns}, {span.end for span in towns}
        for match in self._code.finditer(view.folded):
            start, end = match.span()
            before = any(start - gap in ends for gap in range(5))
            after = re.compile(r"[.,]? ?[\-–]? ?\(?").match(view.text, end)
            town = after.end() if after else end
            listed = town in town_starts or any(start - gap in town_ends for gap in range(1, 4))
            bare = None if before else self._bare_street(view, start)
            if bare:
                yield bare
            elif not (before or listed or self._town_follows(view, town, town_starts)):
                continue
            yield Span(start, end, "postcode", 0.85, "addresses.postcode")
            name = self._name(view, town)
            if name:
                yield Span(town, name, "town", 0.75, "addresses.postcode")

    def _town_follows(self, view: View, position: int, starts: set[int]) -> bool:
        """Whether a listed town ends the next few words: ``31486. Elcano Navarra``."""
        near = range(position + 1, position + 25)
        return any(start in starts and view.text[position:start].replace(" ", "").isalpha() for start in near)

    def _bare_street(self, view: View, code: int) -> Span | None:
        """``Xubias de Arriba, 84 15006``: a name without a street word, its number, a postcode."""
        line = view.line_of(code)[0]
        before = view.text[max(line, code - 60) : code]
        found = _HOUSE_BEFORE.search(before, max(0, len(before) - 14))
        if not found or not any(map(str.isupper, before)):
            return None
        start = code - len(before) + found.start()
        words = list(re.finditer(r"[^\W\d_]+", before[: found.start()]))
        first, position = None, found.start()
        for word in reversed(words[-5:]):
            folded = fold(word.group())
            if before[word.end() : position].strip(" '’-"):
                break
            if folded in self._particles:
                position = word.start()
            elif (
                word.group()[0].isupper()
                and folded not in self._clinical - self._titles
                and (folded not in self._stop or folded in self._titles)
            ):
                first = position = word.start()
            else:
                break
        if first is None:
            return None
        end = code - len(before) + len(before.rstrip(" .,"))
        return Span(start - found.start() + first, end, "address", 0.7, "addresses.before_postcode")

    def _after(self, view: View, streets: list[Span]) -> Iterator[Span]:
        """``C/ Mayor, 3, Getafe``; behind a full stop only a listed town counts."""
        for span in streets:
            gap = re.compile(r", | \(|\n[ \t]*").match(view.text, span.end)
            if gap and span.rule != "addresses.line":
                end = self._name(view, gap.end())
                if end and (view.text[end : end + 1] in ",.()\n;" or view.text[end : end + 2].strip().isdigit()):
                    yield Span(gap.end(), end, "town", 0.65, "addresses.after_street")

    def _name(self, view: View, position: int) -> int | None:
        """End of up to five capitalised words, particles between them, that begin at ``position``."""
        end = None
        for _ in range(5):
            word = re.compile(r"[^\W\d_]+(?:['’\-/][^\W\d_]+)*").match(view.text, position)
            if not word:
                break
            folded = fold(word.group())
            if folded in self._particles and (end is not None or word.group()[0].isupper()):
                pass
            elif word.group()[0].isupper() and folded not in self._stop and folded not in self._clinical:
                end = word.end()
            else:
                break
            position = word.end()
            if view.text[position : position + 1] != " ":
                break
            position += 1
        return end


def _by_first_word(towns: Iterable[object]) -> dict[str, list[tuple[str, ...]]]:
    """Folded words of each town by the first of them, the longest first."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for town in towns:
        entry = tuple(words_of(str(town)))
        if entry:
            found.setdefault(entry[0], []).append(entry)
    return {first: sorted(entries, key=len, reverse=True) for first, entries in found.items()}
