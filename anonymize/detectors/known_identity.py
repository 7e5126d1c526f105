"""What the record's own columns say, found in its text in any spelling: the strongest evidence there is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import copy
from functools import cached_property

import numpy as np
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

from anonymize.detectors import Detector
from anonymize.detectors.known_columns import KnownColumns
from anonymize.detectors.known_words import KnownWords, beginnings_of, places_of, spelled_out
from anonymize.languages import Pack
from anonymize.report import Identity, Span
from anonymize.text import Token, View, collapse, words_of

_SPELLED = re.compile(r"(?<![^\W\d_])[^\W\d_](?:[ .\-_]{1,3}[^\W\d_](?![^\W\d_])){2,25}")
_INITIAL_BEFORE = re.compile(r"(?<![^\W\d_])([^\W\d_]\.?(?:[ ]?-[ ]?[^\W\d_]\.?)?)[ ]?$")
_INITIAL_AFTER = re.compile(r",? ([^\W\d_]\.(?:[ ]?-?[ ]?[^\W\d_]\.)?)(?!\w)")
_JOINS = frozenset(("", " ", "-", "'", "’", "  ", "-\n", "\n", " - ", "- ", ". ", "‐", "‑", "\u00a0", "_", "."))


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
        self._wholes = frozenset().union(
            self._collapsed(staff_names),
            *(self._whole_names(*names) for names in {_names_of(item) for item in identities}),
        )
        self._whole_starts = beginnings_of(self._wholes)
        self._spelled = sorted({form for form in self._wholes | self.surnames | self.given if len(form) > 2})
        self._verdicts: dict[str, bool] = {}  # words already compared with the known names
        self._columns = KnownColumns(identities, words)
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
            or self._own_compound(view, span)
        ]
        yield from names
        # a copy with other names shares them: what the columns alone find is found once in a text
        yield from view.once(self._columns, self._columns.find)

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

    def _own_compound(self, view: View, span: Span) -> bool:
        """Whether the words of a protected phrase are the patient's full name: two eponyms joined by chance.

        ``Baker-Montgomery`` is a person where the column says so; ``Kellgren-Lawrence``, a listed eponym, never is.
        """
        words = words_of(view.text[span.start : span.end])
        return span.rule == "known.compound" and len(words) > 1 and not self._words.protected.lists(words)

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
        for index in places_of(view, self._whole_starts):
            joined, stop = "", index
            while stop < len(words) and stop - index < 8 and not words[stop][0].isdigit():
                if stop > index and view.gap(stop - 1) not in _JOINS:
                    break
                joined += spelled_out(words[stop])
                if joined not in self._whole_starts:
                    break
                alone = stop == index
                ordinary = alone and (joined in self._words.common or joined in self._single)
                if joined in self._wholes and not ordinary:
                    yield Span(view.starts[index], view.ends[stop], "name", 0.97, "known.compound")
                stop += 1


def _names_of(identity: Identity) -> tuple[str, str, str]:
    return identity.surname, identity.birth_name, identity.given_name
