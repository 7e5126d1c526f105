"""Files with a marker at every place a DICOM file has: built from the standard's structure, not from what the cleaner knows.

A marker is nine characters that no image holds by chance. Dates and numbers are markers too: they are drawn so that no
other value of the file equals them.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dicom_factory import device, film, instance
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

SC, SC_COLOUR, TEXT_SR, PDF = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("7", "7.4", "88.11", "104.1"))


@dataclass
class Marks:
    """The markers given out, and where each was planted."""

    prefix: str = "ZQ"
    places: dict[str, str] = field(default_factory=dict)

    def new(self, where: str) -> str:
        """Another marker: ``ZQ00001XK``."""
        mark = f"{self.prefix}{len(self.places):05d}XK"
        self.places[mark] = where
        return mark

    def note(self, value: str, where: str) -> str:
        """A value of another form, such as a date or a UID."""
        self.places[value] = where
        return value

    def forget(self, count: int) -> None:
        """Drop all but the first ``count``: those of a file that cannot be written."""
        for value in list(self.places)[count:]:
            del self.places[value]


TEXT = {"PN", "LO", "SH", "ST", "LT", "UT", "UC", "UR", "AE", "CS"}
PATIENT = (0x00100020, 0x00080050, 0x0020000D, 0x0020000E, 0x00080018, 0x00080016)  # must stay readable for a run
SHAPE = (0x00280004, 0x00080005, 0x00080060)  # an image without them is refused, which is another test
TWICE = (0x00181000,)  # planted by plant_header


def table_tags(path: Path) -> Iterator[tuple[int, str]]:
    """Tag and VR of every attribute of PS3.15 table E.1-1, read from the table's own file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        parts = line.split(",")
        if len(parts[0]) == 8 and all(c in "0123456789abcdefABCDEF" for c in parts[0]):
            yield int(parts[0], 16), parts[2]


def plant_table(ds: Dataset, marks: Marks, table: Path) -> None:
    """Every attribute of table E.1-1 that holds text, and bytes."""
    for tag, vr in table_tags(table):
        if tag in PATIENT + SHAPE + TWICE or tag >> 16 in (0, 2, 4) or tag >> 16 >= 0x5000:
            continue
        where = f"{tag:08x} {vr}"
        if vr == "PN":
            ds.add_new(tag, vr, f"{marks.new(where)}^{marks.new(where)}=王^{marks.new(where)}=ワン^{marks.new(where)}")
        elif vr in TEXT:
            ds.add_new(tag, vr, marks.new(where))
        elif vr in ("OB", "UN"):
            ds.add_new(tag, vr, marks.new(where).encode())


