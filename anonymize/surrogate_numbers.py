"""Made-up numbers: the form of the real one, never a valid check digit, telephone numbers that no one has.

Ranges for fiction: Arcep decision 2018-0881 (France), Ofcom (United Kingdom), NANPA 555-01xx (United States, Canada),
Bundesnetzagentur (Germany), ACMA (Australia), ComReg (Ireland). Elsewhere the number begins with zeros, as none does.
Network addresses: RFC 5737 (IPv4), RFC 3849 (IPv6), RFC 7042 (MAC).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import phonenumbers

from anonymize.detectors.national import compact, validates

# Region: national numbers without trunk prefix, "#" is any digit; fixed lines, then mobiles.
_FICTION: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "FR": (("19900####", "26191####", "35301####", "46571####", "53649####"), ("63998####",)),
    "GB": (("1632960###", "1134960###", "1214960###", "2079460###"), ("7700900###",)),
    "US": (("20255501##", "30355501##", "61755501##"), ("20255501##",)),
    "CA": (("41855501##", "51455501##", "61355501##"), ("41855501##",)),
    "DE": (("3023125###", "6990009###", "4066969###", "8999998###"), ("1522881####", "17139200##")),
    "AU": (("25550####", "37010####"), ("491570###",)),
    "IE": (("2091#####",), ("2091#####",)),
}
_LETTERS = "abcdefghjklmnpqrstuvwxyz"
_DIGITLIKE = re.compile(r"[0-9oO](?![^\W\d_])")


def phone(text: str, regions: Sequence[str], draw: random.Random) -> str:
    """A telephone number in the form of ``text``; from a range kept for fiction where there is one."""
    word = re.search(r"[^\W\d_]{2,}|[,/]", text)
    main, rest = (text[: word.start()], text[word.start() :]) if word else (text, "")
    places = [match.start() for match in _DIGITLIKE.finditer(main)]
    digits = "".join("0" if main[place] in "oO" else main[place] for place in places)
    if not digits:
        return re.sub(r"\d+", lambda match: other(match.group(), draw), text)
    new = _fiction(main, digits, regions, draw)
    if new is None:
        kept = _country(main, digits)
        zeros = min(len(digits) - kept, 3 if len(digits) > 6 else 1)
        rest_of = len(digits) - kept - zeros
        new = digits[:kept] + "0" * zeros + "".join(str(draw.randrange(10)) for _ in range(rest_of))
    if new == digits:
        new = new[:-1] + str((int(new[-1]) + 1) % 10)
    chars = list(main)
    for place, digit in zip(places, new, strict=True):
        chars[place] = digit
    return "".join(chars) + re.sub(r"\d+", lambda match: other(match.group(), draw), rest)


def _country(main: str, digits: str) -> int:
    """How many of ``digits`` are the country's: they stay."""
    try:
        parsed = phonenumbers.parse(main, None)
    except phonenumbers.NumberParseException:
        return 0
    code = str(parsed.country_code or "")
    return len(code) if digits.startswith(code) else 0


def _fiction(main: str, digits: str, regions: Sequence[str], draw: random.Random) -> str | None:
    """Digits of a fictional number that fill the places of ``digits``; None where there are none of that length."""
    for region in regions:
        try:
            parsed = phonenumbers.parse(main, region)
        except phonenumbers.NumberParseException:
            continue
        own = phonenumbers.region_code_for_country_code(parsed.country_code or 0)
        found = phonenumbers.region_code_for_number(parsed) or own
        if not phonenumbers.is_possible_number(parsed) or found not in _FICTION:
            if main.lstrip("( ").startswith(("+", "00")):
                return None
            continue
        national = str(parsed.national_number)
        if not digits.endswith(national):
            continue
        mobile = phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.MOBILE
        forms = [form for form in _FICTION[found][mobile] if len(form) == len(national)]
        forms = forms or [form for group in _FICTION[found] for form in group if len(form) == len(national)]
        if not forms:
            return None
        form = draw.choice(forms)
        filled = "".join(str(draw.randrange(10)) if char == "#" else char for char in form)
        return digits[: len(digits) - len(national)] + filled
    return None


def number(text: str, kind: str, draw: random.Random) -> str:
    """Another number of the same form that passes no check. National and professional numbers start with zeros."""
    zeros = {"postcode": 2, "national_id": 3, "professional_id": 2}.get(kind, 0)
    real = compact(text)
    for _ in range(200):
        new = _drawn(text, kind, zeros, draw)
        if compact(new) != real and not validates(new):
            return new
    return re.sub(r"\w", "0", text)


def _drawn(text: str, kind: str, zeros: int, draw: random.Random) -> str:
    out, seen = [], 0
    for char in text:
        if char.isdigit():
            out.append("0" if seen < zeros else str(draw.randrange(10)))
            seen += 1
        elif char.isalpha():
            letter = draw.choice("dfiqu" if kind == "postcode" else _LETTERS)
            out.append(letter.upper() if char.isupper() else letter)
        else:
            out.append(char)
    return "".join(out)


def network_address(text: str, draw: random.Random) -> str | None:
    """A documentation address where ``text`` is an IP or MAC address; None where it is none."""
    if re.fullmatch(r"\d{1,3}(?:\.\d{1,3}){3}(?:[/:]\d+)?", text):
        return f"{draw.choice(('192.0.2', '198.51.100', '203.0.113'))}.{draw.randrange(1, 255)}"
    if text.count(":") >= 2 and re.fullmatch(r"[0-9A-Fa-f:]+", text):
        if re.fullmatch(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", text):
            return f"00:00:5E:00:53:{draw.randrange(256):02X}"
        return f"2001:db8::{draw.randrange(1, 65536):x}:{draw.randrange(65536):x}"
    return None


def other(digits: str, draw: random.Random) -> str:
    """As many digits, the first one another and not 0."""
    first = draw.choice([str(digit) for digit in range(1, 10) if str(digit) != digits[0]])
    return first + "".join(str(draw.randrange(10)) for _ in digits[1:])
