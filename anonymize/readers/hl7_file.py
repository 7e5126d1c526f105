"""HL7 v2 messages with reports (ORU^R01, MDM^T02): one or many in a file, in MLLP frames or batches."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

import hl7

from anonymize.policy import Files
from anonymize.readers.content import from_base64, text_of
from anonymize.readers.encoding import decode
from anonymize.readers.problems import MAXIMUM_FILE, Unreadable
from anonymize.readers.record import Name, Record, iso_date, phone_tail, take_names, unique

_CHARSETS = {
    "ASCII": "", "8859/1": "iso8859-1", "8859/2": "iso8859-2", "8859/15": "iso8859-15", "8859/9": "iso8859-9",
    "UNICODE UTF-8": "utf-8", "UNICODE": "utf-8", "UTF-8": "utf-8", "UNICODE UTF-16": "utf-16", "WINDOWS-1252": "cp1252",
}  # fmt: skip
"""HL7 table 0211 and what senders write instead; empty = found from the bytes."""
_START = re.compile(rb"(?:^|(?<=[\r\n\x0b]))(?=MSH[^\w\s])")
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}(?:\||$)")
_USES = {"L": "legal", "D": "usual", "M": "birth", "B": "birth", "N": "other", "A": "other"}
# fields with people (XCN, or XPN where marked): attending, referring, requesting, reading, relatives
_PEOPLE = {
    "PV1": (7, 8, 9, 17, 52), "PD1": (4,), "OBR": (10, 16, 28), "ORC": (10, 11, 12, 19), "OBX": (16,), "ROL": (4,),
    "TXA": (5, 9, 10, 11, 22, 23), "PRT": (5,), "ZBR": (),
}  # fmt: skip
_READERS = (
    32,
    33,
    34,
    35,
)  # OBR: interpreters, technicians, transcriptionists (NDL: the person is the first component)
_RELATIVES = {"NK1": (2, 30), "GT1": (3,), "IN1": (16,), "PID": (6, 9)}
_DELETED = ("D", "W")  # OBX-11
_SPECIAL = {
    "F": "|",
    "S": "^",
    "T": "&",
    "R": "~",
    "E": "\\",
    ".br": "\n",
    ".sp": "\n",
    ".ce": "\n",
    ".fi": "",
    ".nf": "",
}


def records(stream: IO[bytes], config: Files) -> Iterator[Record]:
    """A record per report of each message, in order; a message without one is a record with its problem."""
    start = stream.peek(1)[:1] if isinstance(stream, io.BufferedReader) else b""
    framed = start == b"\x0b"
    for message in _messages(stream):
        if message is None:
            yield Record(problem="too_large")
            continue
        if framed and b"\x1c" not in message:
            yield Record(problem="truncated_file")  # an MLLP frame that is not closed
            continue
        try:
            yield from _reports(_Message(message), config)
        except Unreadable as problem:
            yield Record(problem=problem.reason)
        except (hl7.HL7Exception, KeyError, IndexError, ValueError):
            yield Record(problem="damaged_file")


def _messages(stream: IO[bytes]) -> Iterator[bytes | None]:
    """The bytes of each message; None for one that is too long."""
    waiting, long = b"", False
    while chunk := stream.read(4 * 1024 * 1024):
        parts = _START.split(waiting + chunk)
        for part in parts[:-1]:
            if part.startswith(b"MSH"):
                yield None if long else part
            long = False
        waiting = parts[-1]
        if len(waiting) > MAXIMUM_FILE:
            waiting, long = waiting[:64], True
    if waiting.startswith(b"MSH"):
        yield None if long else waiting


class _Message:
    """A parsed message. Fields are asked for by segment and number, as the standard counts them."""

    def __init__(self, data: bytes) -> None:
        framed = b"\x1c" in data
        body = re.split(rb"[\r\n\x0b]+(?:BTS|FTS|BHS|FHS)[^\w\s]", data.split(b"\x1c")[0])[0]
        named = body.split(b"\n")[0].split(b"\r")[0].split(body[3:4])
        charset = named[17].split(body[5:6])[0].decode("ascii", "replace").strip().upper() if len(named) > 17 else ""
        self.codec = _CHARSETS.get(charset, "")
        if self.codec:
            try:
                text = body.decode(self.codec)
            except UnicodeDecodeError:
                raise Unreadable("wrong_encoding") from None
        else:
            text, self.codec = decode(body)
        if "\0" in text:
            raise Unreadable("nul_byte")
        if not framed and not re.search(r"[\r\n]", text):
            raise Unreadable("truncated_file")
        self.separators = text[3:8]
        escape = re.escape(self.separators[3])
        self._escapes = re.compile(
            rf"{escape}(X[0-9A-Fa-f]*|\.\w+[+-]?\d*|[FSTREHNP]|[CMZ][^{escape}]{{1,12}}){escape}"
        )
        self.segments = hl7.parse("\r".join(_segments(text)) + "\r", encoding="utf-8")

    def plain(self, value: str) -> str:
        """``value`` with its escape sequences resolved (chapter 2.7)."""
        return self._escapes.sub(self._escape, value) if self.separators[3] in value else value

    def _escape(self, match: re.Match[str]) -> str:
        code = match[1].lower() if match[1].startswith(".") else match[1]
        if code.startswith("X"):
            return bytes.fromhex(code[1 : len(code) // 2 * 2 + 1]).decode(self.codec or "latin-1", "replace")
        if code.startswith(".in") or code.startswith(".ti"):
            return ""
        if code[:3] in _SPECIAL:
            return _SPECIAL[code[:3]] * (int(code[3:]) if code[3:].isdigit() and int(code[3:]) < 20 else 1)
        return {"F": self.separators[0], "S": self.separators[1], "T": self.separators[4:5], "R": self.separators[2],
                "E": self.separators[3]}.get(code, "")  # fmt: skip

    def repeats(self, segment: hl7.Segment, number: int, *, blank: bool = False) -> list[list[list[str]]]:
        """The repeats of a field: components: subcomponents, not yet unescaped. ``blank`` keeps empty ones."""
        if number >= len(segment):
            return []
        found = []
        for repeat in segment[number]:
            components = repeat if isinstance(repeat, hl7.Repetition) else [repeat]
            found.append([list(map(str, c)) if isinstance(c, hl7.Component) else [str(c)] for c in components])
        return [item for item in found if blank or any(part for component in item for part in component)]

    def value(self, segment: hl7.Segment, number: int, component: int = 1) -> str:
        """The first subcomponent of a component of a field's first repeat."""
        for repeat in self.repeats(segment, number)[:1]:
            if len(repeat) >= component:
                return self.plain(repeat[component - 1][0]).strip()
        return ""


