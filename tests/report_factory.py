"""Made-up reports of one patient in every format that is read. All names are invented."""

# ruff: noqa: E501 - messages have long lines
from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path

PLANTED = ("kerbratec", "ollivierou", "armelline", "plougasnouet", "corentine", "quiberonnec", "locronan", "8000077", "goelandes",
           "tregastelou", "acc00001")  # fmt: skip
BODY = (
    "INDICATION : douleur du genou chez Armelline Kerbratec née Ollivierou, accompagnée de Corentine Plougasnouet.\n"
    "RESULTATS : Épanchement modéré ; avis de Quiberonnec. Dossier 8000077.\n"
    "CONCLUSION : arthrose fémoro-tibiale. Relu par Locronan."
)
LINES = BODY.split("\n")


def rtf(text: str = BODY) -> bytes:
    """An RTF document in code page 1252, with a picture and a font table to skip."""
    escaped = "".join(c if c.isascii() else f"\\'{c.encode('cp1252').hex()}" for c in text.replace("\n", "\\par\n"))
    return (
        "{\\rtf1\\ansi\\ansicpg1252\\deff0{\\fonttbl{\\f0\\fnil Arial;}}{\\*\\generator Logiciel}"
        f"{{\\pict\\pngblip 89504e47}}\\f0 {escaped}\\par}}"
    ).encode("ascii")


def html(text: str = BODY) -> str:
    """A page with a paragraph per line."""
    paragraphs = "".join(f"<p>{line}</p>" for line in text.split("\n"))
    return f"<html><head><title>x</title><style>p {{}}</style></head><body>{paragraphs}</body></html>"