def plant_header(ds: Dataset, marks: Marks) -> None:
    """Places that no table lists: unknown and private elements, overlays, curves, icons, wrong VRs, padding."""
    block = ds.private_block(0x0033, marks.new("private creator"), create=True)
    block.add_new(0x01, "LO", marks.new("private LO"))
    block.add_new(0x02, "UN", marks.new("private UN").encode())
    inner = Dataset()
    inner.private_block(0x0035, marks.new("private creator in an item"), create=True).add_new(
        0x01, "PN", marks.new("private PN in an item")
    )
    block.add_new(0x03, "SQ", [inner])
    ds.add_new(0x00331199, "UN", marks.new("private element without creator").encode())
    ds.add_new(0x00080101, "LO", marks.new("unknown tag of an even group"))
    ds.add_new(0x00104001, "UN", marks.new("unknown tag, UN").encode())
    ds.add_new(0x00090010, "LO", marks.new("creator without elements"))
    for group in (0x6000, 0x6002, 0x601E):
        ds.add_new(group << 16 | 0x0010, "US", 8)
        ds.add_new(group << 16 | 0x0011, "US", 64)
        ds.add_new(group << 16 | 0x0022, "LO", marks.new(f"overlay description {group:x}"))
        ds.add_new(group << 16 | 0x1500, "LO", marks.new(f"overlay label {group:x}"))
        ds.add_new(group << 16 | 0x4000, "LT", marks.new(f"overlay comments {group:x}"))
        ds.add_new(group << 16 | 0x3000, "OW", marks.new(f"overlay data {group:x}").encode())
    ds.add_new(0x50000022, "LO", marks.new("curve description"))
    ds.add_new(0x50003000, "OW", marks.new("curve data").encode())
    ds.add_new(0x50002600, "SH", marks.new("curve label"))
    ds.add_new(0xFFFCFFFC, "OB", marks.new("data set trailing padding").encode())
    icon = Dataset()
    icon.Rows = icon.Columns = 4
    icon.SamplesPerPixel, icon.PhotometricInterpretation, icon.BitsAllocated = 1, "MONOCHROME2", 8
    icon.BitsStored, icon.HighBit, icon.PixelRepresentation = 8, 7, 0
    icon.PixelData = marks.new("icon pixels").encode() * 2
    ds.IconImageSequence = [icon]
    signature = Dataset()
    signature.CertificateOfSigner = marks.new("certificate of a digital signature").encode()
    signature.Signature = marks.new("digital signature").encode()
    signature.DigitalSignatureDateTime = marks.note("20210917041337", "date and time of a signature")
    ds.DigitalSignaturesSequence = [signature]
    ds.MACParametersSequence = [_item(MACAlgorithm=marks.new("MAC algorithm"))]
    text = _item(UnformattedTextValue=marks.new("graphic annotation"), TextFormatSequence=[])
    ds.GraphicAnnotationSequence = [_item(GraphicLayer=marks.new("graphic layer"), TextObjectSequence=[text])]
    lut = _item(LUTExplanation=marks.new("LUT explanation"))
    lut.add_new(0x00283002, "US", [8, 0, 16])
    lut.add_new(0x00283006, "OW", bytes(16) + marks.new("tail of LUT data").encode())
    ds.VOILUTSequence = [lut]
    ds.ModalityLUTSequence = [_item(LUTExplanation=marks.new("modality LUT explanation"))]
    for keyword in ("WindowCenterWidthExplanation", "RescaleType", "PixelSpacingCalibrationDescription"):
        setattr(ds, keyword, marks.new(keyword))
    ds.OtherPatientIDsSequence = [_item(PatientID=marks.new("other patient identifier"), TypeOfPatientID="TEXT")]
    ds.InstanceCreationDate = marks.note("19930417", "a date")
    ds.PatientBirthDate = marks.note("19710823", "birth date")
    ds.PatientBirthTime = marks.note("041713.4711", "birth time")
    ds.DeviceSerialNumber = marks.new("device serial number")
    ds.FrameOfReferenceUID = marks.note("1.2.826.0.1.98765.4711.1", "frame of reference UID")
    ds.ReferencedImageSequence = [
        _item(
            ReferencedSOPClassUID=SC, ReferencedSOPInstanceUID=marks.note("1.2.826.0.1.98765.4711.2", "referenced UID")
        )
    ]


def plant_nested(ds: Dataset, marks: Marks) -> None:
    """Names one to three levels deep, in sequences that may stay and in others."""
    for keyword in ("AnatomicRegionSequence", "ViewCodeSequence", "RequestAttributesSequence", "SourceImageSequence",
                    "ReferencedStudySequence", "ProcedureCodeSequence", "OriginalAttributesSequence"):  # fmt: skip
        deep: Dataset | None = None
        for level in (3, 2, 1):
            item = _item(
                PatientName=marks.new(f"{keyword}, level {level}"),
                CodeMeaning=marks.new(f"code meaning in {keyword}, level {level}"),
                CodeValue=marks.new(f"code value in {keyword}, level {level}")[:16],
                CodingSchemeDesignator="99LOCAL",
                PatientComments=marks.new(f"comments in {keyword}, level {level}"),
            )
            if deep is not None:
                setattr(
                    item, "PurposeOfReferenceCodeSequence" if level == 2 else "AnatomicRegionModifierSequence", [deep]
                )
            deep = item
        assert deep is not None
        setattr(ds, keyword, [deep])


