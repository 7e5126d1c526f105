"""Numbers with check digits: of persons, of professionals, of accounts. One row per number, chosen by the pack.

Checks are python-stdnum's where it has them; the others are written here from the issuing body's description.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from stdnum import iban, luhn, verhoeff
from stdnum.exceptions import InvalidLength, ValidationError

from anonymize.config import ConfigError
from anonymize.detectors import Detector
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View

_S = r"[ .\-]?"


@dataclass(frozen=True)
class Number:
    """A number's form in folded text and its check, which sees upper-case letters and digits alone.

    ``exact`` is a grouping so particular that it is taken even where the check fails.
    """

    pattern: str
    check: Callable[[str], bool]
    kind: str = "national_id"
    exact: str = ""


def _stdnum(module: str) -> Callable[[str], bool]:
    loaded: Any = import_module(f"stdnum.{module}")
    return lambda text: bool(loaded.is_valid(text))


def _nir(text: str) -> bool:
    """INSEE: 97 less the number modulo 97; the 13 digits without the key are taken too."""
    if len(text) == 13:
        return text[3:5] != "00" and text[5:7] != "00"
    return _stdnum("fr.nir")(text)


def _ramq(text: str) -> bool:
    """Four letters, year, month (+50 for women), day, two digits (Régie de l'assurance maladie du Québec)."""
    return 1 <= int(text[6:8]) % 50 <= 12 and 1 <= int(text[8:10]) <= 31


def _inami(text: str) -> bool:
    """INAMI/RIZIV: digits 7 and 8 are 97 less the first six modulo 97; three digits of competence follow."""
    return int(text[6:8]) == 97 - int(text[:6]) % 97


def _finess(text: str) -> bool:
    """FINESS: Luhn over nine digits; Corsican departments count as 20."""
    return luhn.is_valid(re.sub("[AB]", "0", text))


def _ccss(text: str) -> bool:
    """Luxembourg: date of birth, three digits, a Luhn digit and a Verhoeff digit over the first eleven."""
    return luhn.is_valid(text[:12]) and verhoeff.is_valid(text[:11] + text[12])


def _digit_sum(digits: Iterable[int], weights: Iterable[int]) -> int:
    return sum(sum(map(int, str(digit * weight))) for digit, weight in zip(digits, weights, strict=True))


def _kvnr(text: str) -> bool:
    """German health insurance number, unchanging part: letter as two digits, weights 1 and 2, digit sums modulo 10."""
    digits = [int(char) for char in f"{ord(text[0]) - 64:02d}{text[1:9]}"]
    return _digit_sum(digits, [1, 2] * 5) % 10 == int(text[9])


def _rvnr(text: str) -> bool:
    """German pension insurance number (VKVV section 4): weights 2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1."""
    digits = [int(char) for char in f"{text[:8]}{ord(text[8]) - 64:02d}{text[9:11]}"]
    return _digit_sum(digits, [2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1]) % 10 == int(text[11])


def _lanr(text: str) -> bool:
    """German physician number: seventh digit from the first six with weights 4 and 9."""
    total = sum(int(digit) * weight for digit, weight in zip(text[:6], (4, 9) * 3, strict=True))
    return (10 - total % 10) % 10 == int(text[6])


def _nss(text: str) -> bool:
    """Spanish social security: province and number modulo 97."""
    province, number, key = int(text[:2]), int(text[2:10]), int(text[10:])
    return (province * (10**7 if number < 10**7 else 10**8) + number) % 97 == key


def _chi(text: str) -> bool:
    """Scottish CHI: date of birth ddmmyy, weights 10 to 2 modulo 11."""
    if not (1 <= int(text[:2]) <= 31 and 1 <= int(text[2:4]) <= 12):
        return False
    rest = (11 - sum(int(d) * w for d, w in zip(text[:9], range(10, 1, -1), strict=True)) % 11) % 11
    return rest == int(text[9])


def _dea(text: str) -> bool:
    """DEA: twice the digits 2, 4, 6 plus the digits 1, 3, 5; the last digit of the sum."""
    digits = [int(char) for char in text[2:]]
    return (digits[0] + digits[2] + digits[4] + 2 * (digits[1] + digits[3] + digits[5])) % 10 == digits[6]


def _card(text: str) -> bool:
    return luhn.is_valid(text) and len(set(text)) > 1


def _any(*modules: str) -> Callable[[str], bool]:
    checks = [_stdnum(module) for module in modules]
    return lambda text: any(check(text) for check in checks)


def _always(_: str) -> bool:
    return True


NUMBERS: dict[str, Number] = {
    "fr.nir": Number(
        rf"[1-478]{_S}\d\d{_S}(?:0[1-9]|[1-9]\d){_S}(?:\d\d|2[ab]){_S}\d{{3}}{_S}\d{{3}}(?: ?[/\-(]? ?\d\d\)?)?",
        _nir,
        exact=r"[1-478]([ .])\d\d\1\d\d\1(?:\d\d|2[ab])\1\d{3}\1\d{3}(?:[ .\-/(]{1,3}\d\d\)?)?",
    ),
    "fr.rpps": Number(r"[18]\d{10}", luhn.is_valid, "professional_id"),
    "fr.finess": Number(r"\d[\dab] ?\d{7}", _finess, "professional_id"),
    "be.nn": Number(
        rf"\d\d[. ]?\d\d[. ]?\d\d[ \-.]{{0,3}}\d{{3}}{_S}\d\d",
        _any("be.nn", "be.bis"),
        exact=r"\d\d\.\d\d\.\d\d ?- ?\d{3}[.\-]\d\d",
    ),
    "be.bis": Number(rf"\d\d[. ]?[2-5]\d[. ]?\d\d[ \-.]{{0,3}}\d{{3}}{_S}\d\d", _stdnum("be.bis")),
    "be.inami": Number(r"[1-9][ \-./]?\d{5}[ \-./]?\d\d[ \-./]?\d{3}", _inami, "professional_id"),
    "ch.ssn": Number(rf"756{_S}\d{{4}}{_S}\d{{4}}{_S}\d\d", _stdnum("ch.ssn"), exact=r"756\.\d{4}\.\d{4}\.\d\d"),
    "ca.ramq": Number(r"[a-z]{4}[ \-]?\d{4}[ \-]?\d{4}", _ramq),
    "ca.sin": Number(r"\d{3}([ \-])\d{3}\1\d{3}", _stdnum("ca.sin")),
    "lu.ccss": Number(r"(?:19|20)\d\d ?[01]\d ?[0-3]\d ?\d{3} ?\d\d", _ccss),
    "de.kvnr": Number(r"[a-z] ?\d{3} ?\d{3} ?\d{3}", _kvnr),
    "de.svnr": Number(r"\d\d ?[0-9]\d[01]\d{3} ?[a-z] ?\d{3}", _rvnr, exact=r"\d\d \d{6} [a-z] ?\d{3}"),
    "de.idnr": Number(r"\d\d ?\d{3} ?\d{3} ?\d{3}", _stdnum("de.idnr")),
    "de.lanr": Number(r"\d{9}", _lanr, "professional_id"),
    "at.vnr": Number(r"\d{4} ?\d{6}", _stdnum("at.vnr")),
    "es.dni": Number(r"\d{8}[ \-]?[a-z]|\d{2}\.\d{3}\.\d{3}[ \-]?[a-z]", _stdnum("es.dni")),
    "es.nie": Number(r"[xyz][ \-]?\d{7}[ \-]?[a-z]", _stdnum("es.nie")),
    "es.nss": Number(r"\d\d[ /\-]?\d{8}[ /\-]?\d\d", _nss, exact=r"\d\d([ /])\d{8}\1\d\d"),
    "nl.bsn": Number(r"\d{9}|\d{3}([. ])\d{3}\1\d{3}|\d{4}[. ]\d\d[. ]\d{3}", _stdnum("nl.bsn")),
    "it.codicefiscale": Number(
        r"[a-z]{3} ?[a-z]{3} ?[\dlmnp-v]{2}[abcdehlmprst][\dlmnp-v]{2} ?[a-z][\dlmnp-v]{3}[a-z]",
        _stdnum("it.codicefiscale"),
        exact=r"[a-z]{6}\d\d[abcdehlmprst]\d\d[a-z]\d{3}[a-z]",
    ),
    "it.tessera": Number(r"80380(?: ?\d){15}", _always),
    "gb.nhs": Number(r"\d{3}[ \-]?\d{3}[ \-]?\d{4}", _stdnum("gb.nhs"), exact=r"\d{3} \d{3} \d{4}"),
    "gb.chi": Number(r"[0-3]\d[01]\d{3} ?\d{4}", _chi),
    "gb.nino": Number(r"[a-ceghj-prtw-z][a-ceghj-npr-tw-z] ?\d\d ?\d\d ?\d\d ?[a-d]", _always),
    "us.ssn": Number(r"\d{3}([ \-])\d\d\1\d{4}", _stdnum("us.ssn"), exact=r"\d{3}-\d\d-\d{4}"),
    "us.itin": Number(r"9\d\d-[5-9]\d-\d{4}", _stdnum("us.itin")),
    "us.npi": Number(r"[12]\d{9}", lambda text: luhn.is_valid("80840" + text), "professional_id"),
    "us.dea": Number(r"[abcdefghjklmnprstuxz][a-z9]\d{7}", _dea, "professional_id"),
    "us.mbi": Number(
        r"[1-9][ac-hjkmnp-rt-y][0-9ac-hjkmnp-rt-y]\d-?[ac-hjkmnp-rt-y][0-9ac-hjkmnp-rt-y]\d-?"
        r"[ac-hjkmnp-rt-y]{2}\d\d",
        _always,
    ),
    "ie.pps": Number(r"\d{7} ?[a-w][a-iw]?", _stdnum("ie.pps")),
    "pt.nif": Number(r"[1-3]\d{2} ?\d{3} ?\d{3}", _stdnum("pt.nif")),
    "iban": Number(
        r"[a-z]{2}\d\d(?:[ \-]?[a-z0-9]{4}){2,7}(?:[ \-]?[a-z0-9]{1,3})?",
        iban.is_valid,
        "id",
        exact=r"(?:fr|mc)\d\d(?: ?[a-z0-9]{4}){5} ?[a-z0-9]{3}"
        r"|(?:be|de|es|it|lu|nl|ch|gb|at|pt)\d\d(?: [a-z0-9]{4}){3,7}(?: [a-z0-9]{1,3})?",
    ),
    "card": Number(r"[3-6]\d{3}([ \-]?)\d{4}\1\d{4}\1\d{1,7}|3[47]\d\d[ \-]?\d{6}[ \-]?\d{5}", _card, "id"),
}
"""Names that a pack may list under ``identifiers.national``."""

INTERNATIONAL = ("iban", "card")


def compact(text: str) -> str:
    """Letters and digits of ``text`` in upper case."""
    return "".join(char for char in text.upper() if char.isalnum())


def validates(text: str) -> bool:
    """Whether ``text`` is a valid number of any row that has a real check, whatever the pack."""
    value = compact(text)
    if sum(map(str.isdigit, value)) < 7:
        return False
    checks = _by_length(len(value)) if value.isdecimal() else _LIBRARY
    return any(check.is_valid(value) for check in checks) or any(
        number.check is not _always
        and (pattern.fullmatch(value.lower()) or pattern.fullmatch(text.lower()))
        and _passes(number, value)
        for number, pattern in _COMPILED
    )


def _passes(number: Number, value: str) -> bool:
    try:
        return number.check(value)
    except (ValueError, IndexError):
        return False


# python-stdnum looks at the form itself, and takes more than the patterns above (a NIR that starts with 0). Any nine
# digits are a social security number of the United States: that one is only asked in its own grouping.
_LIBRARY: list[Any] = [
    import_module(f"stdnum.{name}") for name in NUMBERS if name != "us.ssn" and find_spec(f"stdnum.{name}")
]
_COMPILED = [(number, re.compile(rf"(?:{number.pattern})")) for number in NUMBERS.values()]


class NationalNumbers(Detector):
    """Numbers with their check digits, of the pack's countries and international ones."""

    kinds = ("national_id", "professional_id", "id")

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        names = [*pack["detectors"]["identifiers"].get("national", []), *INTERNATIONAL]
        unknown = [name for name in names if name not in NUMBERS]
        if unknown:
            raise ConfigError(
                f"language pack '{pack.language}', detectors.yaml: identifiers.national has no number '{unknown[0]}'; "
                f"there are: {', '.join(sorted(NUMBERS))}"
            )
        self._rows = [
            (name, NUMBERS[name], re.compile(rf"(?:{NUMBERS[name].pattern})(?!\w)"), _exact(NUMBERS[name]))
            for name in names
        ]
        self._lettered = [
            row for row in self._rows if row[1].pattern.startswith("[a-z]") or not _starts_with_digit(row[1])
        ]
        self._digits = [row for row in self._rows if _starts_with_digit(row[1])]
        # one trial says that none of the numbers stands here, as is most often so
        self._any_digits = _any_of(form for _, number, _, _ in self._digits for form in (number.pattern, number.exact))

    def find(self, view: View) -> Iterable[Span]:
        """Spans of whole numbers."""
        folded = view.folded
        for run in _RUN.finditer(folded):
            start = run.start()
            if run.end() - start < 5 and len(_DIGIT.findall(folded, start, start + 18)) < 5:
                continue
            before = folded[max(0, start - 8) : start]
            if before[-1:].isalnum() or before[-1:] == "_":
                letters = _LETTERS.search(before)
                if letters:
                    yield from self._at(folded, start - len(letters.group()), self._lettered)
                continue
            if self._any_digits.match(folded, start):
                yield from self._at(folded, start, self._digits)
            apart = _LETTERS_APART.search(before)
            if apart:
                yield from self._at(folded, start - len(apart.group()), self._lettered)

    def _at(
        self, folded: str, start: int, rows: list[tuple[str, Number, re.Pattern[str], re.Pattern[str] | None]]
    ) -> Iterable[Span]:
        for name, number, pattern, exact in rows:
            match = pattern.match(folded, start)
            if match and _passes(number, compact(match.group())):
                yield Span(start, match.end(), number.kind, 0.95, f"national.{name}")
                return
            match = exact.match(folded, start) if exact else None
            if match:
                yield Span(start, match.end(), number.kind, 0.8, f"national.{name}_form")
                return


_RUN = re.compile(r"\d+")
_DIGIT = re.compile(r"\d")
_LETTERS = re.compile(r"(?<![a-z\d])[a-z]{1,6}$")
_LETTERS_APART = re.compile(r"(?<!\w)(?:[a-z]{1,2}|[a-z]{4})[ \-]$")


@lru_cache(maxsize=64)
def _by_length(digits: int) -> list[Any]:
    """The library's numbers that so many digits can be: the others refuse digits of that length whatever they are."""

    def refuses(module: Any) -> bool:
        try:
            module.validate("1" * digits)
        except InvalidLength:
            return True
        except ValidationError:
            return False
        return False

    return [module for module in _LIBRARY if not refuses(module)]


def _any_of(forms: Iterable[str]) -> re.Pattern[str]:
    """One expression for all ``forms``; what they repeat by number is numbered anew."""
    pieces, groups = [], 0
    for form in filter(None, forms):
        pieces.append(re.sub(r"\\(\d)", lambda match, before=groups: rf"\{int(match[1]) + before}", form))
        groups += re.compile(form).groups
    return re.compile(rf"(?:{'|'.join(pieces)})(?!\w)" if pieces else "(?!)")


def _exact(number: Number) -> re.Pattern[str] | None:
    return re.compile(rf"(?:{number.exact})(?!\w)") if number.exact else None


def _starts_with_digit(number: Number) -> bool:
    return number.pattern[:2] in (r"\d", "75", "80", "(?") or bool(re.match(r"\[\d|\d", number.pattern))
