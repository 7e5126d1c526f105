"""Numbers of persons, stays, examinations and professionals: by check digits, by label, by shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from stdnum import luhn
from stdnum.be import nn as belgian
from stdnum.ch import ssn as swiss
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs

from anonymize.detectors import Detector
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, alternatives

LABELLED = ("patient_id", "visit_id", "professional_id", "national_id", "id")

_NIR = re.compile(
    r"(?<![\w])[1-478] ?\d\d ?(?:0[1-9]|[1-9]\d) ?(?:\d\d|2[ab]) ?\d{3} ?\d{3}(?: ?[/\-(]? ?\d\d\)?)?(?!\w)"
)
_AVS = re.compile(r"(?<!\w)756[. ]?\d{4}[. ]?\d{4}[. ]?\d\d(?!\w)")
_NISS = re.compile(r"(?<!\w)\d\d[. ]?\d\d[. ]?\d\d[ \-.]?\d{3}[ \-.]?\d\d(?!\w)")
_RAMQ = re.compile(r"(?<!\w)[a-z]{4} ?\d{4} ?\d{4}(?!\w)")
_DNI = re.compile(r"(?<!\w)[xyz]?\d{7,8}[ \-]?[a-z](?!\w)")
_NHS = re.compile(r"(?<!\w)\d{3}[ \-]\d{3}[ \-]\d{4}(?!\w)")
_RPPS = re.compile(r"(?<!\w)1\d{10}(?!\w)")
_IBAN = re.compile(r"(?<!\w)[a-z]{2}\d\d(?: ?[a-z0-9]{4}){3,7}(?: ?[a-z0-9]{1,3})?(?!\w)")
# Letters and digits with five digits or more, such as RX71333100 or PAT-424198; seven bare digits or more.
_CODE = re.compile(r"(?<![\w.,])(?=[a-z0-9\-_/]{0,6}[a-z])(?:[a-z]{1,5}[\-_/]?)(?:\d[\-_/.]?){5,20}[a-z]{0,3}(?!\w)")
_BARE = re.compile(r"(?<![\w.,])\d{7,20}(?![\w%]|[.,]\d)")


class Identifiers(Detector):
    """A national number needs its check digits or its label; a labelled number needs a digit."""

    kinds = LABELLED

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        words = pack["detectors"]["identifiers"]
        value = r"(?P<value>[a-z]{0,5}[\-_.]?\d[\w]*(?:[\-_./ ]?\d[\w]*){0,12})"
        self._labelled = [
            (kind, re.compile(rf"(?<![\w]){alternatives(words[kind])}(?: ?[:=#°\-.(/]| |n°|no ){{1,5}}{value}(?!\w)"))
            for kind in LABELLED
        ]
        self._unit = re.compile(rf" ?(?:{alternatives(words['units'])}(?!\w)|[/x*]\s?[a-z\d])")

    def find(self, view: View) -> Iterable[Span]:
        """Spans of the numbers without their labels."""
        folded = view.folded
        for kind, pattern in self._labelled:
            for match in pattern.finditer(folded):
                start, end = match.span("value")
                digits = sum(map(str.isdigit, match["value"]))
                if (digits >= 5 or (digits >= 3 and kind != "id")) and not self._unit.match(folded, end):
                    yield Span(start, end, kind, 0.9, f"identifiers.label_{kind}")
                elif digits >= 3 and kind == "id" and ":" in match.group():
                    yield Span(start, end, kind, 0.7, "identifiers.label_id")
        checks: tuple[tuple[re.Pattern[str], str, Callable[[str], bool]], ...] = (
            (_NIR, "national_id", _nir),
            (_AVS, "national_id", swiss.is_valid),
            (_NISS, "national_id", belgian.is_valid),
            (_RAMQ, "national_id", _ramq),
            (_DNI, "national_id", lambda text: bool(dni.is_valid(text) or nie.is_valid(text))),
            (_NHS, "national_id", nhs.is_valid),
            (_RPPS, "professional_id", luhn.is_valid),
            (_IBAN, "id", lambda text: text[2:4].isdigit() and sum(map(str.isdigit, text)) >= 12),
        )
        for pattern, kind, check in checks:
            for match in pattern.finditer(folded):
                if check(match.group()):
                    yield Span(*match.span(), kind, 0.95, "identifiers.checked")
        for pattern in (_CODE, _BARE):
            for match in pattern.finditer(folded):
                if not self._unit.match(folded, match.end()):
                    yield Span(*match.span(), "id", 0.6, "identifiers.shape")


def _nir(text: str) -> bool:
    number = re.sub(r"[^\dab]", "", text)
    return nir.is_valid(number) if len(number) == 15 else len(number) == 13


def _ramq(text: str) -> bool:
    """Four letters, year, month (+50 for women), day, two digits (Régie de l'assurance maladie du Québec)."""
    digits = re.sub(r"\D", "", text)
    return 1 <= int(digits[2:4]) % 50 <= 12 and 1 <= int(digits[4:6]) <= 31