def plant_wrong_vr(ds: Dataset, marks: Marks) -> None:
    """A name where a number, a date, an age or a code is expected: bytes that no writer would let pass."""
    for tag, vr in ((0x00200013, "IS"), (0x00180060, "DS"), (0x00181150, "IS"), (0x00281050, "DS"), (0x00101010, "AS"),
                    (0x00080022, "DA"), (0x00080032, "TM"), (0x0008002A, "DT"), (0x00185101, "CS"), (0x00200062, "CS"),
                    (0x00101030, "DS"), (0x00081150, "UI"), (0x00180015, "CS"), (0x00280030, "DS")):  # fmt: skip
        value = marks.new(f"text in {tag:08x} {vr}").encode()
        ds._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)


def plant_charsets(ds: Dataset, marks: Marks, charset: str) -> None:
    """Names in another character set; what is searched is the name as a person reads it."""
    ds.SpecificCharacterSet = {"latin-1": "ISO_IR 100", "utf-8": "ISO_IR 192", "gb18030": "GB18030",
                               "jis": ["", "ISO 2022 IR 87"]}[charset]  # fmt: skip
    name = {"latin-1": "Ñándúçöë", "utf-8": "Łukaszewičž", "gb18030": "欧阳锋甲乙", "jis": "山田太郎丙丁"}[charset]
    ds.PatientName = marks.note(name, f"name in {charset}") + "^" + marks.new(f"given name in {charset}")
    ds.PatientComments = name + " " + marks.new(f"comment in {charset}")


def meta(ds: Dataset, marks: Marks) -> None:
    """File meta information and preamble."""
    ds.preamble = marks.new("preamble").encode().ljust(128, b"\0")
    ds.file_meta.SourceApplicationEntityTitle = marks.new("source AE title")
    ds.file_meta.SendingApplicationEntityTitle = marks.new("sending AE title")
    ds.file_meta.ReceivingApplicationEntityTitle = marks.new("receiving AE title")
    ds.file_meta.ImplementationVersionName = marks.new("implementation version name")
    ds.file_meta.PrivateInformationCreatorUID = marks.note("1.2.826.0.1.98765.4711.9", "private information creator")
    ds.file_meta.PrivateInformation = marks.new("private information").encode()


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def written(ds: Dataset, tail: bytes = b"") -> bytes:
    """The file's bytes, with ``tail`` behind the data set."""
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue() + tail


# -- kinds of objects ---------------------------------------------------------------------------------------------------


