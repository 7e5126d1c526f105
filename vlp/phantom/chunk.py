"""One chunk of patients: its rows of the tables, its DICOM files and its truth. The unit of work and of resume."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import hashlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pydicom

from anonymize.files import write_bytes_atomic, write_json, write_table
from vlp.phantom import faults
from vlp.phantom.answer_key import answers_of
from vlp.phantom.chance import shuffled, stream
from vlp.phantom.config import PhantomConfig
from vlp.phantom.devices import DEVICES
from vlp.phantom.dicom_writer import Header, write_dicom
from vlp.phantom.facts import View
from vlp.phantom.identities import Directory, PatientIdentity, Person, VisitIdentity, ascii_slug
from vlp.phantom.population import Patient, Visit, make_patient
from vlp.phantom.render import render
from vlp.phantom.reports import ReportWriter, WrittenReport
from vlp.phantom.truth import SCHEMAS, labels_of, object_row
from vlp.study import LABELS


def make_chunk(config: PhantomConfig, out: Path, number: int) -> dict[str, int]:
    """Make the patients ``number * chunk_patients`` and on; write DICOM below ``out`` and the rest to its work folder.

    Returns:
        counts of patients, studies, images, reports and faults. ``done.json`` with them is written last.
    """
    first = number * config.chunk_patients
    last = min(config.patients, first + config.chunk_patients)
    chunk = _Chunk(config, out)
    for index in range(first, last):
        chunk.add(index)
    folder = work_folder(out, number)
    rows = shuffled(stream(config.seed, "row order", number), chunk.report_rows)
    labels = shuffled(stream(config.seed, "label order", number), chunk.label_rows)
    write_bytes_atomic(folder / "reports.csv", b"".join(rows))
    write_bytes_atomic(folder / "labels.csv", b"".join(labels))
    for name, schema in SCHEMAS.items():
        write_table(folder / f"{name}.parquet", chunk.truth[name], schema)
    counts = {name: len(chunk.truth[name]) for name in ("patients", "studies", "images", "reports", "faults")}
    counts |= {f"anatomy {name}": count for name, count in chunk.anatomies.items()}
    write_json(folder / "done.json", counts)
    return counts


def report_lines(config: PhantomConfig, first: int, last: int) -> Iterator[bytes]:
    """Lines of ``reports.csv`` of the patients from ``first`` to before ``last``, without images, truth and faults."""
    chunk = _Chunk(config, Path())
    for index in range(first, last):
        patient = make_patient(config, index, chunk.devices)
        identity = chunk.directory.patient(patient)
        for number, visit in enumerate(patient.visits):
            who = chunk.directory.visit(patient, number)
            report = chunk.writer.write(patient, number, identity, who)
            yield csv_line(chunk._cells(patient, visit, identity, who, report)).encode(config.encoding)


def work_folder(out: Path, number: int) -> Path:
    """Where a chunk keeps its part until all are there."""
    return out / ".work" / f"chunk-{number:06d}"


def csv_line(cells: list[Any]) -> str:
    """One row as hospitals write it: semicolons, quotation marks around cells with line breaks."""
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=";", lineterminator="\r\n").writerow(cells)
    return buffer.getvalue()


class _Shot(NamedTuple):
    """One image to take: view ``k`` of the patient's visit ``number``."""

    patient: Patient
    number: int
    k: int
    view: View
    identity: PatientIdentity
    who: VisitIdentity
    report: WrittenReport

    @property
    def visit(self) -> Visit:
        return self.patient.visits[self.number]


