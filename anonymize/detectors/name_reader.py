"""Reads a name word by word: initials, particles, compounds, commas; stops at words that no name holds."""

from __future__ import annotations

import re
from bisect import bisect_left

from anonymize.languages import Pack
from anonymize.ner.lexicon import Lexicon
from anonymize.text import WORD, View, fold

_INITIAL = re.compile(r"[^\W\d_](?![^\W\d_'’]| ?[°º])(?:\. ?|(?=-))?(?:-[ ]?[^\W\d_](?![^\W\d_]))?")
_GAP = re.compile(r"(?:[ \u00a0]{1,2}|, ?|\. ?|[-'’] ?)")
_BACK_GAPS = (" ", ", ", ". ", "., ")
_BEHIND_INITIAL = ("", "-", "‐", "‑", "'", "’")
MAXIMUM = 6
_LOWERED = re.compile(r"(?:[a-zß-ÿ]\. ?-?){0,2}(?P<surname>[a-zß-ÿœ]{3,}(?:-[a-zß-ÿœ]{3,}){0,2})(?![\w'’])")
_FOLLOWING = re.compile(r" [a-zß-ÿ]|[,;.)/\n]| ?[\-–] |$")
_BROKEN = re.compile(r"-[ ]?\n[ \t]{0,12}[A-ZÀ-ÖØ-Þ][^\W\d_]+")  # "Zurbrigg-" and "Favre" on the next line
_FUNCTION = 7  # frequency class of the words that make most of a text
# "Ch. Lecomte", "Ph.-A. Roy": two letters that stand for a given name, though they shorten other words as well
_SHORT = re.compile(r"[A-ZÀ-ÖØ-Þ][hlrt]\.(?=[ \-][A-ZÀ-ÖØ-Þ])")