def pdf(pages: list[list[tuple[float, float, str]]], *, images: bool = False, encrypted: bool = False) -> bytes:
    """A PDF in Helvetica: each page a list of (x, y, text) in points, drawn in the given order."""
    objects: list[bytes] = []

    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    add(b"<< /Type /Catalog /Pages 2 0 R >>")
    add(b"")
    font = add(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    raw = zlib.compress(bytes([200]) * 64)
    image = add(
        b"<< /Type /XObject /Subtype /Image /Width 8 /Height 8 /ColorSpace /DeviceGray /BitsPerComponent 8 /Filter /FlateDecode "
        b"/Length %d >>\nstream\n%s\nendstream" % (len(raw), raw)
    )
    kids = []
    for page in pages:
        commands = [b"q 595 0 0 842 0 0 cm /Im0 Do Q"] if images else []
        for x, y, text in page:
            safe = text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
            commands.append(b"BT /F0 11 Tf %d %d Td (%s) Tj ET" % (x, y, safe))
        stream = b"\n".join(commands)
        content = add(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        resources = b"<< /Font << /F0 %d 0 R >> /XObject << /Im0 %d 0 R >> >>" % (font, image)
        kids.append(
            add(
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R /Resources %s >>"
                % (content, resources)
            )
        )
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), b" ".join(b"%d 0 R" % kid for kid in kids))
    trailer = b"/Root 1 0 R"
    if encrypted:
        lock = add(b"<< /Filter /Standard /V 1 /R 2 /Length 40 /P -4 /O <%s> /U <%s> >>" % (b"41" * 32, b"42" * 32))
        trailer += b" /Encrypt %d 0 R /ID [<%s> <%s>]" % (lock, b"43" * 16, b"43" * 16)
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
    out.write(b"trailer\n<< /Size %d %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start))
    return out.getvalue()


def pdf_of(text: str = BODY) -> bytes:
    """One page with a line per line of ``text``."""
    return pdf([[(40, 780 - 16 * n, line) for n, line in enumerate(text.split("\n"))]])


def docx(path: Path, text: str = BODY) -> None:
    """A Word document: first line in the page header, second in a table, third in a text box, fourth inserted."""
    import docx as word
    from docx.oxml import parse_xml
    from docx.oxml.ns import nsdecls

    first, second, third = text.split("\n")[:3]
    document = word.Document()
    document.sections[0].header.paragraphs[0].text = "Service de radiologie, Dr Locronan"
    document.add_paragraph(first)
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = second.split(" : ", 1)
    box = (
        f'<w:p {nsdecls("w")} xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
        'xmlns:v="urn:schemas-microsoft-com:vml"><w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:txbxContent>'
        f"<w:p><w:r><w:t>{third}</w:t></w:r></w:p></w:txbxContent></mc:Choice><mc:Fallback><w:txbxContent><w:p><w:r>"
        f"<w:t>{third}</w:t></w:r></w:p></w:txbxContent></mc:Fallback></mc:AlternateContent></w:r></w:p>"
    )
    added = f'<w:p {nsdecls("w")}><w:ins w:id="1" w:author="x"><w:r><w:t>Texte inséré.</w:t></w:r></w:ins><w:del w:id="2" w:author="x"><w:r><w:delText>effacé</w:delText></w:r></w:del></w:p>'
    body = document.element.body
    for part in (box, added):
        body.insert(len(body) - 1, parse_xml(part))
    document.save(str(path))


def oru(number: int = 1, lines: list[str] | None = None, charset: str = "8859/1", obx: list[str] | None = None) -> str:
    """An ORU^R01 message with a maiden name, a next of kin and two physicians."""
    if obx is None:
        texts = lines or LINES
        obx = [f"OBX|{n}|TX|18782-3^Compte rendu^LN||{text}||||||F" for n, text in enumerate(texts, 1)]
    return "\r".join(
        [
            f"MSH|^~\\&|RIS|HOP|DPI|HOP|20240503103000||ORU^R01^ORU_R01|M{number}|P|2.5|||||FRA|{charset}",
            "PID|1||8000077^^^HOP&1.2.3&ISO^PI~250017700012345^^^INS^NH||Kerbratec^Armelline^^^Mme^^D~Ollivierou^Armelline^^^^^L||19500112|F"
            "|||3 rue des Goelandes^^Tregastelou^^22730^FRA||0612345678||||||",
            "NK1|1|Plougasnouet^Corentine^^^|SIS",
            "PV1|1|I|RAD||||991^Quiberonnec^Gwenolae^^^Dr||||||||||||770001",
            "ORC|RE|P1|F1",
            f"OBR|1|P1|ACC{number:05d}|GENOU^Radiographie du genou|||20240503101500||||||||||||||||||F|||||||Locronan&Yseult",
            *obx,
        ]
    )


def fhir(number: int = 1, form: bytes | None = None, kind: str = "text/plain") -> list[dict]:
    """Patient, Practitioner, RelatedPerson and DiagnosticReport."""
    report = {
        "resourceType": "DiagnosticReport", "id": f"r{number}", "status": "final",
        "identifier": [{"type": {"coding": [{"code": "ACSN"}]}, "value": f"ACC{number:05d}"}],
        "subject": {"reference": "Patient/p1"}, "effectiveDateTime": "2024-05-03T10:15:00+02:00",
        "code": {"text": "Radiographie du genou"},
        "performer": [{"reference": "Practitioner/d1"}], "resultsInterpreter": [{"display": "Dr Gwenolae QUIBERONNEC"}],
        "conclusion": LINES[2],
    }  # fmt: skip
    data = BODY.encode() if form is None else form
    report["presentedForm"] = [{"contentType": kind, "data": base64.b64encode(data).decode()}]
    return [
        {
            "resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1950-01-12",
            "identifier": [{"type": {"coding": [{"code": "MR"}]}, "value": "8000077"}],
            "name": [{"use": "usual", "family": "Kerbratec", "given": ["Armelline"]}, {"use": "maiden", "family": "Ollivierou"}],
            "address": [{"line": ["3 rue des Goelandes"], "city": "Tregastelou", "postalCode": "22730"}],
            "telecom": [{"system": "phone", "value": "+33 6 12 34 56 78"}],
        },
        {"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Locronan", "given": ["Yseult"]}]},
        {"resourceType": "RelatedPerson", "id": "s1", "patient": {"reference": "Patient/p1"}, "name": [{"family": "Plougasnouet", "given": ["Corentine"]}]},
        report,
    ]  # fmt: skip


def bundle(resources: list[dict]) -> bytes:
    """The resources as a Bundle with urn addresses, reports pointing at them."""
    text = json.dumps(
        {"resourceType": "Bundle", "type": "collection",
         "entry": [{"fullUrl": f"http://hopital.example/fhir/{r['resourceType']}/{r['id']}", "resource": r} for r in resources]},
        ensure_ascii=False,
    )  # fmt: skip
    return text.encode()


