"""Fields of XML, JSON and key=value snippets that were pasted into a report: FHIR, CDA, DICOM attributes, forms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from anonymize.detectors import Detector
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, collapse, words_of

# Names of fields in the standards, without case and signs. The language's own labels of names come from its pack.
_FIELDS = {
    "name": [
        "given",
        "family",
        "lastname",
        "firstname",
        "surname",
        "givenname",
        "familyname",
        "patientname",
        "patientsname",
        "otherpatientnames",
        "fullname",
        "patientbirthname",
        "patientmothersbirthname",
        "referringphysicianname",
        "referringphysiciansname",
        "performingphysicianname",
        "performingphysiciansname",
        "operatorsname",
        "operatorname",
        "nameofphysiciansreadingstudy",
        "requestingphysician",
        "requestingphysicianname",
        "physiciansofrecord",
        "responsibleperson",
        "refphy",
        "reqphy",
        "perfphy",
        "oper",
        "operator",
        "pat",
        "pn",
        "name",
    ],
    "address": ["streetname", "streetaddressline", "line", "housenumber", "streetnamebase", "patientaddress"],
    "town": ["city", "district", "birthplace"],
    "postcode": ["postalcode", "zip", "zipcode"],
    "institution": ["assigningauthorityname", "institutionname", "managingorganization", "institutionaldepartmentname"],
}
_VALUE = r"[^\"\n<>]{1,80}"
_JSON = re.compile(
    rf"\"(?P<key>[^\"\n:]{{2,40}})\"\s{{0,3}}:\s{{0,3}}(?P<values>\"{_VALUE}\"|\[\s{{0,20}}\"{_VALUE}\"(?:\s{{0,3}},\s{{0,20}}\"{_VALUE}\"){{0,8}})"
)
_STRING = re.compile(rf"\"(?P<value>{_VALUE})\"")
_ELEMENT = re.compile(
    r"<(?:\w{1,20}:)?(?P<key>[A-Za-z_]{2,40})(?:\s[^<>\n]{0,120})?>(?P<value>[^<>\n]{1,80})(?=</|\n|$)"
)
_ATTRIBUTE = re.compile(r"<(?:\w{1,20}:)?(?P<key>[A-Za-z_]{2,40})\s{1,3}value=\"(?P<value>[^\"\n<>]{1,80})\"")
_NAMED = re.compile(r"(?<![\w\-])(?P<key>[A-Za-z_]{2,40})=\"(?P<value>[^\"\n<>]{1,80})\"")
_PAIR = re.compile(
    r"(?<![\w\-])(?P<key>[^\W\d]{2,40})=(?P<value>[^\W\d_][^=;|,&\"\n<>\t]{0,60}?)"
    r"(?=[ ]{0,3}(?:[;|,&\"\n<>\t]|$)|[ ]{1,4}[^\W\d]{2,40}=)"
)


class Markup(Detector):
    """Spans of the values; each word between HL7 or DICOM separators (``^``) counts to them."""

    kinds = tuple(_FIELDS)

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        words = pack["detectors"]["names"]
        labels = [collapse(str(word)) for word in words["labels"]]
        self._kinds = {label: "name" for label in labels}
        self._kinds |= {key: kind for kind, keys in _FIELDS.items() for key in keys}
        self._ordinary = pack.lists.clinical

    def find(self, view: View) -> Iterable[Span]:
        """Spans with a score of 0.9."""
        text = view.text
        if '":' in text or '" :' in text:
            for match in _JSON.finditer(text):
                kind = self._kinds.get(collapse(match["key"]))
                for value in _STRING.finditer(text, *match.span("values")) if kind else ():
                    yield from self._value(text, *value.span("value"), kind)
        if "</" in text or "/>" in text:
            for pattern in (_ELEMENT, _ATTRIBUTE, _NAMED):
                yield from self._pairs(text, pattern)
        if "=" in text:
            yield from self._pairs(text, _PAIR)

    def _pairs(self, text: str, pattern: re.Pattern[str]) -> Iterator[Span]:
        for match in pattern.finditer(text):
            kind = self._kinds.get(collapse(match["key"]))
            if kind:
                yield from self._value(text, *match.span("value"), kind)

    def _value(self, text: str, start: int, end: int, kind: str | None) -> Iterator[Span]:
        words = words_of(text[start:end])
        if kind and (kind != "name" or (words and not self._ordinary.issuperset(words))):
            yield Span(start, end, kind, 0.9, "markup.field")
