"""Every format of hospital reports, whole and broken: rows add up, identities are searched, nothing planted survives."""

# ruff: noqa: E501 - messages have long lines
from __future__ import annotations

import base64
import csv
import datetime as dt
import gzip
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import report_factory as make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anonymize import batch
from anonymize.console import Console, UserError
from anonymize.files import read_rows
from anonymize.keys import Keys
from anonymize.policy import Columns, Files, ReportsConfig
from anonymize.quarantine import read_quarantine
from anonymize.readers import RawRow, open_source
from anonymize.readers.problems import REMEDIES
from anonymize.text import fold

KEYS = Keys(b"a test secret of some length")
PATTERN = Files(pattern="{patient}_{surname}_{given_name}_{birth_name}_{accession}_{exam_date}")
NAME = "8000077_KERBRATEC_Armelline_Ollivierou_ACC00001_20240503"
INDEX = (
    "fichier;IPP;NOM;PRENOM;NOM_NAISSANCE;VILLE;NUM_ACCESSION;PRESCRIPTEUR;RADIOLOGUE\n"
    "{0};8000077;KERBRATEC;Armelline;OLLIVIEROU;Tregastelou;ACC00001;Corentine PLOUGASNOUET, Dr G. QUIBERONNEC;Dr LOCRONAN\n"
)


def run(source: Path, **values: object) -> tuple[dict, list[dict]]:
    """Summary and safe rows of a run; rows must add up and every reason have a remedy."""
    out = source.parent / "safe"
    config = ReportsConfig(workers=1, **values)
    summary = batch.run_reports(config, source, out, KEYS, Console("quiet"))
    items = read_quarantine(out / "quarantine" / "reports.parquet")
    assert summary["rows"] == summary["reports"] + len(items)
    assert all(item.remedy == REMEDIES[item.reason] for item in items)
    return summary, read_rows(out / "reports")


def rows_of(path: Path, **values: object) -> tuple[tuple[str, ...], list[RawRow]]:
    source = open_source(path, ReportsConfig(**values))
    return source.headings, list(source.rows())


def records_of(path: Path, **values: object) -> list[dict[str, str]]:
    headings, rows = rows_of(path, **values)
    assert not [row.problem for row in rows if row.problem]
    return [{h.removeprefix("record."): v for h, v in zip(headings, row.values, strict=True)} for row in rows]


def problems_of(path: Path, **values: object) -> list[str]:
    return [row.problem for row in rows_of(path, **values)[1]]


def assert_safe(rows: list[dict], planted: tuple[str, ...] = make.PLANTED) -> None:
    everything = fold("\n".join(str(value) for row in rows for value in row.values()))
    assert "epanchement modere" in everything
    assert [word for word in planted if word in everything] == []


def folder_of(tmp_path: Path, files: dict[str, bytes]) -> Path:
    folder = tmp_path / "export"
    for name, data in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return folder


# -- every format end to end --------------------------------------------------------------------------------------------


def docx_bytes(tmp_path: Path) -> bytes:
    make.docx(tmp_path / "x.docx")
    return (tmp_path / "x.docx").read_bytes()


def sr_bytes(tmp_path: Path, **values: object) -> bytes:
    make.sr(tmp_path / "x.dcm", **values)
    return (tmp_path / "x.dcm").read_bytes()


DOCUMENTS: dict[str, Callable[[Path], bytes]] = {
    "txt": lambda _: make.BODY.encode("cp1252"),
    "rtf": lambda _: make.rtf(),
    "html": lambda _: make.html().encode(),
    "pdf": lambda _: make.pdf_of(),
    "docx": docx_bytes,
}
MESSAGES: dict[str, Callable[[Path], bytes]] = {
    "hl7": lambda _: make.oru().encode("latin-1"),
    "mllp": lambda _: b"\x0b" + make.oru().encode("latin-1") + b"\r\x1c\r",
    "fhir.json": lambda _: make.bundle(make.fhir()),
    "cda.xml": lambda _: make.cda(),
    "sr.dcm": sr_bytes,
    "pdf.dcm": lambda p: sr_bytes(p, encapsulated=make.pdf_of(), kind="1.2.840.10008.5.1.4.1.1.104.1"),
    "cda.dcm": lambda p: sr_bytes(p, encapsulated=make.cda(), kind="1.2.840.10008.5.1.4.1.1.104.2"),
}


