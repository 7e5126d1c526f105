"""CDA R2 documents (ISO/HL7 27932): header to identity, narrative of the sections to text."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from anonymize.policy import Files
from anonymize.readers.content import from_base64, text_of
from anonymize.readers.markup import lines_of_tree
from anonymize.readers.problems import Unreadable
from anonymize.readers.record import Name, Record, iso_date, phone_tail, take_names, unique

_PERSONS = frozenset(("informationRecipient", "subject", "relatedSubject"))


def record_of_cda(data: bytes, config: Files) -> Record:
    """The document as one record.

    Raises:
        Unreadable: entity_in_xml, damaged_file, truncated_file, or the reason of an embedded document.
    """
    root = _parse(data)
    record = Record()
    role = root.find("recordTarget/patientRole")
    if role is not None:
        _take_patient(record, role, config)
    others = [root.find(path) for path in ("componentOf/encompassingEncounter/id", "inFulfillmentOf/order/id")]
    record.visit, record.accession = (item.get("extension", "") if item is not None else "" for item in others)
    record.staff += [str(_name(name)) for name in _people(root)]
    performed = root.find("documentationOf/serviceEvent/effectiveTime")
    times = [] if performed is None else [performed.get("value", ""), *(low.get("value", "") for low in performed)]
    times.append(_attribute(root, "componentOf/encompassingEncounter/effectiveTime/low", "value"))
    times.append(_attribute(root, "effectiveTime", "value"))
    record.exam_date = next(filter(None, map(iso_date, times)), "")
    title = root.find("title")
    record.exam = _attribute(root, "documentationOf/serviceEvent/code", "displayName") or (
        " ".join("".join(title.itertext()).split()) if title is not None else ""
    )
    record.text = _body(root)
    return record


def body_of_cda(data: bytes) -> str:
    """The text of a CDA that stands inside another record."""
    return _body(_parse(data))


def _parse(data: bytes) -> Any:
    """The document's tree without namespaces."""
    try:
        root = fromstring(data, forbid_dtd=True)
    except DefusedXmlException:
        raise Unreadable("entity_in_xml") from None
    except ParseError as error:
        end = data.rstrip(b"\0 \r\n\t")
        raise Unreadable("damaged_file" if end.endswith(b"ClinicalDocument>") else "truncated_file") from error
    except (ValueError, LookupError):
        raise Unreadable("wrong_encoding") from None
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
    return root


def _take_patient(record: Record, role: Any, config: Files) -> None:
    identifiers = [node for node in role.findall("id") if node.get("extension")]
    wanted = [n for n in identifiers if config.patient_authority in (n.get("root"), n.get("assigningAuthorityName"))]
    chosen = next(iter(wanted or identifiers), None)
    record.patient = chosen.get("extension") if chosen is not None else ""
    record.numbers = [n.get("extension") for n in identifiers if n is not chosen]
    names = [_name(node) for node in role.findall("patient/name")]
    take_names(record, [part for name in names for part in name.versions()])
    gender = _attribute(role, "patient/administrativeGenderCode", "code")
    record.sex = gender if gender in ("F", "M") else ""
    record.birth_date = iso_date(_attribute(role, "patient/birthTime", "value"))
    address = role.find("addr")
    if address is not None:
        parts = {tag: " ".join(n.text or "" for n in address.iter(tag)) for tag in ("city", "postalCode")}
        street = [n.text or "" for n in address.iter() if n.tag in ("streetAddressLine", "houseNumber", "streetName")]
        record.address, record.town, record.postcode = " ".join(unique(street)), parts["city"], parts["postalCode"]
    values = [node.get("value", "") for node in role.findall("telecom")]
    phones = unique(value.partition(":")[2] for value in values if value.startswith("tel:"))
    record.phone = phones[0] if phones else ""
    record.numbers += [phone_tail(phone) for phone in phones[1:]]


def _people(root: Any) -> list[Any]:
    """Names of everybody but the patient: authors, signers, recipients, relatives, performers.

    A name in parts is a person's wherever it stands; organisations and places have undivided names.
    """
    patient = root.find("recordTarget/patientRole/patient")
    own = set() if patient is None else set(map(id, patient.findall("name")))
    names = [
        name
        for parent in root.iter()
        for name in parent.findall("name")
        if name.find("family") is not None or parent.tag.endswith("Person") or parent.tag in _PERSONS
    ]
    return [name for name in names if id(name) not in own]


class _CdaName:
    """A person's name with all of its family names, by qualifier (BR birth, SP spouse, CL call me)."""

    def __init__(self, node: Any) -> None:
        self.families = [(n.get("qualifier", ""), " ".join((n.text or "").split())) for n in node.findall("family")]
        self.given = " ".join(unique(n.text or "" for n in node.findall("given")))
        if not self.families and not self.given:
            self.families = [("", " ".join("".join(node.itertext()).split()))]
        self.use = node.get("use", "")

    def versions(self) -> list[Name]:
        """One name per family name."""
        uses = {"BR": "birth", "SP": "usual", "CL": "usual"}
        whole = {"L": "legal", "A": "other", "P": "other"}.get(self.use, "legal")
        return [Name(text, self.given, uses.get(qualifier, whole)) for qualifier, text in self.families]

    def __str__(self) -> str:
        return " ".join([*(text.upper() for _, text in self.families), self.given]).strip()


def _name(node: Any) -> _CdaName:
    return _CdaName(node)


def _attribute(root: Any, path: str, name: str) -> str:
    node = root.find(path)
    return node.get(name, "") if node is not None else ""


def _body(root: Any) -> str:
    plain = root.find("component/nonXMLBody/text")
    if plain is not None:
        if plain.get("representation") == "B64":
            return text_of(from_base64("".join(plain.itertext())))
        if plain.find("reference") is not None and not "".join(plain.itertext()).strip():
            raise Unreadable("external_document")
        return "".join(plain.itertext()).strip()
    lines: list[str] = []
    body = root.find("component/structuredBody")
    for section in body.iter("section") if body is not None else ():
        for part in section:  # nested sections come by themselves, in document order
            if part.tag in ("title", "text") and (text := lines_of_tree(part)):
                lines.append(text)
    return "\n".join(lines)
