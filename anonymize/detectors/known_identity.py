"""What the record's own columns say, found in its text in any spelling: the strongest evidence there is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import copy
from datetime import date
from functools import cached_property

import numpy as np
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

from anonymize.detectors import Detector
from anonymize.detectors.protected_terms import protected_of
from anonymize.languages import Pack
from anonymize.report import Identity, Span
from anonymize.text import Token, View, collapse, fold, words_of

_SPELLED = re.compile(r"(?<![^\W\d_])[^\W\d_](?:[ .\-_]{1,3}[^\W\d_](?![^\W\d_])){2,25}")
_DIGITS = re.compile(r"\d(?:[ .\-/_()\u00a0]{0,3}\d)*")
_DIALLED = re.compile(r"(?:\(?\+ ?\d{2,3}|00 ?\d{2,3})?[ .\-/]{0,2}(?:\(?0?\)?)?[ .]?$")
_INITIAL_BEFORE = re.compile(r"(?<![^\W\d_])([^\W\d_]\.?(?:[ ]?-[ ]?[^\W\d_]\.?)?)[ ]?$")
_INITIAL_AFTER = re.compile(r",? ([^\W\d_]\.(?:[ ]?-?[ ]?[^\W\d_]\.)?)(?!\w)")
_LETTER = r"([^\W\d_])\."
_INITIALS = [  # what each letter is the first of: g, a given name; s, a surname
    (re.compile(rf"(?<![\w.]){letters}(?!\w)"), order)
    for letters, order in (
        (rf"{_LETTER}[ \-]?{_LETTER} ?{_LETTER}", "ggs"),
        (rf"{_LETTER} ?{_LETTER}", "gs"),
        (rf"{_LETTER} ?{_LETTER}[ \-]?{_LETTER}", "sgg"),
        (rf"{_LETTER} ?{_LETTER}", "sg"),
    )
]
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
        self.protected = protected_of(pack)

    def rare(self, view: View) -> list[str]:
        """Words of a text that are long enough and rare enough to be a misspelt name."""
        return [word for word in view.where if len(word) >= 5 and word not in self.common and not word[0].isdigit()]


class KnownIdentity(Detector):
    """Searches one :class:`Identity`.

    Args:
        pack: the language.
        identity: what the record's columns say.
        words: the pack's word lists.
        extra: names found in other reports of the same patient.
        others: what the columns of the patient's other records say; all of them are searched alike.
        fuzzy: also find names with one typing error.
    """

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
        self,
        pack: Pack,
        identity: Identity,
        words: KnownWords,
        *,
        extra: Iterable[str] = (),
        others: Iterable[Identity] = (),
        fuzzy: bool = True,
    ) -> None:
        self._words = words
        self._fuzzy_allowed = fuzzy
        identities = list(dict.fromkeys((identity, *others)))
        self.surnames = self._parts(" ".join(f"{item.surname} {item.birth_name}" for item in identities))
        self.given = self._parts(" ".join(item.given_name for item in identities))
        staff_names = [
            self._person(value) for value in dict.fromkeys(name for item in identities for name in item.staff)
        ]
        self.staff = frozenset(part for name in staff_names for part in self._parts(name)) - words.titles
        self.extra = frozenset(extra)
        self._towns = frozenset().union(*(self._joined(town) for town in {item.town for item in identities}))
        self._wholes = frozenset().union(
            self._collapsed(staff_names),
            *(self._whole_names(*names) for names in {_names_of(item) for item in identities}),
        )
        self._numbers = list(dict.fromkeys(number for item in identities for number in self._known_numbers(item)))
        self._codes = {
            collapse(value): kind
            for item in identities
            for value, kind in self._id_values(item)
            if len(collapse(value)) >= 4 and not collapse(value).isdigit()
        }
        self._code_starts = _beginnings(self._codes)
        self._streets = [self._street(address) for address in dict.fromkeys(item.address for item in identities)]
        self._postcodes = {collapse(item.postcode) for item in identities}
        firsts = {word[0] for item in identities for word in words_of(item.given_name)}
        lasts = {word[0] for item in identities for word in words_of(f"{item.surname} {item.birth_name}")}
        self._initials = {"g": firsts, "s": lasts} if firsts and lasts else {}
        self._whole_starts = _beginnings(self._wholes)
        self._town_starts = _beginnings(self._towns)
        self._spelled = sorted({form for form in self._wholes | self.surnames | self.given if len(form) > 2})
        self._verdicts: dict[str, bool] = {}  # words already compared with the known names
        self._columns = object()  # of a copy with other names too: what the columns alone find is found once in a text
        super().__init__(pack)

    def with_extra(self, extra: Iterable[str]) -> KnownIdentity:
        """The same search with other names found in the patient's reports."""
        other = copy(self)
        other.extra = frozenset(extra)
        for name in ("_everyone", "_single"):
            vars(other).pop(name, None)
        return other

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

    def _whole_names(self, surname: str, birth_name: str, given_name: str) -> frozenset[str]:
        """Collapsed full names and compounds: found however their words are joined."""
        firsts = [part for part in re.split(r"[,;]", given_name) if part.strip()]
        found = []
        for last in (surname, birth_name):
            found += [last, *firsts, *(a + b for first in firsts for a, b in ((last, first), (first, last)))]
            found.append("".join(word for word in words_of(last) if word not in self._words.particles))
        return self._collapsed(found)

    @staticmethod
    def _collapsed(names: Iterable[str]) -> frozenset[str]:
        return frozenset(form for form in map(collapse, names) if len(form) > 3)

    def _street(self, address: str) -> tuple[list[str], list[str]]:
        """The telling words of a street, and the numbers of its houses."""
        telling = [
            word
            for word in words_of(address)
            if collapse(word) not in self._words.streets and word not in self._words.particles and len(word) > 2
        ]
        return telling, re.findall(r"\d+", address)

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

    # -- the search ---------------------------------------------------------------------------------------------------

    @cached_property
    def _everyone(self) -> frozenset[str]:
        """All words of all known names."""
        return self.surnames | self.given | self.extra | self.staff

    @cached_property
    def _single(self) -> frozenset[str]:
        """Words that identify alone. Two letters do only beside another part of the name."""
        return frozenset(word for word in self._everyone if len(word) > 2)

    def find(self, view: View) -> Iterable[Span]:
        """Spans of every form of every known value."""
        protected = self._words.protected.phrases(view)
        names = [
            span
            for span in self._names(view)
            if not any(start <= span.start and span.end <= end for start, end in protected)
        ]
        yield from names
        yield from view.once(self._columns, self._other_columns)

    def _other_columns(self, view: View) -> list[Span]:
        """What does not depend on the names found elsewhere: numbers, places, initials."""
        found = [*self._numbers_in(view), *self._codes_in(view), *self._places(view)]
        found += self._initials_in(view)
        return found

    def _initials_in(self, view: View) -> Iterable[Span]:
        """``J.-P. D.`` and ``D. J.``, of any given name and any surname."""
        letters = set().union(*self._initials.values()) & view.vocabulary
        done = 0
        for index in sorted(index for letter in letters for index in view.where[letter]):
            start = view.starts[index]
            if start < done or not (view.text[start].isupper() or view.case == "lower"):
                continue
            for pattern, order in _INITIALS:
                match = pattern.match(view.folded, start)
                if match and all(map(lambda letter, kind: letter in self._initials[kind], match.groups(), order)):
                    done = match.end()
                    yield Span(start, done, "initials", 0.9, "known.initials")
                    break

    def _names(self, view: View) -> Iterable[Span]:
        hits = self._hits(view)
        weak = [index for index, hit in hits.items() if hit == "weak"]
        for index in sorted(weak):  # a common word or a short part: needs a neighbour that is part of the name
            hits[index] = "exact" if self._beside(view, hits, index) else ""
        for index, hit in hits.items():
            if hit:
                score = 0.99 if hit == "exact" else 0.9
                yield Span(view.starts[index], view.ends[index], "name", score, f"known.{hit}")
                yield from self._initial_beside(view, index)
        yield from self._compounds(view)
        yield from self._letter_spaced(view)

    def _hits(self, view: View) -> dict[int, str]:
        """``exact``, ``typo`` or ``weak`` by the number of the word."""
        hits: dict[int, str] = {}
        for word in self._everyone & view.vocabulary:
            for index in view.where[word]:
                hit = self._hit(view, view.token(index), word)
                if hit:
                    hits[index] = hit
        for word in self._typos(view):
            for index in view.where[word]:
                hits[index] = "weak" if view.shape(index) == "lower" else "typo"
        return hits

    def _hit(self, view: View, token: Token, word: str) -> str:
        """What a word says that is written as a known name."""
        if len(word) < 3:
            return "weak"
        if word in self._words.common:
            return self._common_hit(view, token, word)
        own = word in self.surnames or word in self.given
        return "weak" if not own and token.shape == "lower" and view.case == "mixed" else "exact"

    def _typos(self, view: View) -> list[str]:
        """Words that differ from a known name by one edit (two from nine letters on) and are no common words."""
        if not self._fuzzy_allowed or not self._fuzzy_pool:
            return []
        words = view.once(self._words, self._words.rare)
        verdicts = self._verdicts
        new = [word for word in words if word not in verdicts]
        if new:
            distances = cdist(new, self._fuzzy_pool, scorer=OSA.distance, score_cutoff=2, dtype=np.uint8)
            for word, distance in zip(new, distances.min(axis=1).tolist(), strict=True):
                verdicts[word] = distance <= (2 if len(word) >= 9 else 1)
        return [word for word in words if verdicts[word] and word not in self._everyone]

    def _letter_spaced(self, view: View) -> Iterable[Span]:
        """``D U P O N T``: runs of three single letters or more."""
        singles = sorted(index for word in view.vocabulary if len(word) == 1 for index in view.where[word])
        done = 0
        for place in range(len(singles) - 2):
            start = view.starts[singles[place]]
            if start < done or singles[place + 2] != singles[place] + 2:
                continue
            match = _SPELLED.match(view.folded, start)
            if not match:
                continue
            done = match.end()
            joined = collapse(match.group())
            places = [match.start() + i for i, char in enumerate(match.group()) if char.isalnum()]
            for form in self._spelled:
                at = joined.find(form)
                if at >= 0:
                    yield Span(places[at], places[at + len(form) - 1] + 1, "name", 0.95, "known.spelled")

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
            if word in self.given and word not in self._words.clinical and word not in self._words.stop:
                return "exact"  # "Marguerite, 14 ans": begins a sentence, and is hardly ever something else there
            before = view.text[: token.start].rstrip(" \t")
            return "weak" if not before or before[-1] in ".\n:;-•!?*" else "exact"
        return "weak"

    @cached_property
    def _fuzzy_pool(self) -> tuple[str, ...]:
        everyone = self.surnames | self.given | self.staff
        return tuple(word for word in everyone if word not in self._words.common and len(word) >= 5)

    def _beside(self, view: View, hits: dict[int, str], index: int) -> bool:
        words = view.words
        for step in (-2, -1, 1, 2):
            other = index + step
            if not 0 <= other < len(words):
                continue
            low, high = sorted((index, other))
            between = view.folded[view.ends[low] : view.starts[high]]
            if abs(step) == 2:
                middle = words[low + 1]
                if middle not in self._words.particles and len(middle) > 1 and not hits.get(low + 1):
                    continue
                between = between.replace(middle, "", 1)
            if "\n" in between or len(between) > 4:
                continue
            if "," in between and view.shape(index) == "lower" and view.case == "mixed":
                continue  # "Marie Petit, petit épanchement"
            if step == -1 and words[other] in self._words.titles:
                return True
            hit = hits.get(other)
            if hit in ("exact", "typo"):
                return True
            # two weak parts make a name when one is a given name and the other is not: "Rose Petit"
            pair = {words[index], words[other]}
            if hit == "weak" and pair & self.given and pair - self.given:
                return True
        return False

    def _initial_beside(self, view: View, index: int) -> Iterable[Span]:
        start, end = view.starts[index], view.ends[index]
        before = _INITIAL_BEFORE.search(view.text, max(0, start - 8), start)
        if (
            before
            and before.group(1)[0].isupper()
            and "." in before.group(1)
            and before.group(1).lower() not in self._words.short_titles
        ):
            yield Span(before.start(), start - (view.text[start - 1] == " "), "initials", 0.85, "known.initial_beside")
        after = _INITIAL_AFTER.match(view.text, end)
        if after and after.group(1)[0].isupper():
            letters = collapse(after.group(1))
            if len(letters) == 1 or letters not in self._words.common:  # "M.D."
                yield Span(*after.span(1), "initials", 0.85, "known.initial_beside")

    def _compounds(self, view: View) -> Iterable[Span]:
        """Full names in any joint: ``Le Goff``/``Legoff``, ``JEANPIERRE``, ``DUPONT_Marie``, ``Du-\\npont``."""
        words = view.words
        for index in _places_of(view, self._whole_starts):
            joined, stop = "", index
            while stop < len(words) and stop - index < 8 and not words[stop][0].isdigit():
                if stop > index and view.gap(stop - 1) not in _JOINS:
                    break
                joined += _spelled_out(words[stop])
                if joined not in self._whole_starts:
                    break
                alone = stop == index
                ordinary = alone and (joined in self._words.common or joined in self._single)
                if joined in self._wholes and not ordinary:
                    yield Span(view.starts[index], view.ends[stop], "name", 0.97, "known.compound")
                stop += 1

    def _numbers_in(self, view: View) -> Iterable[Span]:
        if not self._numbers:
            return
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
                    lead = _DIALLED.search(view.text, max(0, start - 12), start)
                    start = lead.start() if lead else start
                yield Span(start, end, kind, 0.98, f"known.{kind}")

    def _codes_in(self, view: View) -> Iterable[Span]:
        """Identifiers with letters, whatever stands between their parts: ``PAT-12/3`` and ``pat123``."""
        words = view.words
        for index in _places_of(view, self._code_starts):
            start, joined = view.starts[index], ""
            if start and view.text[start - 1].isalnum():
                continue
            for stop in range(index, min(index + 12, len(words))):
                if stop > index and view.gap(stop - 1).strip("-./_"):
                    break
                joined += _spelled_out(words[stop])
                if joined not in self._code_starts:
                    break
                end = view.ends[stop]
                if joined in self._codes and not view.text[end : end + 1].isalnum():
                    yield Span(start, end, self._codes[joined], 0.98, f"known.{self._codes[joined]}")
                    break

    @staticmethod
    def _whole_date(digits: str, known: str, view: View, places: list[int], at: int) -> bool:
        """Six digits are a birth date only when nothing but they stand in the run; eight may have neighbours."""
        return len(digits) == len(known) if len(known) < 8 else True

    def _places(self, view: View) -> Iterable[Span]:
        for street, house in self._streets:
            for index in view.where.get(street[0], ()) if street else ():
                if len(street) > 1 or view.shape(index) != "lower" or view.case != "mixed":
                    yield from self._street_at(view, index, street, house)
        for postcode in self._postcodes & view.vocabulary:
            for index in view.where[postcode] if postcode.isdigit() else ():
                yield Span(view.starts[index], view.ends[index], "postcode", 0.9, "known.postcode")
        for index in _places_of(view, self._town_starts, self._words.abbreviations):
            yield from self._town_at(view, index)

    def _street_at(self, view: View, index: int, street: list[str], house: list[str]) -> Iterable[Span]:
        """The street's own words in order, with its type and number before them; one word suffices beside them."""
        words, starts, ends = view.words, view.starts, view.ends
        last, wanted = index, 1
        for step in range(index + 1, min(index + 8, len(words))):
            if "\n\n" in view.text[ends[last] : starts[step]] or wanted == len(street):
                break
            if words[step] == street[wanted]:
                last, wanted = step, wanted + 1
            elif words[step] not in self._words.particles:
                break
        first = index
        while first > 0 and first > index - 7:
            before = words[first - 1]
            link = before in self._words.particles or before in self._words.streets or before in house
            if not link or "\n" in view.gap(first - 1):
                break
            first -= 1
        typed = any(_spelled_out(words[i]) in self._words.streets or words[i] in house for i in range(first, index))
        if typed or wanted == len(street) > 1:
            yield Span(starts[first], ends[last], "address", 0.95, "known.address")

    def _town_at(self, view: View, index: int) -> Iterable[Span]:
        words, joined = view.words, ""
        for stop in range(index, min(index + 6, len(words))):
            joined += self._words.abbreviations.get(words[stop], words[stop])
            if joined not in self._town_starts:
                return
            if joined in self._towns:
                if (
                    stop == index
                    and view.shape(index) == "lower"
                    and view.case == "mixed"
                    and joined in self._words.common
                ):
                    return
                yield Span(view.starts[index], view.ends[stop], "town", 0.9, "known.town")
                return


def _names_of(identity: Identity) -> tuple[str, str, str]:
    return identity.surname, identity.birth_name, identity.given_name


def _beginnings(forms: Iterable[str]) -> frozenset[str]:
    """Every beginning of the forms, themselves included."""
    return frozenset(form[:length] for form in forms for length in range(1, len(form) + 1))


def _spelled_out(word: str) -> str:
    """A folded word as :func:`collapse` writes it."""
    return word.replace("œ", "oe").replace("æ", "ae") if "œ" in word or "æ" in word else word


def _places_of(view: View, beginnings: frozenset[str], forms: Mapping[str, str] | None = None) -> list[int]:
    """The numbers of the words that begin as one of ``beginnings`` does, in order; ``forms`` writes words in full."""
    if not beginnings:
        return []
    full = forms or {}
    found = beginnings & view.vocabulary
    found -= full.keys()
    others = [*view.once(_places_of, _with_ligatures), *(full.keys() & view.vocabulary)]
    found |= {word for word in others if _spelled_out(full.get(word, word)) in beginnings}
    return sorted(index for word in found for index in view.where[word])


def _with_ligatures(view: View) -> list[str]:
    return [word for word in view.where if "œ" in word or "æ" in word]