@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize("by", ["pattern", "index"])
def test_documents_end_to_end(tmp_path: Path, kind: str, by: str) -> None:
    name = f"{NAME if by == 'pattern' else 'doc1'}.{kind}"
    folder = folder_of(tmp_path, {f"2024/{name}": DOCUMENTS[kind](tmp_path)})
    if by == "index":
        (folder / "liste.csv").write_text(INDEX.format(name), encoding="utf-8")
    files = PATTERN if by == "pattern" else Files(index="liste.csv", name_column="fichier")
    summary, rows = run(folder, files=files)
    assert summary["reports"] == 1
    people = ("plougasnouet", "corentine", "quiberonnec", "locronan") if by == "pattern" else ()
    assert_safe(rows, tuple(word for word in make.PLANTED if word not in people))
    assert rows[0]["study"] == KEYS.pseudonym("study", "ACC00001")


@pytest.mark.parametrize("kind", MESSAGES)
def test_messages_end_to_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"export.{kind}"
    path.write_bytes(MESSAGES[kind](tmp_path))
    summary, rows = run(path)
    assert summary["reports"] == 1
    assert_safe(rows)
    row = rows[0]
    assert row["patient"] == KEYS.pseudonym("patient", "8000077")
    assert row["study"] == KEYS.pseudonym("study", "ACC00001")
    assert (row["sex"], row["age_months"]) == ("F", 891)


def test_a_folder_of_everything_refuses_only_what_is_broken(tmp_path: Path) -> None:
    whole = {f"{name}.{kind}": data(tmp_path) for kind, data in MESSAGES.items() for name in ("a",)}
    whole |= {f"{NAME}.{kind}": data(tmp_path) for kind, data in DOCUMENTS.items()}
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 60_000_000)
    entities = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><ClinicalDocument xmlns="urn:hl7-org:v3"><title>&b;</title></ClinicalDocument>'
    broken = {
        "vide.txt": (b"", "empty_file"),
        "bombe.docx": (bomb.getvalue(), "zip_bomb"),
        "entites.xml": (entities, "entity_in_xml"),
        "coupe.docx": (whole[f"{NAME}.docx"][:-900], "truncated_file"),
        "coupe.pdf": (whole[f"{NAME}.pdf"][:60], "truncated_file"),
        "coupe.rtf": (make.rtf()[:-20], "truncated_file"),
        "coupe.xml": (make.cda()[:-300], "truncated_file"),
        "coupe.json": (make.bundle(make.fhir())[:-40], "damaged_file"),
        "coupe.dcm": (whole["a.sr.dcm"][:600], "truncated_file"),
        "coupe2.dcm": (whole["a.sr.dcm"][:-300], "truncated_file"),
        "scan.pdf": (make.pdf([[], []], images=True), "scanned_page"),
        "tampon.pdf": (make.pdf([[(40, 800, "Page 1")]], images=True), "scanned_page"),
        "secret.pdf": (make.pdf([[(40, 800, "x")]], encrypted=True), "encrypted"),
        "photo.jpg": (b"\xff\xd8\xff\xe0" + b"0" * 99, "scanned_page"),
        "vieux.doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 2000, "old_office_format"),
        "ferme.docx": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
        "programme.exe": (b"MZ\x00\x01\x02\x03" * 90, "unknown_format"),
        "table.csv": (b"a;b\n1;2\n", "table_in_folder"),
        "autre_nom.txt": (b"Examen normal.", "file_name_unmatched"),
        "adt.hl7": (make.oru(obx=[]).replace("ORU^R01^ORU_R01", "ADT^A01").encode(), "not_a_report"),
        ".DS_Store": (b"x", "system_file"),
        "Thumbs.db": (b"x", "system_file"),
        "~$lettre.docx": (b"x", "system_file"),
        "long.txt": (b"mot " * 1_400_000, "too_large"),
        f"{NAME}.nul.txt": (b"Examen\0 normal du genou droit, sans lesion.", "nul_byte"),
    }
    folder = folder_of(tmp_path, whole | {name: data for name, (data, _) in broken.items()})
    os.symlink(folder / "a.hl7", folder / "lien.hl7")
    os.symlink(tmp_path / "nowhere", folder / "mort.hl7")
    os.symlink(tmp_path, folder / "boucle")
    summary, rows = run(folder, files=PATTERN)
    expected: dict[str, int] = {"symbolic_link": 3}
    for _, reason in broken.values():
        expected[reason] = expected.get(reason, 0) + 1
    same = summary["quarantined"].pop("duplicated_row", 0)
    lookup = [json.loads(line) for line in (tmp_path / "safe.private" / "quarantine-lookup-reports.jsonl").open()]
    reasons = {item.ref: item.reason for item in read_quarantine(tmp_path / "safe" / "quarantine" / "reports.parquet")}
    found = {Path(line["source"]).name: reasons[line["ref"]] for line in lookup}
    assert {name: found.get(name) for name in broken} == {name: reason for name, (_, reason) in broken.items()}
    assert summary["quarantined"] == expected
    assert summary["reports"] + same == len(whole)
    assert_safe(rows, tuple(word for word in make.PLANTED if word not in ("plougasnouet", "corentine")))
    public = (
        tmp_path / "safe" / "summary.json",
        *(tmp_path / "safe").rglob("*.json*"),
        *(tmp_path / "safe").rglob("*.yaml"),
    )
    assert not any("kerbratec" in fold(path.read_text()) for path in public if path.is_file())