def radiograph(modality: str, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    """A CR or DX film."""
    return instance(with_device=device(modality=modality, transfer_syntax=syntax))


def secondary_capture(colour: bool) -> Dataset:
    """A secondary capture, grey of 8 bits or RGB."""
    ds = instance(pixels=film((64, 48)))
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = SC_COLOUR if colour else SC
    ds.Modality, ds.ConversionType = "OT", "WSD"
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    grey = (film((64, 48)) >> 4).astype("u1")
    ds.PixelData = (grey[..., None].repeat(3, -1) if colour else grey).tobytes()
    if colour:
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        for keyword in ("WindowCenter", "WindowWidth", "PresentationLUTShape"):
            ds.pop(keyword, None)
    return ds


def structured_report(marks: Marks) -> Dataset:
    """A Basic Text SR with every value type that holds text or links."""
    ds = _document(TEXT_SR, "SR")
    name = _item(CodeValue="121070", CodingSchemeDesignator="DCM", CodeMeaning=marks.new("SR concept meaning"))

    def content(kind: str, **values: object) -> Dataset:
        return _item(RelationshipType="CONTAINS", ValueType=kind, ConceptNameCodeSequence=[name], **values)

    code = _item(CodeValue="T1", CodingSchemeDesignator="99LOCAL", CodeMeaning=marks.new("SR code meaning"))
    image = _item(ReferencedSOPClassUID=SC, ReferencedSOPInstanceUID=marks.note("1.2.826.0.1.98765.4711.5", "SR image"))
    nested = content("CONTAINER", ContinuityOfContent="SEPARATE")
    nested.ContentSequence = [content("TEXT", TextValue=f"Patient {marks.new('SR text, two levels deep')} revu")]
    ds.ValueType, ds.ContinuityOfContent, ds.ConceptNameCodeSequence = "CONTAINER", "SEPARATE", [name]
    ds.ContentSequence = [
        content("TEXT", TextValue=f"M. {marks.new('SR TEXT')} a chuté."),
        content("PNAME", PersonName=f"{marks.new('SR PNAME')}^{marks.new('SR PNAME')}"),
        content("UIDREF", UID=marks.note("1.2.826.0.1.98765.4711.6", "SR UIDREF")),
        content("DATE", Date=marks.note("19880229", "SR DATE")),
        content("DATETIME", DateTime=marks.note("19880229041337", "SR DATETIME")),
        content("CODE", ConceptCodeSequence=[code]),
        content("IMAGE", ReferencedSOPSequence=[image]),
        nested,
    ]
    ds.VerifyingObserverSequence = [
        _item(
            VerifyingObserverName=marks.new("verifying observer"),
            VerifyingOrganization=marks.new("verifying organisation"),
            VerificationDateTime=marks.note("20190307041337", "verification time"),
        )
    ]
    ds.AuthorObserverSequence = [
        _item(PersonName=marks.new("author"), InstitutionName=marks.new("author's institution"))
    ]
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "VERIFIED"
    return ds


def encapsulated_pdf(marks: Marks) -> Dataset:
    """An encapsulated PDF: text, metadata, an attachment, a title; streams are deflated."""
    ds = _document(PDF, "DOC")
    ds.DocumentTitle, ds.MIMETypeOfEncapsulatedDocument = marks.new("document title"), "application/pdf"
    ds.BurnedInAnnotation = "YES"
    ds.SourceInstanceSequence = [
        _item(
            ReferencedSOPClassUID=SC,
            ReferencedSOPInstanceUID=marks.note("1.2.826.0.1.98765.4711.7", "source of the PDF"),
        )
    ]
    ds.ListOfMIMETypes = marks.new("MIME types")
    pdf = _pdf(marks.new("PDF text"), marks.new("PDF author"), marks.new("PDF attachment"), marks.new("PDF comment"))
    ds.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    ds.EncapsulatedDocumentLength = len(pdf)
    return ds


def _document(sop_class: str, modality: str) -> Dataset:
    ds = instance(pixels=film((16, 16)))
    for element in [e for e in ds if e.tag.group in (0x0018, 0x0028, 0x7FE0)]:
        del ds[element.tag]
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.Modality = modality
    return ds


def _pdf(text: str, author: str, attachment: str, comment: str) -> bytes:
    page = zlib.compress(f"BT /F1 12 Tf 72 700 Td (Patient {text} vu ce jour) Tj ET".encode())
    file = zlib.compress(f"attached: {attachment}".encode())
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /Names << /EmbeddedFiles << /Names [(a.txt) 7 0 R] >> >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(page), page),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Author (%s) /Title (t) >>" % author.encode(),
        b"<< /Type /Filespec /F (a.txt) /EF << /F 8 0 R >> >>",
        b"<< /Type /EmbeddedFile /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(file), file),
    ]
    out = b"%PDF-1.4\n% " + comment.encode() + b"\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    return out + b"trailer << /Size %d /Root 1 0 R /Info 6 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)


# -- pixels that carry something else -----------------------------------------------------------------------------------


def in_high_bits(ds: Dataset, text: bytes) -> None:
    """Text in the bits above BitsStored (12 of 16): four bits a pixel."""
    values = bytearray(ds.PixelData)
    for place, byte in enumerate(text):
        values[4 * place + 1] = values[4 * place + 1] & 0x0F | byte & 0xF0
        values[4 * place + 3] = values[4 * place + 3] & 0x0F | (byte & 0x0F) << 4
    ds.PixelData = bytes(values)


