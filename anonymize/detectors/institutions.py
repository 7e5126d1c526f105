"""Hospitals, clinics, practices and their sites: a head word and the capitalised name behind it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from anonymize.detectors import Detector
from anonymize.detectors.practices import Practices
from anonymize.detectors.protected_terms import protected_of
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import Anchored, Endings, View, alternatives, fold, folded, words_of

# a word, also "O'Connor", in quotes, or the day of a date that a hospital bears
_STEP = re.compile(
    r"(?:(?P<gap>[ \u00a0][\"“«]?|['’]|-| [-–] |, (?=site))"
    r"(?P<word>(?:O['’](?=[A-Z]))?[^\W\d_]+(?:-[^\W\d_]+)*\.?|\d{1,2}(?= de )))"
)
_CODE = re.compile(r"(?<![ ,\-–|(])[ ,\-–|(]+(?:[a-z]{1,2}[ \-]?)?\d{4,}")
_LAST = re.compile(r"[^\W\d_][\w'\-.]*\Z")
_LABEL = re.compile(r"[ \u00a0]?:|(?<=[ -][^\W\d_]\.)")  # also an initial: a person's
_TOWN = re.compile(
    r" ?, (?P<town>[A-ZÀ-Ý][^\W\d_]+(?:[\-'’ ](?:[a-zà-ÿ]{1,4}[\-'’ ])?[A-ZÀ-Ý][^\W\d_]+){0,3})(?=[ ]?(?:[\n.;(]|$))"
)
MAXIMUM = 10


class Institutions(Detector):
    """Walks word by word from the head; linear in the length of the line."""

    kinds = ("institution",)

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        words = pack["detectors"]["institutions"]
        self._head = Anchored(words["heads"], rf"(?<![\w\-])(?P<head>{alternatives(words['heads'])})(?!\w)")
        self._weak = folded(words["weak_heads"])
        self._strong = folded(words["heads"]) - self._weak
        self._connectors = folded(words["connectors"])
        self._stop = folded(words["stop"])
        self._not_after = re.compile(rf"(?<!\w){alternatives(words['not_after'])}[ :,]{{1,3}}(?:de |d'|l')?$")
        self._ending = Endings(words["head_endings"], rf"{alternatives(words['head_endings'])}(?!\w)")
        tails = words.get("tails") or []
        self._tail = Anchored(tails, rf"(?<= ){alternatives(tails)}(?!\w)")
        self._below = re.compile(rf"[ \t]*{alternatives(words['below'])}(?!\w)")
        self._own = Anchored(words["own_names"], rf"(?<![\w\-]){alternatives(words['own_names'])}(?!\w)")
        whole = words.get("whole_heads") or []
        self._whole = Anchored(whole, rf"(?<![\w\-]){alternatives(whole)}(?!\w)")
        sites = alternatives(words.get("sites", []))
        self._site = re.compile(rf"(?:,| -)? {sites}(?= )")
        self._clinical = pack.lists.clinical
        self._common = pack.lists.common
        self._protected = protected_of(pack).words
        self._titles = pack.lists.titles
        self._specialties = folded(words.get("specialties", []))
        # weak heads in small letters: an article before them tells the noun from the adjective
        self._joins = folded(pack["detectors"]["contacts"].get("and", []))
        self._quiet = folded(words.get("quiet_heads", []))
        self._quiet_after = re.compile(rf"(?<!\w){alternatives(words.get('quiet_after', []))} ?$")
        self._one_case_after = re.compile(rf"(?<!\w){alternatives(words.get('one_case_after', []))} ?$")
        alone = words.get("alone") or []
        self._alone = Anchored(alone, rf"(?<![\w\-]){alternatives(alone)}(?!\w)")
        self._practices = Practices(pack, words)
        particles = pack.lists.particles
        self._no_town = (self._clinical | self._stop | self._specialties | pack.lists.stop) - (
            particles | self._connectors
        )

    def find(self, view: View) -> Iterable[Span]:
        """Spans from the head to the last word of the name."""
        done = 0
        for match in self._head.finditer(view):
            if match.start() < done:
                continue
            end = self._walk(view, match)
            if end:
                done = end
                # no eponym spares "Hôpital Saint-Vincent"; a weak head may stand before one
                rule = "institutions.head" if match.group() in self._weak else "institutions.hospital"
                yield Span(match.start(), end, "institution", 0.85, rule)
                yield from self._town(view, end)
        done = 0
        for match in self._ending.finditer(view):
            if match.start() >= done and (view.text[match.start()].isupper() or view.case == "lower"):
                end = self._walk(view, match)
                if end is None and match.group() in self._clinical:
                    continue  # a ward by its compound: Frauenklinik
                done = end or match.end()
                yield Span(match.start(), done, "institution", 0.8, "institutions.ending")
        yield from self._letterhead(view)
        done = 0
        for match in self._tail.finditer(view):
            if view.case == "mixed" and not view.text[match.start()].isupper():
                continue  # "date of surgery"
            start = self._words_before(view, match.start(), done)
            start = None if start is None else self._first_capital(view, start, match.end())
            if start is not None:
                done = match.end()
                yield Span(start, match.end(), "institution", 0.8, "institutions.tail")
        for match in self._whole.finditer(view):  # "the Hospital Clínico": a name where each word has a capital
            if all(word[0].isupper() for word in view.text[slice(*match.span())].split()):
                yield Span(*match.span(), "institution", 0.7, "institutions.whole")
        for match in self._alone.finditer(view):  # "l'Hôpital orthopédique": a name where its first word has a capital
            if view.case == "mixed" and view.text[match.start()].isupper():
                yield Span(*match.span(), "institution", 0.7, "institutions.alone")
        yield from self._practices.find(view)
        done = 0
        for match in self._own.finditer(view):
            if match.start() >= done:
                done = self._walk(view, match) or match.end()
                yield Span(match.start(), done, "institution", 0.8, "institutions.own_name")

    def _town(self, view: View, end: int) -> Iterable[Span]:
        """The town behind a comma that ends a line or sentence: ``Polyclinique Saint-Côme, Compiègne``."""
        town = _TOWN.match(view.text, end) if view.case == "mixed" and self._specialties else None
        if town and self._no_town.isdisjoint(words_of(town["town"])):
            yield Span(*town.span("town"), "town", 0.65, "institutions.town")

    @staticmethod
    def _words_before(view: View, end: int, least: int) -> int | None:
        """Start of the last four words before ``end``, or None where none stands there."""
        start = None
        for _ in range(4):
            stop = (start or end) - 1
            if stop < least or view.folded[stop] != " ":
                break
            word = _LAST.search(view.folded, max(least, stop - 40), stop)
            if not word or (start and len(word.group()) > 5 and word.group().endswith(".")):
                break  # the end of a sentence
            start = word.start()
        return start

    def _first_capital(self, view: View, start: int, end: int) -> int | None:
        """Start of the capitalised words that end the range, or None where only its last word has one."""
        first, skipped = None, False
        words = list(re.finditer(r"[^\W\d_][\w'\-.]*", view.text[start:end]))
        for word in reversed(words[:-1]):
            folded = view.folded[start + word.start() : start + word.end()]
            if folded in self._connectors:
                continue
            if not word.group()[0].isupper():
                break
            if folded in self._stop or folded in self._clinical:
                if first is None and word is words[-2] and not skipped:
                    skipped = True  # "Example Orthopaedic Hospital"
                    continue
                break
            if skipped and first is None and word is not words[-3]:
                break
            first = start + word.start()
        return first

    def _letterhead(self, view: View) -> Iterable[Span]:
        """A first line of a few words above the line of a department."""
        lines = list(islice((line for line in view.lines if view.text[slice(*line)].strip()), 2))
        if len(lines) == 2 and self._below.match(view.folded, lines[1][0]):
            start, end = lines[0]
            words = re.findall(r"\w+", view.folded[start:end])
            titled = bool(self._below.match(view.folded, start)) or words[:1] == [] or words[0] in self._clinical
            if (
                1 <= len(words) <= 8
                and not titled
                and (view.text[start:end].strip()[0].isupper() or view.case == "lower")
                and not self._sentence(view, start, end)
            ):
                code = _CODE.search(view.folded[start:end])  # a postcode follows
                end = start + code.start() if code else end
                yield Span(start, end, "institution", 0.6, "institutions.letterhead")

    def _sentence(self, view: View, start: int, end: int) -> bool:
        """Whether the line's second word has a small letter, as in the title of an examination, and heads no name."""
        words = re.findall(r"[^\W\d_]+", view.text[start:end])[:2]
        folded = [fold(word) for word in words]
        return (
            view.case == "mixed"
            and len(words) == 2
            and words[1].islower()
            and folded[1] not in self._connectors
            and folded[0] not in self._strong | self._weak
        )

    def _walk(self, view: View, match: re.Match[str]) -> int | None:
        head = match.group()
        line_start, line_end = view.line_of(match.start())
        lead = max(line_start, match.start() - 80)
        before = view.folded[lead : match.start()]
        at_start = lead == line_start and not before.strip(" \t*-|:,")
        letterhead = at_start and match.start() < 400
        quiet = False
        if head in self._weak:
            if not at_start and not (view.text[match.start()].isupper() and view.case == "mixed"):
                after = self._quiet_after if view.case == "mixed" else self._one_case_after
                quiet = head in self._quiet and bool(after.search(before[-20:]))
                if not quiet:
                    return None
            if self._not_after.search(before[-40:]):
                return None
        small = view.text[match.start()].islower() and not at_start
        position, end, taken, described = match.end(), None, 0, False
        while taken < MAXIMUM:
            site = self._site.match(view.folded, position, line_end) if end else None
            step = _STEP.match(view.text, site.end() if site else position, line_end)
            if not step:
                break
            word = step["word"].rstrip(".")
            first = step.start("word")
            folded = view.folded[first : first + len(word)]
            if folded in self._stop and (end is not None or folded not in self._specialties):
                break
            if described and small and folded in self._joins:
                break  # "la clinique de médecine et chirurgie de ..." tells what it does
            if folded in self._connectors or word.isdigit():
                pass
            elif (
                end is None
                and folded in self._specialties
                and (described or word[0].islower() or head in self._weak or folded in self._stop)
            ):
                described = True  # "Clinique de pneumologie du Cap": the name follows
            elif (described and (folded in self._strong or folded in self._clinical)) or (
                quiet and self._no_name(view, folded, taken, end)
            ):
                break
            elif step["gap"] in (" - ", " – ") and (folded in self._clinical or _LABEL.match(view.text, step.end())):
                break  # a ward or a label behind a dash
            elif taken and end is None and head in self._weak and folded in self._protected and view.case == "mixed":
                break  # "Foyer de Paget"
            elif len(word) == 1 and not step["word"].endswith("."):  # noqa: SIM114 - two reasons
                break
            elif folded in self._clinical and (head in self._weak or view.case == "lower"):
                break
            elif word[0].isupper() or (
                view.case == "lower" and (letterhead or (end is None and (quiet or head not in self._weak)))
            ):
                if (
                    view.case == "upper"
                    and not letterhead
                    and end is not None
                    and folded.split("-")[0] in self._clinical
                ):
                    break
                end = step.end() - (step["word"].endswith(".") and len(word) > 3)
                if step["word"].endswith(".") and len(word) > 3:
                    break  # the end of a sentence
            else:
                break
            taken += 1
            position = step.end()
        return end

    def _no_name(self, view: View, folded: str, taken: int, end: int | None) -> bool:
        """Whether a word behind a weak head in small letters is none of its name."""
        if folded in self._titles or folded in self._clinical or (taken and end is None and folded in self._protected):
            return True  # "le site de Lisfranc", "la clinique de Mme"
        return view.case != "mixed" and (end is not None or folded in self._common or len(folded) < 4)