def _segments(text: str) -> Iterable[str]:
    """Segments; a line that starts none is the rest of the one before, broken by a raw line end."""
    found: list[str] = []
    for line in re.split(r"\r\n|\r|\n", text.strip("\x0b\r\n")):
        if _SEGMENT.match(line) or not found:
            found.append(line)
        elif line.strip() or found[-1].startswith(("OBX", "NTE")):
            found[-1] += "\\.br\\" + line
    return [re.sub(r"(?:\\\.br\\)+$", "", line) for line in found if line.strip()]


@dataclass
class _Group:
    """One order of a message: its own fields and the lines of its text."""

    accessions: dict[str, str] = field(default_factory=dict)
    exam: str = ""
    exam_date: str = ""
    staff: list[str] = field(default_factory=list)
    parts: list[tuple[str, str]] = field(default_factory=list)  # title and text
    external: bool = False


def _reports(message: _Message, config: Files) -> Iterator[Record]:
    kind = message.value(message.segments[0], 9)
    patient, groups = Record(), [_Group()]
    done: list[Record] = []
    for segment in message.segments:
        name = str(segment[0])
        if name == "PID":
            done += _finished(patient, groups, config)
            patient, groups = _patient(message, segment, config), [_Group()]
        elif (groups[-1].parts and name in ("OBR", "ORC", "TXA")) or (groups[-1].exam and name in ("OBR", "TXA")):
            groups.append(_Group())
        _people(message, segment, name, patient, groups[-1])
        if name == "PV1":
            patient.visit = message.value(segment, 19) or patient.visit
        elif name in ("OBR", "ORC", "TXA"):
            _order(message, segment, name, groups[-1])
        elif name == "OBX":
            _observation(message, segment, groups[-1])
        elif name == "NTE":
            text = "\n".join(_joined(message, repeat) for repeat in message.repeats(segment, 3, blank=True))
            groups[-1].parts.append(("", text))
    done += _finished(patient, groups, config)
    external = any(group.external for group in groups)
    if any(record.text.strip() for record in done):
        yield from (record for record in done if record.text.strip())
    elif kind in ("ORU", "MDM", "OUL", "ORF", ""):
        yield Record(problem="external_document" if external else "empty_report")
    else:
        yield Record(problem="not_a_report")