def test_wrong_endings_do_not_matter(tmp_path: Path) -> None:
    for number, data in enumerate((make.oru().encode("latin-1"), make.bundle(make.fhir()), make.cda())):
        path = tmp_path / f"x{number}.csv"
        path.write_bytes(data)
        assert records_of(path)[0]["patient"] == "8000077"


def test_documents_need_a_patient(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"a.txt": b"Examen normal."})
    with pytest.raises(UserError, match=r"files\.pattern"):
        open_source(folder, ReportsConfig())
    with pytest.raises(UserError, match=r"needs \{patient\}"):
        open_source(folder, ReportsConfig(files=Files(pattern="{accession}")))
    with pytest.raises(UserError, match="no field"):
        open_source(folder, ReportsConfig(files=Files(pattern="{patient}_{telephone}")))
    with pytest.raises(UserError, match="no such file"):
        open_source(folder, ReportsConfig(files=Files(index="x.csv")))


def test_index_and_folder_need_not_agree(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"a.txt": make.BODY.encode(), "b.txt": b"Examen normal du genou."})
    (folder / "i.csv").write_text("fichier;IPP\na.txt;1\nc.txt;2\n")
    summary, rows = run(folder, files=Files(index="i.csv", name_column="fichier"))
    assert summary["quarantined"] == {"not_in_index": 1, "missing_file": 1}
    assert len(rows) == 1


def test_compressed_messages_and_names_of_old_servers(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        {
            "a.hl7.gz": gzip.compress(make.oru().encode("latin-1")),
            "b.csv.gz": gzip.compress(b"a;b"),
            "c.gz": gzip.compress(b"x" * 99)[:20],
        },
    )
    place = os.fsencode(folder) + b"/8000077_LEF\xc8VRE.txt"
    with open(place, "wb") as stream:
        stream.write("Vu LEFÈVRE, épanchement modéré du genou.".encode())
    files = Files(pattern="{patient}_{surname}")
    summary, rows = run(folder, files=files)
    assert summary["quarantined"] == {"table_in_folder": 1, "truncated_file": 1, "two_patients": 2}
    os.remove(folder / "a.hl7.gz")
    _, rows = run(folder, files=files)
    assert_safe(rows, ("lefevre",))
    path = tmp_path / "one.ndjson.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(r) for r in make.fhir()).encode()))
    assert records_of(path)[0]["patient"] == "8000077"


def test_a_folder_of_scans_is_all_quarantine(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"a.pdf": make.pdf([[]], images=True), "b.jpg": b"\xff\xd8\xff\xe0" + b"0" * 99})
    summary, rows = run(folder, files=PATTERN)
    assert (summary["quarantined"], rows) == ({"scanned_page": 2}, [])
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="no files"):
        open_source(folder / "empty", ReportsConfig())


# -- HL7 ----------------------------------------------------------------------------------------------------------------


def one(tmp_path: Path, data: bytes, **values: object) -> list[dict[str, str]]:
    path = tmp_path / "messages.hl7"
    path.write_bytes(data)
    return records_of(path, **values)


