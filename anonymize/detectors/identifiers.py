"""Numbers of persons, stays, examinations and professionals: by their label, by a hospital's own form, by shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from anonymize.detectors import Detector
from anonymize.detectors.cues import Cues
from anonymize.forms import IdentifierForm
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, alternatives

LABELLED = ("patient_id", "visit_id", "professional_id", "national_id", "device", "id")

_RUN = re.compile(r"\d+")
_HEAD = re.compile(r"(?<![a-z\d])(?:[a-z]{1,8}[\-_]?){1,2}$")
# letters joined to digits by any sign, and a capital before a blank: only behind a label: "RAD/21/55102", "K 4471.10"
_JOINED_HEAD = re.compile(r"(?<![a-z\d])(?:[a-z]{1,8}[\-_/.]){1,4}(?:[a-z]{1,6})?$")
_LETTER = re.compile(r"(?<![\w'’])(?:[A-Z]{1,4}[/.\-]){0,2}[A-Z]{1,3}[ .]{1,2}$")
_BEHIND = re.compile(r"(?:[/\-][A-Z]{1,6}(?![\w]))+")  # "1184/HIACT/HYP/JEB"
_BODY = re.compile(r"\d\w*(?:[\-_./:][a-z]{0,4}\d\w*)*(?:-?[a-z]{1,4}(?!\w))?")
_GROUP = re.compile(r" ?[\-/] ?\d\w*| \d\w*")
# Letters and digits with five digits or more, such as RX71333100 or PAT-424198; seven bare digits or more.
_CODE = re.compile(r"(?:[a-z]{1,8}[\-_/])?(?:[a-z]{1,5}[\-_/]?)(?:\d[\-_/.]?){5,20}[a-z]{0,3}(?!\w)")
_BARE = re.compile(r"\d{7,20}(?:-[a-z](?!\w))?(?![\w%]|[.,]\d)")
_MIXED = re.compile(r"(?:\d{1,6}[a-z]{2,4}\d{4,12}|\d\d[a-wyz]\d{5,7})(?!\w)")
_JOINED = re.compile(r"(?:\d{2,4}[\-/]){1,2}\d{5,10}(?![\w%]|[.,/\-]\d)")
_BOXES = re.compile(r"\d(?: \d){6,60}(?!\w)(?! ?[.,]\d)")
# Genes, trials and variants are written like codes: dbSNP, ClinicalTrials.gov, RefSeq, one-letter substitutions.
_SCIENCE = re.compile(r"(?:rs\d+|nct\d+|n[mpcgr]_\d+|(?:c|p|g)\.\S+|[acgt]\d{2,6}[acgt]|(?:pmid|doi|cas)\W.*)(?!\w)")
_DATE_LIKE = re.compile(r"\d{1,2}[/.\-]\d{1,2}[/.\-](?:\d{4}|\d\d)(?!\d|-\d)|(?:19|20)\d\d[/.\-]\d\d[/.\-]\d\d(?!\d)")
_ACRONYM = re.compile(r"[A-Z]{2}")
_SIGNS = frozenset(" .-_/")
_CLOCK = re.compile(r"\d{1,2} ?[h:] ?\d\d(?!\d)")


class Identifiers(Detector):
    """A labelled number needs a digit or three; an unlabelled one a form of the hospital, or length.

    Args:
        pack: labels and units.
        forms: the hospital's own forms, found without a label.
    """

    kinds = ("patient_id", "visit_id", "professional_id", "national_id", "id")

    def __init__(self, pack: Pack, forms: Sequence[IdentifierForm] = ()) -> None:
        super().__init__(pack)
        words = pack["detectors"]["identifiers"]
        own = {kind: [form.label for form in forms if form.label and form.kind == kind] for kind in LABELLED}
        self._labels = Cues(
            {kind: [*own[kind], *words.get(kind, [])] for kind in LABELLED}, words.get("fillers", ["n", "no", "nr"])
        )
        self._never = Cues({"no": words.get("never_after", [])}, words.get("fillers", []))
        self._unit = re.compile(rf" ?(?:(?:{alternatives(words['units'])}(?!\w))|[/x*]\s?[a-z\d]|%|°)")
        self._forms = [(form.kind, re.compile(rf"(?<!\w)(?:{form.regex()})(?!\w)", re.IGNORECASE)) for form in forms]

    def find(self, view: View) -> Iterable[Span]:
        """Spans of the numbers without their labels."""
        folded = view.folded
        for kind, pattern in self._forms:
            for match in pattern.finditer(view.text):
                if match.end() > match.start():
                    yield Span(*match.span(), kind, 0.95, "identifiers.hospital")
        end = -1
        for run in _RUN.finditer(folded):
            if run.start() < end:
                continue
            if folded[run.start() - 2 : run.start() - 1].isdigit() and folded[run.start() - 1] in " .-/_,":
                size = run.end() - run.start()
                if size == 1 or (size < 7 and folded[run.start() - 1] != " "):
                    continue  # the middle of something longer
            before = folded[max(0, run.start() - 18) : run.start()]
            head = _HEAD.search(before) if before[-1:].isalpha() or before[-1:] in "-_" else None
            if head and head.group()[-1] in "-_" and head.group().rstrip("-_") in self._labels:
                head = None  # "nhc-123789"
            start = run.start() - (len(head.group()) if head else 0)
            span = (
                (before[-1:] in _SIGNS and before[-2:-1].isalpha() and self._lettered(view, before, run))
                or self._labelled(view, start, run)
                or (head and self._labelled(view, run.start(), run))
                or self._shaped(folded, start, run)
            )
            if span:
                yield span
                end = span.end

    def _lettered(self, view: View, before: str, run: re.Match[str]) -> Span | None:
        """A labelled number whose letters stand before a sign or a blank: ``ZK.RAD-23.003417``, ``K 4471.10``."""
        place = run.start()
        if before[-1] == " " and not view.text[place - 2].isupper():
            return None  # most often
        head = _JOINED_HEAD.search(before) if before[-1] != " " else None
        letters = None if head else _LETTER.search(view.text, max(0, place - 16), place)
        start = place - len(head.group()) if head else letters.start() if letters else place
        if start == place or view.folded[start:place].rstrip(" .-_/") in self._labels:
            return None
        if head and not any(map(str.isupper, view.text[start:place])) and view.case == "mixed":
            return None
        return self._labelled(view, start, run)

    def _labelled(self, view: View, start: int, run: re.Match[str]) -> Span | None:
        folded = view.folded
        if folded[start - 1 : start].isalnum():
            return None
        label = self._labels.before(folded, start)
        if not label:
            return None
        kind = label[0]
        if kind == "id" and self._never.before(folded, start):
            return None
        end = self._value_end(folded, run.start())
        behind = _BEHIND.match(view.text, end)
        behind = behind if behind and _ACRONYM.search(behind.group()) else None  # "12/L" is a measure
        end = behind.end() if behind else end
        value = folded[start:end]
        digits = sum(map(str.isdigit, value))
        if _CLOCK.fullmatch(value) or _DATE_LIKE.match(value):
            return None
        colon = any(sign in folded[max(0, start - 4) : start] for sign in ":=#")
        least = 5 if kind == "id" and not (colon or behind) else 3
        if digits < least or self._unit.match(folded, end):
            return None
        found = "id" if kind == "device" else kind
        return Span(start, end, found, 0.9, f"identifiers.label_{kind}")

    def _value_end(self, folded: str, start: int) -> int:
        """End of the number that begins at ``start``: groups behind one blank belong to it unless they are a measure."""
        body = _BODY.match(folded, start)
        end = body.end() if body else start
        for _ in range(24):
            group = _GROUP.match(folded, end)
            if (
                not group
                or self._unit.match(folded, group.end())
                or _DATE_LIKE.match(folded, group.end() - len(group.group().lstrip(" -/")))
            ):
                break
            if not group.group().strip(" -/").isdigit() and len(group.group()) < 4:
                break
            following = folded[group.end() : group.end() + 2]
            if following[:1] in "/h:" and following[1:2].isdigit():
                break
            end = group.end()
        return end

    def _shaped(self, folded: str, start: int, run: re.Match[str]) -> Span | None:
        first = run.start()
        if folded[start - 1 : start] in (".", ",") and folded[start - 2 : start - 1].isdigit():
            return None
        if folded[start - 1 : start].isalnum() or folded[start - 1 : start] == "_":
            return None
        pieces: list[tuple[int, re.Pattern[str]]] = []
        if start < first:
            pieces.append((start, _CODE))
        else:
            size = run.end() - first
            following = folded[run.end() : run.end() + 1]
            if size >= 7:
                pieces.append((first, _BARE))
            elif following.isalpha():
                pieces.append((first, _MIXED))
            elif following in ("-", "/"):
                pieces.append((first, _JOINED))
            elif size == 1 and following == " ":
                return self._boxes(folded, first)
        for position, pattern in pieces:
            match = pattern.match(folded, position)
            if not match or self._unit.match(folded, match.end()) or _SCIENCE.match(folded, position):
                continue
            if pattern is _JOINED and _DATE_LIKE.match(folded, position):
                continue
            end = match.end() - (match.group()[-1] in "-_/.")
            return Span(position, end, "id", 0.6, "identifiers.shape")
        return None

    def _boxes(self, folded: str, start: int) -> Span | None:
        """Digits in boxes of a form, one blank between them; columns of equal digits are none."""
        if re.search(r"\d $", folded[max(0, start - 2) : start]):
            return None
        match = _BOXES.match(folded, start)
        if not match or self._unit.match(folded, match.end()):
            return None
        digits = match.group().replace(" ", "")
        if len(set(digits)) < 4:
            return None
        kind = "national_id" if 12 <= len(digits) <= 16 else "id"
        return Span(start, match.end(), kind, 0.7, "identifiers.boxes")