def _finished(patient: Record, groups: list[_Group], config: Files) -> list[Record]:
    found = []
    for group in groups:
        titles = unique(title for title, _ in group.parts)
        lines, last = [], ""
        for title, text in group.parts:
            if title and title != last and len(titles) > 1:
                lines.append(f"{title} :" if not title.endswith(":") else title)
            last = title or last
            lines.append(text)
        order = [config.accession_field, "OBR-18", "OBR-3", "ORC-3", "OBR-2", "ORC-2", "TXA-15", "TXA-12"]
        accession = next((group.accessions[key] for key in order if group.accessions.get(key)), "")
        record = Record(**{**vars(patient), "staff": [*patient.staff, *group.staff]})
        record.numbers = [*patient.numbers, *(n for n in group.accessions.values() if n != accession and len(n) > 4)]
        record.accession, record.exam, record.exam_date = accession, group.exam, group.exam_date
        record.text = "\n".join(lines)
        found.append(record)
    return found


def _patient(message: _Message, segment: hl7.Segment, config: Files) -> Record:
    record = Record()
    identifiers = [[message.plain(part[0]) for part in repeat] for repeat in message.repeats(segment, 3)]
    identifiers += [[message.plain(part[0]) for part in r] for n in (2, 4) for r in message.repeats(segment, n)]
    identifiers = [item for item in identifiers if item[0]]
    chosen = next(
        (i for i in identifiers if config.patient_authority and config.patient_authority in (i + [""] * 4)[3:4]), None
    ) or next((i for i in identifiers if (i + [""] * 5)[4] in ("PI", "MR")), identifiers[0] if identifiers else None)
    record.patient = chosen[0] if chosen else ""
    record.numbers = [i[0] for i in identifiers if i[0] != record.patient]
    record.numbers += [message.value(segment, 19), message.value(segment, 20)]
    take_names(record, [_xpn(message, repeat) for repeat in message.repeats(segment, 5)])
    record.birth_date = iso_date(message.value(segment, 7))
    record.sex = message.value(segment, 8) if message.value(segment, 8) in ("F", "M") else ""
    for index, repeat in enumerate(message.repeats(segment, 11)):
        parts = [message.plain(" ".join(filter(None, part))) for part in repeat] + [""] * 5
        if index == 0:
            record.address, record.town, record.postcode = " ".join(filter(None, parts[:2])), parts[2], parts[4]
    phones = [_phone(message, repeat) for number in (13, 14) for repeat in message.repeats(segment, number)]
    phones = unique(phones)
    record.phone = phones[0] if phones else ""
    record.numbers += [phone_tail(phone) for phone in phones[1:]]
    record.visit = message.value(segment, 18)
    return record