def test_hl7_identity(tmp_path: Path) -> None:
    record = one(tmp_path, make.oru().encode("latin-1"))[0]
    assert (record["surname"], record["birth_name"], record["given_name"]) == ("Kerbratec", "Ollivierou", "Armelline")
    assert (record["patient"], record["birth_date"], record["exam_date"]) == ("8000077", "1950-01-12", "2024-05-03")
    assert (record["address"], record["town"], record["postcode"]) == ("3 rue des Goelandes", "Tregastelou", "22730")
    assert (record["phone"], record["visit"], record["accession"]) == ("0612345678", "770001", "ACC00001")
    assert set(record["staff"].split("\n")) >= {"PLOUGASNOUET Corentine", "QUIBERONNEC Gwenolae", "LOCRONAN YSEULT"}
    assert "250017700012345" in record["numbers"]
    assert record["text"] == make.BODY
    other = one(tmp_path, make.oru().encode("latin-1"), files=Files(patient_authority="INS", accession_field="OBR-2"))[
        0
    ]
    assert (other["patient"], other["accession"]) == ("250017700012345", "P1")


@pytest.mark.parametrize(
    ("charset", "codec"), [("8859/1", "latin-1"), ("UNICODE UTF-8", "utf-8"), ("", "cp1252"), ("", "utf-8")]
)
def test_hl7_character_sets(tmp_path: Path, charset: str, codec: str) -> None:
    assert one(tmp_path, make.oru(charset=charset).encode(codec))[0]["text"] == make.BODY


def test_hl7_escapes_repeats_and_broken_lines(tmp_path: Path) -> None:
    obx = [
        "OBX|1|FT|||Ligne un\\.br\\deux \\T\\ trois \\X4142\\ \\XC3A9\\ \\H\\gras\\N\\\\.sp2\\fin~suite||||||F",
        "OBX|2|TX|||coupé par\r\nune fin de ligne|||||",
        "OBX|3|NM|1^Taille||12|mm||||F",
        "OBX|4|TX|||effacé||||||D",
        "OBX|5|TX|||A & B ^ C||||||F",
        "NTE|1||Remarque",
    ]
    text = one(tmp_path, make.oru(obx=obx, charset="UNICODE UTF-8").encode())[0]["text"]
    assert (
        text
        == "Ligne un\ndeux & trois AB é gras\n\nfin\nsuite\ncoupé par\nune fin de ligne|||||\nTaille : 12 mm\nA & B ^ C\nRemarque".replace(
            "ligne|||||", "ligne"
        )
    )


@pytest.mark.parametrize("kind", ["pdf", "rtf", "txt"])
def test_hl7_embedded_documents(tmp_path: Path, kind: str) -> None:
    data = base64.b64encode(DOCUMENTS[kind](tmp_path)).decode()
    obx = [f"OBX|1|ED|PDF^Compte rendu||RIS^Application^{kind}^Base64^{data}||||||F"]
    text = one(tmp_path, make.oru(obx=obx).encode("latin-1"))[0]["text"]
    assert "Épanchement modéré" in text
    assert "Relu par Locronan." in text


def test_hl7_batches_and_bad_messages(tmp_path: Path) -> None:
    messages = [make.oru(n, [f"Texte {n}"]) for n in range(1, 4)]
    data = "FHS|^~\\&|RIS\rBHS|^~\\&|RIS\r" + "\r".join(messages) + "\rBTS|3\rFTS|1\r"
    assert [r["text"] for r in one(tmp_path, data.encode("latin-1"))] == ["Texte 1", "Texte 2", "Texte 3"]
    framed = b"".join(b"\x0b" + m.replace("\r", "\r\n").encode("latin-1") + b"\r\x1c\r" for m in messages)
    assert [r["accession"] for r in one(tmp_path, framed)] == ["ACC00001", "ACC00002", "ACC00003"]
    path = tmp_path / "cut.hl7"
    path.write_bytes(framed[:-60])
    assert problems_of(path) == ["", "", "truncated_file"]
    bad = [
        messages[0],
        make.oru(obx=[]),
        make.oru(obx=["OBX|1|RP|||http://pacs/doc.pdf||||||F"]),
        make.oru(obx=["OBX|1|ED|||a^b^c^Base64^@@@@||||||F"]),
    ]
    path = tmp_path / "bad.hl7"
    path.write_bytes(
        b"\r\n".join(m.encode("latin-1") for m in bad) + b"\r\n" + make.oru(charset="UNICODE UTF-8").encode("latin-1")
    )
    assert problems_of(path) == ["", "empty_report", "external_document", "damaged_file", "wrong_encoding"]