class _Chunk:
    def __init__(self, config: PhantomConfig, out: Path) -> None:
        self.config, self.out = config, out
        self.directory, self.writer = Directory(config), ReportWriter(config)
        self.devices = list(DEVICES)
        self.faults = faults.plan(config)
        self.truth: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.report_rows: list[bytes] = []
        self.label_rows: list[bytes] = []
        self.anatomies: Counter[str] = Counter()

    def add(self, index: int) -> None:
        """One patient with all that belongs to it."""
        patient = make_patient(self.config, index, self.devices)
        identity = self.directory.patient(patient)
        self.truth["patients"].append(
            {
                "patient": index,
                "ipp": identity.ipp,
                "sex": patient.sex,
                "birth_date": patient.birth_date.isoformat(),
                "anatomy": patient.anatomy,
                "site": patient.site,
                "held_out": patient.held_out,
                "identity": list(identity.values().items()),
            }
        )
        for number, visit in enumerate(patient.visits):
            fault = self.faults.get(index, "") if number == 0 else ""
            who = self.directory.visit(patient, number)
            report = self.writer.write(patient, number, identity, who)
            self.anatomies[patient.anatomy] += 1
            self._study(patient, visit, who)
            if fault != "image_without_study":
                self._report(patient, visit, identity, who, report, fault)
                self._labels(visit, who)
            else:
                self._fault(fault, who.accession, "", "no row in reports.csv")
            if fault == "study_without_images":
                self._fault(fault, who.accession, "", "")
                continue
            paths = [
                self._image(_Shot(patient, number, k, view, identity, who, report))
                for k, view in enumerate(visit.exam.views)
            ]
            if fault == "truncated_dicom":
                detail = faults.truncate(self.out / "export" / "dicom" / paths[0])
                self._fault(fault, who.accession, paths[0], detail)
            elif fault == "not_dicom":
                path = str(Path(paths[0]).with_name("IM9999.dcm"))
                self._fault(fault, "", path, faults.write_png_as_dicom(self.out / "export" / "dicom" / path))

    def _fault(self, kind: str, accession: str, path: str, detail: str) -> None:
        self.truth["faults"].append({"kind": kind, "accession": accession, "path": path, "detail": detail})

    def _study(self, patient: Patient, visit: Visit, who: VisitIdentity) -> None:
        exam = visit.exam
        self.truth["studies"].append(
            {
                "accession": who.accession,
                "patient": patient.index,
                "exam_id": exam.exam_id,
                "date": visit.date.isoformat(),
                "anatomy": exam.anatomy,
                "side": exam.side,
                "age_months": exam.age_months,
                "device": exam.device,
                "site": patient.site,
                "bone_age_read": exam.bone_age_read,
                "kl_read": max((k.kl_read for k in exam.knees.values() if not k.prosthesis), default=None),
                "planted_marker": exam.planted_marker,
                "contrast": exam.contrast,
                "facts": json.dumps(dataclasses.asdict(exam), ensure_ascii=False),
                "identity": list(who.values().items()),
                **labels_of(exam),
            }
        )

    def _report(
        self,
        patient: Patient,
        visit: Visit,
        identity: PatientIdentity,
        who: VisitIdentity,
        report: WrittenReport,
        fault: str,
    ) -> None:
        shown = identity
        if fault == "two_patients":
            other = make_patient(self.config, (patient.index + 1) % self.config.patients, self.devices)
            shown = dataclasses.replace(self.directory.patient(other), ipp=identity.ipp)
        cells = self._cells(patient, visit, shown, who, report)
        if fault in ("nul_byte", "empty_report"):
            cells[-1] = faults.damage_text(fault, cells[-1])
        line = csv_line(cells)
        encoding = self.config.encoding
        data = faults.damage_bytes(line, encoding) if fault == "wrong_encoding" else line.encode(encoding)
        self.report_rows += [data] * (2 if fault == "duplicated_row" else 1)
        if fault in ("nul_byte", "empty_report", "wrong_encoding", "duplicated_row", "two_patients"):
            self._fault(fault, who.accession, "", "")
        self.truth["reports"].append(
            {
                "accession": who.accession,
                "patient": patient.index,
                "date": visit.date.isoformat(),
                "style": report.style,
                "held_out": report.held_out,
                "two_exams": report.two_exams,
                "language": self.config.language,
                "text": report.text,
            }
        )
        for span in report.spans:
            row = {"accession": who.accession, "start": span.start, "end": span.end, **dataclasses.asdict(span.phi)}
            self.truth["spans"].append(row)

    def _cells(
        self, patient: Patient, visit: Visit, shown: PatientIdentity, who: VisitIdentity, report: WrittenReport
    ) -> list[str]:
        words = self.writer.words
        values = {
            "ipp": shown.ipp,
            "surname": shown.person.surname.upper(),
            "birth_surname": shown.birth_surname.upper(),
            "first_name": shown.person.first_name,
            "sex": shown.person.sex,
            "birth_date": self.writer.date(shown.birth_date, words["column_date"]),
            "street": shown.place.street,
            "postcode": shown.place.postcode,
            "town": shown.place.town,
            "phone": shown.mobile if patient.index % 3 else shown.phone,
            "nda": who.nda,
            "accession": who.accession,
            "exam_date": self.writer.date(visit.date, words["column_date"]),
            "exam": report.exam_label,
            "prescriber": self.writer.cell("staff_cell", who.prescriber, f"{who.accession}p"),
            "radiologist": self.writer.cell("staff_cell", who.radiologist, f"{who.accession}r"),
            "text": report.text,
        }
        return [values[name] for name in words["columns"]]

    def _labels(self, visit: Visit, who: VisitIdentity) -> None:
        if stream(self.config.seed, who.accession, "labelled").random() >= self.config.labelled_share:
            return
        labels = labels_of(visit.exam)
        cells = [f"{labels[name]:g}" if name in labels else "" for name in LABELS]
        self.label_rows.append(csv_line([who.accession, *cells]).encode("utf-8"))

    def _image(self, shot: _Shot) -> str:
        view, exam = shot.view, shot.visit.exam
        header = self._header(shot)
        radiograph = render(exam, view, self.config.size, self._burned_in(shot))
        path = _path(shot, header)
        write_dicom(self.out / "export" / "dicom" / path, radiograph, exam, view, header, view.seed)
        if self.config.answer_key:
            ds = pydicom.dcmread(self.out / "export" / "dicom" / path)
            self.truth["answers"] += [asdict(answer) for answer in answers_of(ds, exam, radiograph)]
        image_id = f"{exam.exam_id}-{shot.k}"
        height, width = radiograph.pixels.shape
        self.truth["images"].append(
            {
                "image_id": image_id,
                "accession": shot.who.accession,
                "patient": shot.patient.index,
                "path": path,
                "sop_instance_uid": header.sop_uid,
                "projection": view.projection,
                "side": view.side,
                "height": height,
                "width": width,
                "spacing_mm": radiograph.spacing_mm,
                "burned_in": list(radiograph.burned_in),
            }
        )
        self.truth["objects"] += [object_row(image_id, item) for item in radiograph.objects]
        return path

    def _burned_in(self, shot: _Shot) -> tuple[str, ...]:
        visit, identity, who = shot.visit, shot.identity, shot.who
        able = sum(device.burns_in for device in DEVICES.values())
        rng = stream(shot.view.seed, "burned in")
        if not DEVICES[visit.exam.device].burns_in:
            return ()
        if rng.random() >= self.config.burned_in_share * len(DEVICES) / max(1, able):
            return ()
        pattern = self.writer.words["column_date"]
        lines = [
            f"{identity.person.surname.upper()} {identity.person.first_name}",
            f"{self.writer.date(identity.birth_date, pattern)} {identity.person.sex}",
            identity.ipp,
            f"{self.writer.date(visit.date, pattern)} {who.time:%H:%M}",
            who.hospital.name,
        ]
        return tuple(lines[: rng.randint(2, len(lines))])

    def _header(self, shot: _Shot) -> Header:
        visit, view, identity, who = shot.visit, shot.view, shot.identity, shot.who
        shown = {"views_code": view.projection}
        rng = stream(view.seed, "series")
        seed = self.config.seed
        return Header(
            patient_id=identity.ipp,
            family_name=identity.person.surname.upper(),
            given_name=identity.person.first_name,
            birth_name=identity.birth_surname.upper(),
            birth_date=identity.birth_date,
            sex=identity.person.sex,
            address=identity.place.street,
            postcode=identity.place.postcode,
            city=identity.place.town,
            phone=identity.mobile,
            accession=who.accession,
            study_uid=_uid(seed, who.accession),
            series_uid=_uid(seed, who.accession, "series", view.projection, view.side),
            sop_uid=_uid(seed, who.accession, "image", shot.k),
            study_time=dt.datetime.combine(visit.date, who.time),
            referring_physician=_dicom_name(who.prescriber.person),
            radiologist=_dicom_name(who.radiologist.person),
            operator=_dicom_name(who.technician.person),
            institution=who.hospital.name,
            station=f"SALLE{shot.patient.site + 1}{visit.exam.device[:2].upper()}",
            study_description=shot.report.exam_label[:64],
            series_description=self.writer.grammar.say("views", shown, rng).text.upper()[:64],
            series_number=shot.k + 1,
            instance_number=shot.k + 1,
            charset="ISO_IR 100" if shot.patient.site % 2 else "ISO_IR 192",
        )


def _uid(*keys: object) -> str:
    """A UID below 2.25 from the keys (PS3.5 B.2)."""
    digest = hashlib.sha256("/".join(str(key) for key in keys).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def _dicom_name(person: Person) -> str:
    return f"{person.surname.upper()}^{person.first_name}"


def _path(shot: _Shot, header: Header) -> str:
    """Where the file lies: each site has the habit of another archive, one of them with names in the path."""
    day, person, number, k = header.study_time, shot.identity.person, shot.number, shot.k
    surname, first = ascii_slug(person.surname).upper(), ascii_slug(person.first_name).upper()
    habits = (
        f"PA{shot.patient.index:07d}/ST{number:04d}/IM{k + 1:04d}",
        f"{shot.identity.ipp}/{header.accession}/{header.sop_uid}.dcm",
        f"{surname}_{first}_{shot.identity.ipp}/{day:%Y%m%d}_RX{number}/IMG{k + 1:05d}.DCM",
        f"{day:%Y/%m/%d}/{header.study_uid}/{header.sop_uid}.dcm",
    )
    return habits[shot.patient.site % len(habits)]
