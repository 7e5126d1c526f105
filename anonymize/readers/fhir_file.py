"""FHIR R4 and R5 DiagnosticReport: single resources, Bundles and NDJSON of a bulk export, in one file or many."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anonymize.policy import Files
from anonymize.readers.content import from_base64, text_of
from anonymize.readers.markup import text_of_html
from anonymize.readers.problems import MAXIMUM_FILE, Unreadable
from anonymize.readers.raw import lines_of, open_bytes
from anonymize.readers.record import Name, Record, iso_date, phone_tail, take_names, unique

_USES = {"official": "legal", "usual": "usual", "maiden": "birth", "old": "other", "nickname": "other"}
_LINKED = (
    "Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "ServiceRequest", "Encounter", "ImagingStudy", "Observation",
)  # fmt: skip
_FORMS = ("text/plain", "text/html", "application/xhtml+xml", "text/rtf", "application/rtf", "application/pdf")
_Resource = dict[str, Any]


class Directory:
    """Resources that reports refer to, from all files of an export."""

    def __init__(self) -> None:
        self._resources: dict[str, _Resource] = {}
        self.relatives: dict[str, list[str]] = {}  # patient reference → names

    def add_file(self, path: Path) -> None:
        """Take in the resources of one file; what cannot be read is reported when its reports are."""
        for resource, address in _resources(path):
            if resource is not None:
                self.add(resource, address)

    def add(self, resource: _Resource, address: str) -> None:
        """Take in one resource under its own address, if others can refer to it."""
        kind = resource.get("resourceType", "")
        if kind not in _LINKED:
            return
        kept = {key: value for key, value in resource.items() if key not in ("text", "photo", "contained")}
        for key in (address, f"{kind}/{resource.get('id', '')}"):
            if key:
                self._resources[key] = kept
        if kind == "RelatedPerson":
            reference = _dict(resource.get("patient")).get("reference", "")
            names = [str(_name(name)) for name in _list(resource.get("name"))]
            self.relatives.setdefault("/".join(str(reference).split("/")[-2:]), []).extend(names)

    def find(self, reference: Any, near: _Resource) -> _Resource:
        """The resource that ``reference`` names: contained in ``near`` or known from the export; else empty."""
        address = _text(_dict(reference).get("reference")).split("/_history/")[0]
        if address.startswith("#"):
            return next((r for r in _list(near.get("contained")) if _dict(r).get("id") == address[1:]), {})
        return self._resources.get(address) or self._resources.get("/".join(address.split("/")[-2:]), {})


def records(path: Path, directory: Directory, config: Files) -> Iterator[Record]:
    """A record per DiagnosticReport; none of a file that holds only what reports refer to."""
    used = False
    for resource, _ in _resources(path):
        used = used or resource is None or resource.get("resourceType") in (*_LINKED, "DiagnosticReport")
        if resource is None:
            yield Record(problem="damaged_file")
        elif resource.get("resourceType") == "DiagnosticReport":
            try:
                yield _record(resource, directory, config)
            except Unreadable as problem:
                yield Record(problem=problem.reason)
            except (TypeError, AttributeError, ValueError, KeyError):
                yield Record(problem="damaged_file")
    if not used:
        yield Record(problem="not_a_report")


def _resources(path: Path) -> Iterator[tuple[_Resource | None, str]]:
    """Every resource of a file with its full address; None for a part that is not valid JSON."""
    with open_bytes(path) as stream:
        start = stream.read(MAXIMUM_FILE + 1)
        if len(start) <= MAXIMUM_FILE:
            try:
                yield from _unpacked(json.loads(start.decode("utf-8-sig")))
                return
            except (ValueError, RecursionError):
                pass
    with open_bytes(path) as stream:
        lines = 0
        for line in lines_of(stream):
            if line is None or not line.strip():
                continue
            lines += 1
            try:
                found = list(_unpacked(json.loads(line.decode("utf-8-sig"))))
            except (ValueError, RecursionError):
                yield None, ""
                if lines == 1:
                    return  # no NDJSON: one broken document
                continue
            yield from found


def _unpacked(value: Any) -> Iterator[tuple[_Resource | None, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _unpacked(item)
    elif isinstance(value, dict) and value.get("resourceType") == "Bundle":
        for entry in _list(value.get("entry")):
            resource = _dict(entry).get("resource")
            if isinstance(resource, dict):
                address = _text(entry.get("fullUrl"))
                if resource.get("resourceType") == "Bundle":
                    yield from _unpacked(resource)
                else:
                    yield resource, address
    elif isinstance(value, dict) and value.get("resourceType"):
        yield value, ""
    else:
        yield None, ""


def _record(report: _Resource, directory: Directory, config: Files) -> Record:
    record = Record()
    subject = _dict(report.get("subject"))
    patient = directory.find(subject, report)
    _take_patient(record, patient, subject, config)
    reference = "/".join(_text(subject.get("reference")).split("/")[-2:])
    record.staff += directory.relatives.get(reference, [])
    orders = [directory.find(item, report) for item in _list(report.get("basedOn"))]
    people = [*_list(report.get("performer")), *_list(report.get("resultsInterpreter"))]
    people += [order[key] for order in orders for key in ("requester",) if key in order]
    people += _list(patient.get("generalPractitioner"))
    record.staff += [name for item in people for name in _person(item, report, directory)]
    studies = [directory.find(i, report) for key in ("imagingStudy", "study") for i in _list(report.get(key))]
    record.accession = _accession(report, orders, studies)
    record.numbers += [
        value
        for item in (report, *orders)
        for value in _identifiers(item)
        if value != record.accession and len(value) > 4
    ]
    encounter = directory.find(report.get("encounter"), report)
    record.visit = next(iter(_identifiers(encounter)), "") or _text(
        _dict(_dict(report.get("encounter")).get("identifier")).get("value")
    )
    period = _dict(report.get("effectivePeriod"))
    times = (report.get("effectiveDateTime"), period.get("start"), report.get("issued"))
    record.exam_date = next(filter(None, (iso_date(_text(value)) for value in times)), "")
    record.exam = _concept(report.get("code"))
    record.text = _body(report, directory)
    return record


def _take_patient(record: Record, patient: _Resource, subject: _Resource, config: Files) -> None:
    identifiers = [_dict(item) for item in _list(patient.get("identifier")) if _dict(item).get("value")]
    by_system = [i for i in identifiers if config.patient_authority and i.get("system") == config.patient_authority]
    by_type = [
        i
        for i in identifiers
        if {"MR", "PI"} & {_dict(c).get("code") for c in _list(_dict(i.get("type")).get("coding"))}
    ]
    chosen = next(iter([*by_system, *by_type, *identifiers]), {})
    logical = _text(_dict(subject.get("identifier")).get("value"))
    named = _text(subject.get("reference")).rpartition("/")[2].lstrip("#")
    record.patient = _text(chosen.get("value")) or logical or _text(patient.get("id")) or named
    record.numbers += [_text(i["value"]) for i in identifiers if i is not chosen]
    take_names(record, [_name(name) for name in _list(patient.get("name"))])
    if not record.surname and subject.get("display"):
        record.surname = _text(subject["display"])
    record.sex = {"female": "F", "male": "M"}.get(_text(patient.get("gender")), "")
    record.birth_date = iso_date(_text(patient.get("birthDate")))
    for index, address in enumerate(map(_dict, _list(patient.get("address")))):
        if index == 0:
            record.address = " ".join(map(_text, _list(address.get("line"))))
            record.town, record.postcode = _text(address.get("city")), _text(address.get("postalCode"))
    telecoms = [_dict(item) for item in _list(patient.get("telecom"))]
    phones = unique(_text(item.get("value")) for item in telecoms if item.get("system") in ("phone", "sms", None))
    record.phone = phones[0] if phones else ""
    record.numbers += [phone_tail(phone) for phone in phones[1:]]
    for contact in map(_dict, _list(patient.get("contact"))):
        record.staff.append(str(_name(contact.get("name"))))
        record.numbers += [phone_tail(_text(_dict(item).get("value"))) for item in _list(contact.get("telecom"))]


def _person(reference: Any, near: _Resource, directory: Directory) -> Iterator[str]:
    """Names of a practitioner, by its resource or by what the reference displays; organisations have no parts."""
    resource = directory.find(reference, near)
    if resource.get("resourceType") == "PractitionerRole" or "practitioner" in resource:
        yield from _person(resource.get("practitioner"), near, directory)
    elif resource.get("resourceType") != "Organization":
        for name in _list(resource.get("name")):
            if isinstance(name, dict):
                yield str(_name(name))
    reference = _dict(reference)
    if not _text(reference.get("reference")).rpartition("/")[0].endswith("Organization"):
        yield _text(reference.get("display"))


def _name(value: Any) -> Name:
    value = _dict(value)
    family, given = _text(value.get("family")), " ".join(map(_text, _list(value.get("given"))))
    if not family and not given:
        family = _text(value.get("text"))
    return Name(family, given, _USES.get(_text(value.get("use")), "legal"))


def _identifiers(resource: _Resource) -> list[str]:
    return [v for item in _list(resource.get("identifier")) if (v := _text(_dict(item).get("value")))]


def _accession(report: _Resource, orders: list[_Resource], studies: list[_Resource]) -> str:
    """The identifier of type ACSN, of the report, its order or its study; else the order's or the report's first one."""
    everything = [_dict(i) for r in (report, *orders, *studies) for i in _list(r.get("identifier"))]
    everything += [_dict(_dict(i).get("identifier")) for i in _list(report.get("basedOn"))]
    typed = [
        i for i in everything if "ACSN" in {_dict(c).get("code") for c in _list(_dict(i.get("type")).get("coding"))}
    ]
    first = [value for resource in (*orders, report) for value in _identifiers(resource)]
    return next((_text(i.get("value")) for i in typed), "") or next(iter(first), "")


def _concept(value: Any) -> str:
    value = _dict(value)
    displays = [_text(_dict(coding).get("display")) for coding in _list(value.get("coding"))]
    return _text(value.get("text")) or next(filter(None, displays), "")


def _body(report: _Resource, directory: Directory) -> str:
    """The presented form that reads best, and the conclusion where the form lacks it; else results and narrative."""
    forms = [_dict(form) for form in _list(report.get("presentedForm"))]
    held = [form for form in forms if form.get("data")]
    held.sort(key=lambda form: _rank(_text(form.get("contentType"))))
    text, problem = "", None
    for form in held:
        try:
            text = text_of(from_base64(_text(form["data"]))).strip()
        except Unreadable as error:
            problem = problem or error
        if text:
            break
    if not text:
        values = [_observation(directory.find(item, report)) for item in _list(report.get("result"))]
        text = "\n".join(filter(None, values))
    conclusion = _text(report.get("conclusion")).strip()
    if conclusion and _squeezed(conclusion) not in _squeezed(text):
        text = f"{text}\n{conclusion}".strip()
    notes = [_text(_dict(note).get("text")) for note in _list(report.get("note"))]
    text = "\n".join(part for part in (text, *notes) if part)
    if not text:
        text = text_of_html(_text(_dict(report.get("text")).get("div")))
    if not text and problem is not None:
        raise problem
    if not text and any(form.get("url") for form in forms):
        raise Unreadable("external_document")
    return text


def _rank(content_type: str) -> int:
    plain = content_type.split(";")[0].strip().lower()
    return _FORMS.index(plain) if plain in _FORMS else len(_FORMS)


def _observation(resource: _Resource) -> str:
    title = _concept(resource.get("code"))
    quantity = _dict(resource.get("valueQuantity"))
    value = _text(resource.get("valueString")) or _concept(resource.get("valueCodeableConcept"))
    value = value or " ".join(filter(None, (_text(quantity.get("value")), _text(quantity.get("unit")))))
    return f"{title} : {value}" if title and value else value


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _dict(value: Any) -> _Resource:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""