# -- FHIR, CDA, DICOM ---------------------------------------------------------------------------------------------------


def test_fhir_bulk_export_in_several_files(tmp_path: Path) -> None:
    resources = make.fhir()
    files = {f"{r['resourceType']}.ndjson": json.dumps(r).encode() + b"\n" for r in resources}
    files["DiagnosticReport.ndjson"] += b"{broken\n" + json.dumps(make.fhir(2)[-1]).encode() + b"\n"
    folder = folder_of(tmp_path, files)
    summary, rows = run(folder)
    assert summary["rows"] == 3
    assert summary["quarantined"] == {"damaged_file": 1}
    assert_safe(rows)


def test_fhir_forms_contained_patient_and_narrative(tmp_path: Path) -> None:
    report = make.fhir()[-1]
    report["contained"] = [
        {
            "resourceType": "Patient",
            "id": "c1",
            "identifier": [{"value": "55"}],
            "name": [{"text": "Kerbratec Armelline"}],
        }
    ]
    report["subject"] = {"reference": "#c1"}
    path = tmp_path / "r.json"
    for kind, data in (
        ("application/pdf", make.pdf_of()),
        ("text/html", make.html().encode()),
        ("text/rtf", make.rtf()),
    ):
        report["presentedForm"] = [{"contentType": kind, "data": base64.b64encode(data).decode()}]
        path.write_text(json.dumps(report))
        record = records_of(path)[0]
        assert record["patient"] == "55"
        assert record["surname"] == "Kerbratec Armelline"
        assert [line.strip() for line in record["text"].split("\n") if line.strip()] == make.LINES
    del report["presentedForm"], report["conclusion"]
    report["text"] = {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{make.LINES[1]}</p><script>x()</script></div>',
    }
    path.write_text(json.dumps(report))
    assert records_of(path)[0]["text"] == make.LINES[1]
    path.write_text(json.dumps({"resourceType": "Organization", "id": "o"}))
    assert problems_of(path) == ["not_a_report"]
    report["text"], report["presentedForm"] = None, [{"url": "http://x/y.pdf"}]
    path.write_text(json.dumps(report))
    assert problems_of(path) == ["external_document"]


def test_cda_sections_encodings_and_other_bodies(tmp_path: Path) -> None:
    path = tmp_path / "cda.xml"
    path.write_bytes(make.cda(encoding="iso-8859-1"))
    record = records_of(path)[0]
    assert record["text"] == "\n".join(
        ["Indication", make.LINES[0], "Résultats", make.LINES[1], "Genou\tdroit", make.LINES[2]]
    ).replace("\t", " ")
    assert (record["surname"], record["birth_name"], record["sex"]) == ("Kerbratec", "Ollivierou", "F")
    assert "Hopital" not in record["staff"]
    for data in (make.pdf_of(), make.rtf()):
        body = f'<nonXMLBody><text mediaType="x" representation="B64">{base64.b64encode(data).decode()}</text></nonXMLBody>'
        path.write_bytes(make.cda(body))
        assert make.LINES[2] in records_of(path)[0]["text"]


def test_dicom_sr_in_reading_order(tmp_path: Path) -> None:
    make.sr(tmp_path / "sr.dcm")
    record = records_of(tmp_path / "sr.dcm")[0]
    titles = [
        f"Indication : {make.LINES[0]}",
        "Résultats :",
        make.LINES[1],
        "Côté : Droit",
        f"Conclusion : {make.LINES[2].split(' : ')[0]}",
    ]
    places = [record["text"].find(title) for title in titles[:4]]
    assert places == sorted(places)
    assert min(places) >= 0
    assert set(record["staff"].split("\n")) == {"PLOUGASNOUET Corentine", "QUIBERONNEC Gwenolae", "LOCRONAN Yseult"}
    make.sr(tmp_path / "ct.dcm", kind="1.2.840.10008.5.1.4.1.1.2")
    assert problems_of(tmp_path / "ct.dcm") == ["not_a_report"]


