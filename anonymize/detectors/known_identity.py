"""What the record's own columns say, found in its text in any spelling: the strongest evidence there is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from functools import cached_property

from rapidfuzz.distance import OSA

from anonymize.detectors import Detector
from anonymize.detectors.protected_terms import ProtectedTerms
from anonymize.languages import Pack
from anonymize.report import Identity, Span
from anonymize.text import Token, View, collapse, fold, words_of

_SPELLED = re.compile(r"(?<![^\W\d_])[^\W\d_](?:[ .\-_]{1,3}[^\W\d_](?![^\W\d_])){2,25}")
_DIGITS = re.compile(r"\d(?:[ .\-/_()\u00a0]{0,3}\d)*")
_JOINS = frozenset(("", " ", "-", "'", "’", "  ", "-\n", "\n", " - ", "- ", ". ", "‐", "‑", "\u00a0", "_", "."))


class KnownWords:
    """Word lists of a pack that the known-identity search consults; built once per pack."""

    def __init__(self, pack: Pack) -> None:
        names, places = pack["detectors"]["names"], pack["detectors"]["places"]
        self.particles = frozenset(fold(str(word)) for word in names["particles"])
        self.stop = frozenset(fold(str(word)) for word in names["stop"])
        self.titles = frozenset(collapse(str(word)) for word in names["titles"])
        self.short_titles = frozenset(str(word) for word in names["titles"] if len(str(word)) == 2)
        self.clinical = frozenset(fold(word) for word in pack.words("clinical"))
        self.common = frozenset(fold(word) for word in pack.words("common")) | self.clinical | self.stop
        self.streets = frozenset(collapse(str(word)) for word in places["streets"])
        self.offices = [fold(str(word)) for word in places["post_office"]]
        self.abbreviations: dict[str, str] = {
            fold(short): fold(long) for short, long in places["abbreviations"].items()
        }
        self.protected = ProtectedTerms(pack)


class KnownIdentity(Detector):
    """Searches one :class:`Identity`. ``extra`` are names found in other reports of the same patient."""

    kinds = (
        "name",
        "initials",
        "birth_date",
        "patient_id",
        "visit_id",
        "id",
        "phone",
        "address",
        "postcode",
        "town",
        "professional_id",
    )

    def __init__(
        self, pack: Pack, identity: Identity, words: KnownWords, *, extra: Iterable[str] = (), fuzzy: bool = True
    ) -> None:
        self._words = words
        self._fuzzy_allowed = fuzzy
        self.surnames = self._parts(identity.surname) | self._parts(identity.birth_name)
        self.given = self._parts(identity.given_name)
        staff_names = [self._person(value) for value in identity.staff]
        self.staff = frozenset(part for name in staff_names for part in self._parts(name)) - words.titles
        self.extra = frozenset(extra)
        self._towns = self._joined(identity.town)
        self._wholes = self._whole_names(identity, staff_names)
        self._numbers = self._known_numbers(identity)
        self._codes = {
            collapse(value): kind
            for value, kind in self._id_values(identity)
            if len(collapse(value)) >= 4 and not collapse(value).isdigit()
        }
        self._street = [
            word
            for word in words_of(identity.address)
            if collapse(word) not in words.streets and word not in words.particles and len(word) > 2
        ]
        self._house = re.findall(r"\d+", identity.address)
        self._postcode = collapse(identity.postcode)
        self._initials = self._initial_pattern(identity)
        self._birth = identity.birth_date
        super().__init__(pack)

    # -- what is looked for -------------------------------------------------------------------------------------------

    def _parts(self, name: str) -> frozenset[str]:
        return frozenset(word for word in words_of(name) if len(word) > 1 and word not in self._words.particles)

    def _joined(self, name: str) -> frozenset[str]:
        offices = "|".join(map(re.escape, self._words.offices))
        words = re.sub(rf"\b(?:{offices})\b.*|\d+", "", fold(name)).replace("'", " ").split()
        whole = collapse(
            "".join(self._words.abbreviations.get(collapse(word), word) for part in words for word in part.split("-"))
        )
        return frozenset((whole,)) if len(whole) > 2 else frozenset()

    def _person(self, value: str) -> str:
        """A staff name without its titles and numbers."""
        return " ".join(word for word in re.findall(r"[^\W\d_]+", value) if collapse(word) not in self._words.titles)

    def _whole_names(self, identity: Identity, staff: list[str]) -> frozenset[str]:
        """Collapsed full names and compounds: found however their words are joined."""
        firsts = [part for part in re.split(r"[,;]", identity.given_name) if part.strip()]
        found = set()
        for last in (identity.surname, identity.birth_name):
            for whole in (last, *firsts, *(a + b for first in firsts for a, b in ((last, first), (first, last)))):
                found.add(collapse(whole))
            significant = "".join(word for word in words_of(last) if word not in self._words.particles)
            found.add(significant)
        found.update(collapse(name) for name in staff)
        return frozenset(form for form in found if len(form) > 3)

    def _id_values(self, identity: Identity) -> list[tuple[str, str]]:
        further = [(number, "id") for number in identity.numbers.splitlines()]
        return [
            (identity.patient_id, "patient_id"),
            (identity.visit, "visit_id"),
            (identity.accession, "id"),
            *further,
        ]

    def _known_numbers(self, identity: Identity) -> list[tuple[str, str]]:
        found = []
        for value, kind in self._id_values(identity):
            digits = re.sub(r"\D", "", value)
            for form in (digits, digits.lstrip("0")):
                if len(form) >= 5:
                    found.append((form, kind))
        phone = re.sub(r"\D", "", identity.phone)
        if len(phone) >= 8:
            found.append((phone[-9:] if len(phone) > 9 else phone.lstrip("0"), "phone"))
        if identity.birth_date:
            born = date.fromisoformat(identity.birth_date)
            forms = {f"{born:%d%m%Y}", f"{born:%Y%m%d}", f"{born:%d%m%y}", f"{born:%y%m%d}", f"{born:%m%d%Y}"}
            forms |= {f"{born.day}{born.month}{born.year}"} if len(f"{born.day}{born.month}{born.year}") >= 6 else set()
            found += [(form, "birth_date") for form in sorted(forms, key=len, reverse=True)]
        return found

    def _initial_pattern(self, identity: Identity) -> re.Pattern[str] | None:
        first = words_of(identity.given_name)
        last = words_of(f"{identity.surname} {identity.birth_name}")
        if not first or not last:
            return None
        given = f"[{''.join(sorted({re.escape(word[0]) for word in first}))}]"
        sur = f"[{''.join(sorted({re.escape(word[0]) for word in last}))}]"
        middle = rf"(?:[ \-]?{given}\.)?"
        return re.compile(rf"(?<![\w.])(?:{given}\.{middle} ?{sur}\.|{sur}\. ?{given}\.{middle})(?![\w])(?!\w\.)")

    # -- the search ---------------------------------------------------------------------------------------------------

    @cached_property
    def _single(self) -> dict[str, str]:
        """Words that identify alone. Two letters do only beside another part of the name."""
        everyone = self.surnames | self.given | self.extra | self.staff
        return {word: "name" for word in everyone if len(word) > 2}

    def find(self, view: View) -> Iterable[Span]:
        """Spans of every form of every known value."""
        protected = self._words.protected.phrases(view)
        names = [
            span
            for span in self._names(view)
            if not any(start <= span.start and span.end <= end for start, end in protected)
        ]
        yield from names
        yield from self._numbers_in(view)
        yield from self._places(view)
        if self._initials:
            for match in self._initials.finditer(view.folded):
                if view.text[match.start()].isupper() or view.case == "lower":
                    yield Span(*match.span(), "initials", 0.9, "known.initials")

    def _names(self, view: View) -> Iterable[Span]:
        tokens = view.tokens
        hits = [self._token(view, token, index) for index, token in enumerate(tokens)]
        for index, hit in enumerate(hits):
            if hit == "weak":  # a common word or a short part: needs a neighbour that is part of the name
                hits[index] = "exact" if self._beside(view, hits, index) else ""
        for token, hit in zip(tokens, hits, strict=True):
            if hit:
                yield Span(token.start, token.end, "name", 0.99 if hit == "exact" else 0.9, f"known.{hit}")
        for index in range(len(tokens)):
            if hits[index] in ("exact", "typo"):
                yield from self._initial_beside(view, index)
        yield from self._compounds(view)
        for match in _SPELLED.finditer(view.folded):
            joined = collapse(match.group())
            for form in self._wholes | self.surnames | self.given:
                at = joined.find(form) if len(form) > 2 else -1
                if at >= 0:
                    places = [match.start() + i for i, char in enumerate(match.group()) if char.isalnum()]
                    yield Span(places[at], places[at + len(form) - 1] + 1, "name", 0.95, "known.spelled")

    def _token(self, view: View, token: Token, index: int) -> str:
        """``exact``, ``typo``, ``weak`` or nothing."""
        word = token.folded
        if token.shape == "digit":
            return ""
        own = word in self.surnames or word in self.given
        if own or word in self.extra or word in self.staff:
            if len(word) < 3:
                return "weak"
            if word in self._words.common:
                return self._common_hit(view, token, word)
            if not own and token.shape == "lower" and view.case == "mixed":
                return "weak"
            return "exact"
        if self._fuzzy_allowed and len(word) >= 5 and word not in self._words.common and self._typo(word):
            if token.shape != "lower":
                return "typo"
            return "weak"
        return ""

    def _common_hit(self, view: View, token: Token, word: str) -> str:
        """A common word that is also the patient's name: capitals in a text of mixed case say that it is the name."""
        if view.case == "upper":
            return (
                "exact"
                if word in self.surnames and word not in self._words.stop and word not in self._words.clinical
                else "weak"
            )
        if token.shape == "upper" and word not in self._words.clinical:
            line = view.text[slice(*view.line_of(token.start))]
            return "weak" if line.isupper() and len(line.split()) > 4 else "exact"
        if token.shape in ("title", "mixed"):
            before = view.text[: token.start].rstrip(" \t")
            return "weak" if not before or before[-1] in ".\n:;-•!?*" else "exact"
        return "weak"

    def _typo(self, word: str) -> bool:
        allowed = 2 if len(word) >= 9 else 1
        return any(
            abs(len(word) - len(known)) <= allowed
            and len(known) >= 5
            and OSA.distance(word, known, score_cutoff=allowed) <= allowed
            for known in self._fuzzy_pool
        )

    @cached_property
    def _fuzzy_pool(self) -> tuple[str, ...]:
        return tuple(word for word in self.surnames | self.given | self.staff if word not in self._words.common)

    def _beside(self, view: View, hits: list[str], index: int) -> bool:
        tokens = view.tokens
        for step in (-2, -1, 1, 2):
            other = index + step
            if not 0 <= other < len(tokens):
                continue
            low, high = sorted((index, other))
            between = view.folded[tokens[low].end : tokens[high].start]
            if abs(step) == 2:
                middle = tokens[low + 1].folded
                if middle not in self._words.particles and len(middle) > 1 and not hits[low + 1]:
                    continue
                between = between.replace(middle, "", 1)
            if "\n" in between or len(between) > 4:
                continue
            if "," in between and tokens[index].shape == "lower" and view.case == "mixed":
                continue  # "Marie Petit, petit épanchement"
            if step < 0 and tokens[other].folded in self._words.titles and abs(step) == 1:
                return True
            if hits[other] in ("exact", "typo"):
                return True
            # two weak parts make a name when one is a given name and the other is not: "Rose Petit"
            pair = {tokens[index].folded, tokens[other].folded}
            if hits[other] == "weak" and pair & self.given and pair - self.given:
                return True
        return False

    def _initial_beside(self, view: View, index: int) -> Iterable[Span]:
        token = view.tokens[index]
        before = re.search(
            r"(?<![^\W\d_])([^\W\d_]\.?(?:[ ]?-[ ]?[^\W\d_]\.?)?)[ ]?$",
            view.text[max(0, token.start - 8) : token.start],
        )
        if (
            before
            and before.group(1)[0].isupper()
            and "." in before.group(1)
            and before.group(1).lower() not in self._words.short_titles
        ):
            start = max(0, token.start - 8) + before.start()
            yield Span(
                start, token.start - (view.text[token.start - 1] == " "), "initials", 0.85, "known.initial_beside"
            )
        after = re.match(r",? ([^\W\d_]\.(?:[ ]?-?[ ]?[^\W\d_]\.)?)(?!\w)", view.text[token.end : token.end + 10])
        if after and after.group(1)[0].isupper():
            yield Span(token.end + after.start(1), token.end + after.end(1), "initials", 0.85, "known.initial_beside")

    def _compounds(self, view: View) -> Iterable[Span]:
        """Full names in any joint: ``Le Goff``/``Legoff``, ``JEANPIERRE``, ``DUPONT_Marie``, ``Du-\\npont``."""
        tokens = view.tokens
        longest = max(map(len, self._wholes), default=0)
        for index, token in enumerate(tokens):
            if token.shape == "digit":
                continue
            joined, stop = "", index
            while stop < len(tokens) and stop - index < 8 and tokens[stop].shape != "digit":
                if stop > index and view.text[tokens[stop - 1].end : tokens[stop].start] not in _JOINS:
                    break
                joined += collapse(view.text[tokens[stop].start : tokens[stop].end])
                if len(joined) > longest:
                    break
                alone = stop == index
                ordinary = alone and (joined in self._words.common or joined in self._single)
                if joined in self._wholes and not ordinary:
                    yield Span(token.start, tokens[stop].end, "name", 0.97, "known.compound")
                stop += 1

    def _numbers_in(self, view: View) -> Iterable[Span]:
        for match in _DIGITS.finditer(view.text):
            if match.end() - match.start() < 5:
                continue
            places = [match.start() + index for index, char in enumerate(match.group()) if char.isdigit()]
            digits = "".join(view.text[place] for place in places)
            for known, kind in self._numbers:
                at = digits.find(known)
                if at < 0 or (kind == "birth_date" and not self._whole_date(digits, known, view, places, at)):
                    continue
                start, end = places[at], places[at + len(known) - 1] + 1
                if kind == "phone":
                    lead = re.search(
                        r"(?:\(?\+ ?\d{2,3}|00 ?\d{2,3})?[ .\-/]{0,2}(?:\(?0?\)?)?[ .]?$",
                        view.text[max(0, start - 12) : start],
                    )
                    start = max(0, start - 12) + (lead.start() if lead else min(12, start))
                yield Span(start, end, kind, 0.98, f"known.{kind}")
        for token in re.finditer(r"[^\W_](?:[\w\-./]*[^\W_])?", view.folded):
            if self._codes:
                kind = self._codes.get(collapse(token.group()))
                if kind:
                    yield Span(*token.span(), kind, 0.98, f"known.{kind}")

    @staticmethod
    def _whole_date(digits: str, known: str, view: View, places: list[int], at: int) -> bool:
        """Six digits are a birth date only when nothing but they stand in the run; eight may have neighbours."""
        return len(digits) == len(known) if len(known) < 8 else True

    def _places(self, view: View) -> Iterable[Span]:
        tokens = view.tokens
        if self._street:
            for index, token in enumerate(tokens):
                if token.folded == self._street[0] and (
                    len(self._street) > 1 or token.shape != "lower" or view.case != "mixed"
                ):
                    yield from self._street_at(view, index)
        for index, token in enumerate(tokens):
            if self._postcode and token.shape == "digit" and token.folded == self._postcode:
                yield Span(token.start, token.end, "postcode", 0.9, "known.postcode")
            if self._towns and token.shape != "digit":
                yield from self._town_at(view, index)

    def _street_at(self, view: View, index: int) -> Iterable[Span]:
        """The street's own words in order, with its type and number before them; one word suffices beside them."""
        tokens = view.tokens
        last, wanted = index, 1
        for step in range(index + 1, min(index + 8, len(tokens))):
            if "\n\n" in view.text[tokens[last].end : tokens[step].start] or wanted == len(self._street):
                break
            if tokens[step].folded == self._street[wanted]:
                last, wanted = step, wanted + 1
            elif tokens[step].folded not in self._words.particles:
                break
        first = index
        while first > 0 and first > index - 7:
            before = tokens[first - 1]
            link = (
                before.folded in self._words.particles
                or before.folded in self._words.streets
                or before.folded in self._house
            )
            if not link or "\n" in view.text[before.end : tokens[first].start]:
                break
            first -= 1
        typed = any(
            collapse(tokens[i].folded) in self._words.streets or tokens[i].folded in self._house
            for i in range(first, index)
        )
        if typed or wanted == len(self._street) > 1:
            yield Span(tokens[first].start, tokens[last].end, "address", 0.95, "known.address")

    def _town_at(self, view: View, index: int) -> Iterable[Span]:
        tokens, joined = view.tokens, ""
        for stop in range(index, min(index + 6, len(tokens))):
            if tokens[stop].shape == "digit":
                return
            joined += self._words.abbreviations.get(tokens[stop].folded, tokens[stop].folded)
            if joined in self._towns:
                if (
                    stop == index
                    and tokens[index].shape == "lower"
                    and view.case == "mixed"
                    and joined in self._words.common
                ):
                    return
                yield Span(tokens[index].start, tokens[stop].end, "town", 0.9, "known.town")
                return