def cda(body: str | None = None, encoding: str = "utf-8") -> bytes:
    """A CDA R2 document with sections, a table and a list."""
    narrative = body or (
        "<structuredBody><component><section><title>Indication</title><text><paragraph>"
        + LINES[0]
        + "</paragraph></text></section></component>"
        "<component><section><title>Résultats</title><text><list><item>"
        + LINES[1]
        + "</item></list><table><tbody><tr><td>Genou</td><td>droit</td></tr>"
        "</tbody></table></text><component><section><text>"
        + LINES[2]
        + "</text></section></component></section></component></structuredBody>"
    )
    person = "<name><given>{}</given><family>{}</family></name>"
    return (
        f'<?xml version="1.0" encoding="{encoding}"?><ClinicalDocument xmlns="urn:hl7-org:v3"><title>Compte rendu de radiologie</title>'
        '<effectiveTime value="20240503101500+0200"/><recordTarget><patientRole><id root="1.2.3" extension="8000077"/>'
        '<id root="1.2.250.1.213.1.4.8" extension="250017700012345"/><addr><streetAddressLine>3 rue des Goelandes</streetAddressLine><postalCode>22730</postalCode>'
        '<city>Tregastelou</city></addr><telecom value="tel:0612345678"/><patient><name><given>Armelline</given>'
        '<family qualifier="SP">Kerbratec</family><family qualifier="BR">Ollivierou</family></name><administrativeGenderCode code="F"/>'
        '<birthTime value="19500112"/></patient></patientRole></recordTarget>'
        f"<author><assignedAuthor><assignedPerson>{person.format('Gwenolae', 'Quiberonnec')}</assignedPerson><representedOrganization>"
        "<name>Hopital</name></representedOrganization></assignedAuthor></author>"
        f"<legalAuthenticator><assignedEntity><assignedPerson><name>Dr Locronan</name></assignedPerson></assignedEntity></legalAuthenticator>"
        f"<participant><associatedEntity><associatedPerson>{person.format('Corentine', 'Plougasnouet')}</associatedPerson></associatedEntity></participant>"
        '<inFulfillmentOf><order><id root="1.2" extension="ACC00001"/></order></inFulfillmentOf>'
        f"<component>{narrative}</component></ClinicalDocument>"
    ).encode(encoding)


def sr(path: Path, *, encapsulated: bytes | None = None, kind: str = "1.2.840.10008.5.1.4.1.1.88.11") -> None:
    """A Basic Text SR, or an encapsulated document."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    def code(meaning: str) -> Sequence:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99X", meaning
        return Sequence([item])

    def content(value_type: str, title: str, **values: object) -> Dataset:
        item = Dataset()
        item.ValueType, item.RelationshipType, item.ConceptNameCodeSequence = value_type, "CONTAINS", code(title)
        for name, value in values.items():
            setattr(item, name, value)
        return item

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = kind
    data.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    data.SOPClassUID, data.SOPInstanceUID = kind, data.file_meta.MediaStorageSOPInstanceUID
    data.SpecificCharacterSet = "ISO_IR 192"
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = (
        "Kerbratec^Armelline",
        "8000077",
        "19500112",
        "F",
    )
    data.PatientBirthName, data.PatientAddress = "Ollivierou^Armelline", "3 rue des Goelandes Tregastelou"
    data.AccessionNumber, data.StudyDate, data.StudyDescription, data.Modality = "ACC00001", "20240503", "Genou", "SR"
    data.ReferringPhysicianName = "Quiberonnec^Gwenolae"
    verifier = Dataset()
    verifier.VerifyingObserverName = "Locronan^Yseult"
    data.VerifyingObserverSequence = Sequence([verifier])
    if encapsulated is not None:
        data.EncapsulatedDocument = encapsulated + b"\0" * (len(encapsulated) % 2)
        data.ReferringPhysicianName, data.ResponsiblePerson = "Quiberonnec^Gwenolae", "Plougasnouet^Corentine"
    else:
        inner = content(
            "CONTAINER", "Résultats", ContentSequence=Sequence([content("TEXT", "Résultats", TextValue=LINES[1])])
        )
        data.ValueType, data.ConceptNameCodeSequence = "CONTAINER", code("Compte rendu")
        data.ContentSequence = Sequence(
            [
                content("PNAME", "Accompagnant", PersonName="Plougasnouet^Corentine"),
                content("TEXT", "Indication", TextValue=LINES[0]),
                inner,
                content("CODE", "Côté", ConceptCodeSequence=code("Droit")),
                content("TEXT", "Conclusion", TextValue=LINES[2]),
            ]
        )
    data.save_as(path, enforce_file_format=True)