def test_damaged_headers_are_not_quoted(tmp_path: Path) -> None:
    make.sr(tmp_path / "sr.dcm")
    data = (tmp_path / "sr.dcm").read_bytes().replace(b"ISO_IR 192", b"ISO_KERBRA")
    (tmp_path / "sr.dcm").write_bytes(data)
    code = f"from pathlib import Path; from anonymize.policy import ReportsConfig; from anonymize.readers import open_source; print(len(list(open_source(Path({str(tmp_path / 'sr.dcm')!r}), ReportsConfig()).rows())))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("1", "")


# -- PDF and Word -------------------------------------------------------------------------------------------------------


def pdf_text(tmp_path: Path, pages: list[list[tuple[float, float, str]]]) -> str:
    path = tmp_path / f"{NAME}.pdf"
    path.write_bytes(make.pdf(pages))
    return records_of(path, files=PATTERN)[0]["text"]


def test_pdf_reading_order_and_repeated_margins(tmp_path: Path) -> None:
    def page(number: int, lines: list[str]) -> list[tuple[float, float, str]]:
        head = [(40.0, 800.0, "CH de Tregastelou"), (400.0, 800.0, "Service de radiologie")]
        foot = [(250.0, 30.0, f"Page {number}/2")]
        body = [(40.0, 700.0 - 16 * n, line) for n, line in enumerate(lines)]
        return [*reversed(body), *foot, *head]  # drawn from bottom to top

    text = pdf_text(
        tmp_path,
        [page(1, ["Le genou droit montre un", "épanchement de faible"]), page(2, ["abondance.", "Pas de fracture."])],
    )
    lines = [line for line in text.split("\n") if line.strip()]
    assert lines == [
        "CH de Tregastelou  Service de radiologie", "Le genou droit montre un", "épanchement de faible", "abondance.", "Pas de fracture.", "Page 1/2",
    ]  # fmt: skip


def test_pdf_columns_of_prose_and_of_labels(tmp_path: Path) -> None:
    prose = [
        "Radiographie du genou droit de face",
        "et de profil en charge. Interligne",
        "femoro-tibial conserve, sans corps",
        "etranger ni calcification visible.",
    ]
    other = [
        "Epanchement de faible abondance du",
        "recessus sous-quadricipital, sans",
        "fracture decelable. Controle dans",
        "six semaines en cas de douleur.",
    ]
    drawn = [
        (x, 700 - 16 * n, line)
        for n, pair in enumerate(zip(prose, other, strict=True))
        for x, line in zip((40, 320), pair, strict=True)
    ]
    assert pdf_text(tmp_path, [drawn]).split("\n") == [*prose, *other]
    labels = [(x, 700 - 16 * n, f"{word}") for n, pair in enumerate([("Nom :", "KERBRATEC"), ("Prenom :", "Armelline"), ("Sexe :", "F"), ("Age :", "74 ans")])
              for x, word in zip((320, 400), pair, strict=True)]  # fmt: skip
    assert [" ".join(line.split()) for line in pdf_text(tmp_path, [labels]).split("\n")][:2] == [
        "Nom : KERBRATEC",
        "Prenom : Armelline",
    ]


def test_pdf_tight_lines_spaced_letters_and_a_stamp_beside_the_text(tmp_path: Path) -> None:
    lines = [*make.LINES, "TOUT EN CAPITALES ÉÈÀ, jambages jpqgy"]
    for lead in (14, 11, 8):
        assert pdf_text(tmp_path, [[(60, 780 - lead * n, line) for n, line in enumerate(lines)]]).split("\n") == lines
    assert pdf_text(tmp_path, [[(40 + 8 * n, 700, sign) for n, sign in enumerate("KERBRATEC")]]) == "KERBRATEC"
    data = make.pdf([[*((60, 700 - 16 * n, line) for n, line in enumerate(lines)), (0, 0, "COPIE")]])
    path = tmp_path / f"{NAME}.pdf"
    path.write_bytes(data.replace(b"0 0 Td (COPIE)", b"0 1 -1 0 30 660 Tm (COPIE)"))
    assert records_of(path, files=PATTERN)[0]["text"].split("\n") == [*lines, "COPIE"]