class NameReader:
    """Knows a language's particles and stop words. Offsets in, offsets out."""

    def __init__(self, pack: Pack) -> None:
        words = pack["detectors"]["names"]
        self.particles = pack.lists.particles
        self.titles = pack.lists.titles
        self.stop = pack.lists.stop - self.particles
        # the last word of "van der", "'t": a surname follows, also a clinical word
        self.openings = frozenset(fold(str(word)).split(" ")[-1].strip("'") for word in words.get("openings", []))
        self.openings -= frozenset(("de",))
        # function words and roles: no surname even in capitals
        self.roles = pack.lists.roles
        self.clinical = pack.lists.clinical
        self.calendar = pack.lists.months
        self.common = pack.lists.common
        self.lexicon = Lexicon(pack)
        self.possessive = frozenset(str(ending) for ending in words.get("possessive", []))

    def read(self, view: View, start: int, *, loose: bool = False, line_end: int | None = None) -> int | None:
        """End of the name that begins at ``start``, or None.

        ``loose``: strong evidence stands before it, so that in a text without capitals any words may be the name.
        """
        text = view.text
        limit = view.line_of(start)[1] if line_end is None else line_end
        position, end, taken, commas = start, None, 0, 0
        lower_words, opened = 0, False
        while position < limit and taken < MAXIMUM:
            match = WORD.match(text, position + (text[position] in "'’"), limit)
            if not match:
                break
            word, folded = match.group(), view.folded[match.start() : match.end()]
            initial = _INITIAL.match(text, position, limit) if word[1:2] in _BEHIND_INITIAL else None
            if initial is None and end is None and len(word) == 2:
                initial = _SHORT.match(text, position, limit) if folded not in self.titles else None
            if initial and (
                initial.group()[0].isupper() or (loose and view.case == "lower" and "." in initial.group())
            ):
                stop = initial.start() + len(initial.group().rstrip())
                stop += text[stop : stop + 1] == "."
                position = stop
                if end is None and taken == 3:
                    break  # letters without a name: a list or an abbreviation
                if folded[:1] not in self.particles or text[stop - 1] == ".":
                    end, taken = (stop if end is not None or self._follows(view, stop, limit) else end), taken + 1
            elif (
                folded in self.particles
                or "'" + folded in self.particles
                or (word[:2].lower() in ("d'", "l'") and folded[2:] in self.particles)
            ):
                position = match.end()
            elif (
                not self._nameable(view, word, folded, loose, lower_words, taken)
                and not (loose and self._last_word(view, match.start(), match.end(), limit, taken))
                and not (taken == 1 and self._ends_line(view, match.start(), match.end(), limit))
                and not (opened and word[0].isupper() and folded not in self.stop and folded not in self.roles)
            ):
                break
            else:
                lower_words += word.islower()
                end, taken, position = match.end(), taken + 1, match.end()
            opened = folded in self.openings
            gap = _GAP.match(text, position, limit)
            if not gap:
                if text[position - 1] == "." and initial:
                    continue
                break
            if "," in gap.group():
                commas += 1
                following = WORD.match(text, gap.end(), limit)
                if (
                    commas > 1
                    or taken > 3
                    or not following
                    or not following.group()[0].isupper()
                    or not text[start:position].isupper()
                ):
                    break
            if gap.group().startswith(".") and text[position - 1] != "." and len(word) > 2:
                break
            position = gap.end()
        if end is not None and text[end : end + 1] == "-":
            half = _BROKEN.match(text, end)
            end = half.end() if half else end
        if end is not None and text[end - 2 : end].lower().replace("’", "'") in self.possessive:
            end -= 2
        return end

    def read_borne(self, view: View, start: int) -> int | None:
        """End of up to three words that people bear, in a text without capitals: ``visto por de la rosa``."""
        end, taken, position = None, 0, start
        never = self.clinical | self.stop | self.roles | self.calendar
        while taken < 3 and (match := WORD.match(view.folded, position)):
            word = match.group()
            frequency, given, surname, _ = self.lexicon.codes(word)
            if word not in self.particles or (taken and 0 < surname < 3):
                ordinary = frequency > (4 if word in self.common else 5)
                rare = min(given or 9, surname or 9)
                if word in never or len(word) < 3 or ordinary or rare > 3 or (frequency > 3 and rare > 2):
                    break
                end, taken = match.end(), taken + 1
            position = match.end() + 1
            if view.text[match.end() : position] not in (" ", "-"):
                break
        return end

    def read_lowered(self, view: View, start: int) -> int | None:
        """End of a name without capitals in a text that has some: ``dr s. hannouche-roth``; None where a word of it is
        an ordinary one."""
        match = _LOWERED.match(view.text, start, view.line_of(start)[1])
        if not match:
            return None
        parts = [fold(part) for part in match["surname"].split("-")]
        known = self.clinical | self.common | self.stop | self.roles | self.particles
        if not known.isdisjoint(parts):
            return None
        codes = map(self.lexicon.codes, parts)
        seldom = all(frequency <= (5 if 0 < surname < 3 else 2) for frequency, _, surname, _ in codes)
        return match.end() if seldom else None

    def read_back(self, view: View, end: int) -> int | None:
        """Start of the capitalised words that end at ``end`` on its line, or None where there are fewer than two."""
        line = view.line_of(end)[0]
        last = bisect_left(view.starts, end) - 1
        if last < 0 or view.ends[last] != end or view.words[last][0].isdigit():
            return None
        first, words = max(line, end - 60), []
        if view.starts[last] > first and view.text[view.starts[last] - 1] == " ":
            # most often the last word says that no name ends here
            word = view.text[view.starts[last] : end]
            if not self._of_name(view, word, view.words[last]):
                return None
        words = list(WORD.finditer(view.text, first, end))
        start, following = None, end
        for word in reversed(words[-5:]):
            if view.text[word.end() : following] not in (_BACK_GAPS if following < end else ("",)):
                break
            following = word.start()
            folded = view.folded[word.start() : word.end()]
            if folded in self.particles and start is not None:
                continue
            if not self._of_name(view, word.group(), folded):
                break
            start = word.start()
        return start

    def _of_name(self, view: View, word: str, folded: str) -> bool:
        return self._nameable(view, word, folded, view.case == "lower", 0, 0) and folded not in self.clinical

    def whole_name(self, view: View, start: int) -> bool:
        """Whether two words or more stand at ``start`` that can be a name, one of them no everyday word."""
        end = self.read(view, start)
        if end is None or " " not in view.text[start:end]:
            return False
        words = self.words(view, start, end)
        everyday = self.common | self.clinical
        return self.roles.isdisjoint(words) and not everyday.issuperset(words)

    def words(self, view: View, start: int, end: int) -> list[str]:
        """Folded words of a range, particles left out."""
        found = (view.folded[m.start() : m.end()] for m in WORD.finditer(view.text, start, end))
        return [word for word in found if word not in self.particles]

    def _follows(self, view: View, position: int, limit: int) -> bool:
        """Whether a word with a capital stands behind an initial."""
        gap = _GAP.match(view.text, position, limit)
        match = WORD.match(view.text, gap.end() if gap else position, limit)
        upper = match and (match.group()[0].isupper() or view.case == "lower")
        return bool(match and upper and view.folded[match.start() : match.end()] not in self.stop)

    def _ends_line(self, view: View, start: int, end: int, limit: int) -> bool:
        """A capitalised clinical word that ends the line behind one other word: ``Pr Marie VIDAL   Anne Genoux``."""
        word = view.folded[start:end]
        written = view.case == "mixed" and view.text[start].isupper() and view.text[start + 1 : end].islower()
        return written and end >= limit and word in self.clinical and word not in self.stop and word not in self.roles

    def _last_word(self, view: View, start: int, end: int, limit: int, taken: int) -> bool:
        """A clinical or calendar word that can only be the surname: ``Pr Wilma MASSE`` at the end of a clause."""
        folded = view.folded[start:end]
        if len(folded) < 3 or folded in self.roles:
            return False
        if view.case == "lower" and taken == 1:
            return end >= limit and folded not in self.calendar  # "dre lucie page" at the end of its line
        if not view.text[start].isupper():
            return False
        if taken == 0 and view.case == "mixed" and view.text[start:end].isupper():
            return True  # capitals after a title in a text of mixed case
        if taken == 0 and view.text[start + 1 : end].islower() and self._surname_alone(view, folded, end):
            return True  # "Dr Page confirme"
        if (
            folded in self.calendar
            and re.match(r" [^\W\d_]", view.text[end : end + 2])
            and view.text[end + 1].isupper()
        ):
            return True  # Thi Mai Marchand
        if (
            taken == 1
            and folded in self.common
            and re.match(r" [^\W\d_]", view.text[end : end + 2])
            and view.text[end + 1].islower()
        ):
            return True  # Dr Anne Petit signale
        return taken <= 1 and (end >= limit or view.text[end] in ",.;)/\n" or view.text[end : end + 2].isspace())

    def _surname_alone(self, view: View, folded: str, end: int) -> bool:
        """Whether people bear a word of the stop list that no text is full of, and neither a number nor a further name follows."""
        following = _FOLLOWING.match(view.text, end)
        frequency, _, surname, _ = self.lexicon.codes(folded)
        return 0 < surname < 4 and frequency < _FUNCTION and following is not None

    def _nameable(self, view: View, word: str, folded: str, loose: bool, lower_words: int, taken: int) -> bool:
        if folded in self.stop or len(word) < 2 or (folded[1:2] == "'" and folded[2:] in self.stop):
            return False
        if word[0].isupper():
            if taken and folded in self.clinical:
                return False
            return view.case != "upper" or taken < 3
        if word[:2] in ("d'", "d’", "l'", "l’") and word[2:3].isupper():
            return True
        if not loose or view.case != "lower" or lower_words >= 3 or folded in self.clinical:
            return False
        # "dr poulain fait le 26/11": behind a name a word of every text is no part of it
        return not lower_words or folded in self.common or self.lexicon.codes(folded)[0] < _FUNCTION