def high_bits(ds: Dataset) -> bytes:
    """What :func:`in_high_bits` wrote."""
    data = ds.PixelData
    return bytes(data[at + 1] & 0xF0 | data[at + 3] >> 4 for at in range(0, len(data) - 3, 4))


def behind_the_frames(ds: Dataset, text: bytes) -> None:
    """Rows of padding behind the last frame of native pixels."""
    ds.PixelData = ds.PixelData + text + b"\0" * (len(text) % 2)


def in_frame(ds: Dataset, text: bytes, where: str) -> None:
    """Text inside encapsulated pixels: a comment or application segment, an extra fragment, the offset table."""
    (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
    if where in ("COM", "APP1", "APP13", "JPEG 2000 COM"):
        marker = {"COM": b"\xff\xfe", "APP1": b"\xff\xe1", "APP13": b"\xff\xed", "JPEG 2000 COM": b"\xff\x64"}[where]
        body = (b"\0\1" if where == "JPEG 2000 COM" else b"") + text
        place = 4 + int.from_bytes(frame[4:6], "big") if where == "JPEG 2000 COM" else 2
        frame = frame[:place] + marker + (len(body) + 2).to_bytes(2, "big") + body + frame[place:]
    elif where == "behind the end":
        frame += text
    elif where == "unused offsets":
        frame = frame[: 64 - len(text)] + text + frame[64:]
    frame += b"\0" * (len(frame) % 2)
    if where == "offset table":
        table = struct.pack("<I", 0) + text + b"\0" * (-len(text) % 4)
        ds.PixelData = _fragment(table) + _fragment(frame) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    elif where == "extra fragment":
        ds.PixelData = _fragment(b"") + _fragment(frame) + _fragment(text) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    else:
        ds.PixelData = encapsulate([frame])
    ds["PixelData"].is_undefined_length = True


def _fragment(data: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(data)) + data


def in_syntax(ds: Dataset, name: str) -> bytes:
    """The file written in another native transfer syntax."""
    stream = io.BytesIO()
    if name == "big endian":
        data = ds.PixelData
        ds.PixelData = bytes(byte for pair in zip(data[1::2], data[::2], strict=True) for byte in pair)
    syntax = {
        "big endian": ExplicitVRBigEndian,
        "deflated": DeflatedExplicitVRLittleEndian,
        "implicit": ImplicitVRLittleEndian,
    }
    ds.file_meta.TransferSyntaxUID = syntax[name]
    plain = Dataset()
    plain.update({element.tag: element for element in ds})
    plain.file_meta = ds.file_meta
    plain.save_as(stream, enforce_file_format=True, implicit_vr=name == "implicit", little_endian=name != "big endian")
    return stream.getvalue()


MAY_BE_REFUSED = ("behind an RLE frame", "unused offsets of an RLE header")
"""Decoders read on there and find no image: such a file may go to quarantine."""
PIXEL_PLANTS: dict[str, tuple[str, Callable[[Dataset, bytes], None]]] = {
    "COM": ("jpeg", lambda ds, text: in_frame(ds, text, "COM")),
    "APP1": ("jpeg", lambda ds, text: in_frame(ds, text, "APP1")),
    "APP13": ("jpeg", lambda ds, text: in_frame(ds, text, "APP13")),
    "behind the end": ("jpeg", lambda ds, text: in_frame(ds, text, "behind the end")),
    "extra fragment": ("jpeg", lambda ds, text: in_frame(ds, text, "extra fragment")),
    "offset table": ("jpeg", lambda ds, text: in_frame(ds, text, "offset table")),
    "JPEG 2000 COM": ("j2k", lambda ds, text: in_frame(ds, text, "JPEG 2000 COM")),
    "behind a code stream": ("j2k", lambda ds, text: in_frame(ds, text, "behind the end")),
    "behind an RLE frame": ("rle", lambda ds, text: in_frame(ds, text, "behind the end")),
    "unused offsets of an RLE header": ("rle", lambda ds, text: in_frame(ds, text, "unused offsets")),
    "behind native frames": ("native", behind_the_frames),
}