def test_docx_holds_every_visible_text_once(tmp_path: Path) -> None:
    path = tmp_path / f"{NAME}.docx"
    make.docx(path)
    text = records_of(path, files=PATTERN)[0]["text"]
    head, body = "Service de radiologie, Dr Locronan", make.LINES[1].replace(" : ", "\t", 1)
    assert [line for line in text.split("\n") if line] == [head, make.LINES[0], body, make.LINES[2], "Texte inséré."]


# -- tables -------------------------------------------------------------------------------------------------------------


def test_excel_as_a_person_sees_it(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["Export du RIS"])
    sheet.append(
        ["IPP", "NOM", "PRENOM", "DATE_NAISSANCE", "CODE_POSTAL", "TELEPHONE", "NUM_ACCESSION", "DATE_EXAMEN", "TEXTE"]
    )
    sheet.append(
        [
            8000077,
            "KERBRATEC",
            "Armelline",
            dt.datetime(1950, 1, 12),
            1000,
            612345678,
            17.0,
            dt.datetime(2024, 5, 3, 10, 15),
            make.BODY,
        ]
    )
    sheet.append([])
    sheet.append([None, "x", "y", None, None, None, None, None, "Examen normal."])
    sheet.append([8000078, "x", "y", None, None, None, None, None, "Examen normal.", "trop"])
    for cell, form in (
        ("A3", "00000000"),
        ("E3", "00000"),
        ("F3", '0#" "##" "##" "##" "##'),
        ("D3", "dd/mm/yyyy"),
        ("G3", "General"),
    ):
        sheet[cell].number_format = form
    path = tmp_path / "export.xlsx"
    book.save(path)
    headings, rows = rows_of(path)
    values = dict(zip(headings, rows[0].values, strict=True))
    assert (values["IPP"], values["CODE_POSTAL"], values["TELEPHONE"]) == ("08000077", "01000", "06 12 34 56 78")
    assert (values["DATE_NAISSANCE"], values["DATE_EXAMEN"], values["NUM_ACCESSION"]) == (
        "1950-01-12",
        "2024-05-03 10:15",
        "17",
    )
    assert [row.position for row in rows] == [3, 5, 6]
    summary, safe = run(path)
    assert summary["quarantined"] == {"missing_identifier": 1, "unparsable_row": 1}
    assert "kerbratec" not in fold(str(safe))
    second = book.create_sheet("Docteur Locronan")
    second.append(["IPP", "TEXTE"])
    second.append(["1", "Examen normal."])
    book.save(path)
    with pytest.raises(UserError, match="sheets 1, 2") as caught:
        open_source(path, ReportsConfig())
    assert "Locronan" not in str(caught.value)
    assert len(rows_of(path, sheet="2")[1]) == 1
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match="truncated_file"):
        open_source(path, ReportsConfig())


def test_csv_of_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes('sep=|\r\nIPP|TEXTE|NOM|NOM\r1|"a\rb\r\nc\nd"|Dupré|x\r\n2|texte|é|y\n'.encode("utf-8-sig"))
    headings, rows = rows_of(path)
    assert headings == ("IPP", "TEXTE", "NOM", "NOM (2)")
    assert [row.values for row in rows] == [("1", "a\rb\r\nc\nd", "Dupré", "x"), ("2", "texte", "é", "y")]
    for codec in ("utf-16", "utf-16-le", "cp850", "mac_roman", "cp1252", "utf-8"):
        path.write_bytes(f'IPP;NOM;TEXTE\n1;LEFÈVRE;"{make.BODY}"\n'.encode(codec))
        assert rows_of(path)[1][0].values[2] == make.BODY, codec
    path.write_bytes("IPP;NOM;TEXTE\n1;é;é\n2;é;é\n".encode() + "3;é;é\n4;a\0b;c\n".encode("latin-1"))
    assert problems_of(path) == ["", "", "wrong_encoding", "nul_byte"]