def _people(message: _Message, segment: hl7.Segment, name: str, patient: Record, group: _Group) -> None:
    for number in _RELATIVES.get(name, ()):
        patient.staff += [str(_xpn(message, repeat)) for repeat in message.repeats(segment, number)]
    if name == "NK1":
        phones = [_phone(message, repeat) for n in (5, 6) for repeat in message.repeats(segment, n)]
        patient.numbers += [phone_tail(phone) for phone in phones]
    home = patient.staff if name in ("PV1", "PD1", "ROL") else group.staff
    for number in _PEOPLE.get(name, ()):
        home += [_xcn(message, repeat) for repeat in message.repeats(segment, number)]
    for number in _READERS if name == "OBR" else ():
        home += [_xcn(message, [[part] for part in repeat[0]]) for repeat in message.repeats(segment, number)]


def _order(message: _Message, segment: hl7.Segment, name: str, group: _Group) -> None:
    for number in {"OBR": (2, 3, 18), "ORC": (2, 3), "TXA": (12, 15)}[name]:
        if value := message.value(segment, number):
            group.accessions.setdefault(f"{name}-{number}", value)
    if name == "OBR":
        group.exam = group.exam or message.value(segment, 4, 2) or message.value(segment, 4)
        dates = [iso_date(message.value(segment, number)) for number in (7, 22, 6)]
        group.exam_date = group.exam_date or next(filter(None, dates), "")
    if name == "TXA":
        group.exam_date = group.exam_date or iso_date(message.value(segment, 4))


def _observation(message: _Message, segment: hl7.Segment, group: _Group) -> None:
    kind = message.value(segment, 2)
    if message.value(segment, 11) in _DELETED:
        return
    repeats = message.repeats(segment, 5, blank=True)
    title = message.value(segment, 3, 2)
    if kind == "ED":
        for repeat in message.repeats(segment, 5):
            parts = [part[0] for part in repeat]
            group.parts.append(("", text_of(_embedded(message, parts))))
    elif kind == "RP":
        group.external = True
    elif kind in ("CE", "CWE", "CNE"):
        text = ", ".join(message.plain([*repeat, [""]][1][0] or repeat[0][0]) for repeat in repeats)
        group.parts.append(("", f"{title} : {text}" if title else text))
    elif kind in ("NM", "SN", "DT", "TM", "TS", "DTM"):
        value = " ".join(_joined(message, repeat) for repeat in repeats)
        text = " ".join(filter(None, (value, message.value(segment, 6))))
        group.parts.append(("", f"{title} : {text}" if title else text))
    else:
        group.parts.append((title, "\n".join(_joined(message, repeat) for repeat in repeats)))


def _embedded(message: _Message, parts: list[str]) -> bytes:
    """The bytes of an ED field: source ^ type ^ subtype ^ encoding ^ data."""
    data = parts[4] if len(parts) > 4 else parts[-1]
    encoding = parts[3].lower() if len(parts) > 4 else "base64"
    if encoding == "base64":
        return from_base64(data.replace("\\.br\\", ""))
    if encoding == "hex":
        return bytes.fromhex(data)
    return message.plain(data).encode("utf-8")


def _joined(message: _Message, repeat: list[list[str]]) -> str:
    """A text as written: separators that senders forget to escape stand for themselves."""
    component, sub = message.separators[1], (message.separators[4:5] or "&")
    return message.plain(component.join(sub.join(part) for part in repeat))


def _xpn(message: _Message, repeat: list[list[str]]) -> Name:
    """A name; of a family name in parts (FN) the first holds it as a whole."""
    parts = [message.plain(part[0]) for part in repeat] + [""] * 8
    return Name(parts[0], " ".join(filter(None, parts[1:3])), _USES.get(parts[6], "other" if parts[6] else "legal"))


def _xcn(message: _Message, repeat: list[list[str]]) -> str:
    """A person with an identifier before the name; senders also put a name in the identifier's place."""
    parts = [message.plain(part[0]).strip() for part in repeat] + [""] * 8
    first = parts[0] if parts[0] and not re.search(r"\d", parts[0]) else ""
    return " ".join(filter(None, (first.upper(), str(Name(parts[1], " ".join(filter(None, parts[2:4])))))))


def _phone(message: _Message, repeat: list[list[str]]) -> str:
    parts = [message.plain(part[0]) for part in repeat] + [""] * 12
    return parts[0] or parts[11] or " ".join(filter(None, parts[4:7]))