def test_csv_stray_quotation_mark_costs_one_row(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    lines = [f'{n};NOM{n};"Ligne un du compte rendu {n}\nligne deux"\n' for n in range(6)]
    lines[2] = '2;"NOM2;Examen normal du genou\n'
    path.write_text("IPP;NOM;TEXTE\n" + "".join(lines))
    rows = rows_of(path)[1]
    assert [row.problem for row in rows] == ["", "", "unparsable_row", "", "", ""]
    assert [row.values[0] for row in rows if row.values] == ["0", "1", "3", "4", "5"]


def test_csv_headless_file_shows_no_values(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("8000077;KERBRATEC;12/01/1950;Examen normal\n8000078;X;13/01/1951;Examen\n")
    with pytest.raises(UserError) as caught:
        run(path)
    assert "KERBRATEC" not in str(caught.value)
    assert "values instead of headings" in str(caught.value)


def test_compressed_tables_and_bombs(tmp_path: Path) -> None:
    text = "IPP;NOM;TEXTE\n" + "".join(f'{n};NOM{n};"Examen {n} normal.\nFin"\n' for n in range(3000))
    path = tmp_path / "e.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert len(rows_of(path)[1]) == 3000
    path.write_bytes(gzip.compress(text.encode())[:-4000])
    problems = problems_of(path)
    assert problems[-1] == "truncated_file"
    assert set(problems[:-1]) == {""}
    path.write_bytes(gzip.compress(text.encode() + b"9;x;" + b"a" * 100_000_000))
    assert problems_of(path)[3000:] == ["too_large", "zip_bomb"]
    path = tmp_path / "e.jsonl.gz"
    rows = [{"IPP": "1", "TEXTE": "Examen normal", "NOM": None}, {"IPP": 2.0, "TEXTE": "x" * 6_000_000, "NOM": ["a"]}]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode("utf-8-sig")))
    _, found = rows_of(path)
    assert found[0].values == ("1", "Examen normal", "")
    assert [row.problem for row in found] == ["", "too_large"]
    assert found[1].values[0] == "2"


def test_columns_can_be_switched_off_and_further_people_named(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text(
        "IPP;NOM;MEDECIN;TEXTE\n1;Kerbratec;Dr QUIBERONNEC | Locronan Yseult;Vu par Locronan et Quiberonnec : épanchement modéré.\n"
    )
    _, rows = run(path, columns=Columns(radiologist="-", staff="MEDECIN"))
    assert_safe(rows, ("quiberonnec", "locronan"))


cells = st.text(
    st.characters(codec="cp1252", exclude_categories=("Cc", "Cs")) | st.sampled_from("\n\"';\t,|"), max_size=30
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.lists(st.tuples(st.from_regex("[A-Z][0-9]{1,7}", fullmatch=True), cells, cells), min_size=1, max_size=6),
    delimiter=st.sampled_from(";,\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_csv_reads_back(tmp_path: Path, body: list, delimiter: str, quoting: int, encoding: str, end: str) -> None:
    path = tmp_path / "any.csv"
    with path.open("w", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=end)  # pyright: ignore[reportArgumentType]
        writer.writerow(["IPP", "NOM", "TEXTE"])
        writer.writerows(body)
    known = {} if encoding != "cp1252" else {"encoding": "cp1252"}  # one short line can be in many encodings
    headings, rows = rows_of(path, **known)
    assert headings == ("IPP", "NOM", "TEXTE")
    assert [row.values for row in rows if not row.problem] == [
        tuple(r) for r, row in zip(body, rows, strict=True) if not row.problem
    ]
    assert {row.problem for row in rows} <= {"", "wrong_encoding"}


# -- hostile bytes ------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(sorted({**DOCUMENTS, **MESSAGES})),
    cut=st.floats(0.0, 1.0),
    changes=st.lists(st.tuples(st.floats(0.0, 0.999), st.binary(min_size=1, max_size=4)), max_size=4),
)
def test_damaged_files_are_rows_and_never_errors(
    tmp_path: Path, kind: str, cut: float, changes: list[tuple[float, bytes]]
) -> None:
    data = bytearray(({**DOCUMENTS, **MESSAGES}[kind])(tmp_path))
    for place, new in changes:
        start = int(place * len(data))
        data[start : start + len(new)] = new
    folder = folder_of(tmp_path, {f"{NAME}.bin": bytes(data[: int(cut * len(data)) + 1])})
    _, rows = rows_of(folder, files=PATTERN)
    assert rows
    assert all(row.problem in REMEDIES for row in rows if row.problem)
    assert all(len(row.values) == len(rows_of(folder, files=PATTERN)[0]) for row in rows if not row.problem)
