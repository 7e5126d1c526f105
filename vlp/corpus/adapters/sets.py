"""The public sets that ``vlp prepare --set`` knows, and what it prints about them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from anonymize.console import Console, UserError
from anonymize.engines import Steps
from anonymize.quarantine import count_reasons
from vlp.corpus.adapters import (
    casia_cxr,
    covid,
    figures,
    fracatlas,
    grazpedwri,
    iu_xray,
    mimic_cxr,
    mura,
    nih,
    oai_kl,
    padchest,
    rsna_bone_age,
    tuberculosis,
    vindr,
    vindr_spine,
)
from vlp.corpus.adapters.public import Folder, PublicSet, describe_need, read_set
from vlp.corpus.config import PrepareConfig
from vlp.corpus.prepare import build_corpus

SETS: dict[str, PublicSet] = {
    public.name: public
    for public in (
        rsna_bone_age.SET,
        mura.SET,
        fracatlas.SET,
        grazpedwri.SET,
        oai_kl.SET,
        padchest.SET,
        mimic_cxr.SET,
        iu_xray.SET,
        casia_cxr.SET,
        vindr.CXR,
        vindr.PCXR,
        vindr_spine.SET,
        nih.SET,
        covid.SET,
        tuberculosis.MONTGOMERY,
        tuberculosis.SHENZHEN,
        figures.SET,
    )
}


def set_named(name: str) -> PublicSet:
    """The set of that name.

    Raises:
        UserError: there is none.
    """
    if name not in SETS:
        raise UserError(f"--set {name}: no such set; there are {', '.join(SETS)}")
    return SETS[name]


def run_prepare_set(
    config: PrepareConfig,
    name: str,
    folder: Path,
    out: Path | str,
    console: Console,
    describe_labels: str = "",
    steps: Steps | None = None,
) -> dict[str, Any]:
    """Make the corpus ``out`` from the public set ``name`` below ``folder``; see vlp.corpus.prepare.

    Raises:
        UserError: no such set, or ``folder`` is not laid out like it.
    """
    public = set_named(name)
    console.note(f"{public.title}. Licence: {public.licence}. {public.use}")
    return build_corpus(config, read_set(public, folder, config), out, console, describe_labels, steps)


def check_set(name: str, folder: Path, config: PrepareConfig) -> tuple[dict[str, Any], list[str]]:
    """What the set ``name`` below ``folder`` holds, without decoding, and what of its layout is missing.

    The list is empty where the folder can be prepared. Missing optional parts stand in the summary only.
    """
    public = set_named(name)
    files = Folder(folder)
    counts = {describe_need(need): len(files.matches(need)) for need in public.layout}
    absent = [need for need in public.layout if not counts[describe_need(need)]]
    missing = [describe_need(need) for need in absent if not need.optional]
    summary: dict[str, Any] = {
        "set": public.title,
        "licence": f"{public.licence}. {public.use}",
        "files": {need.patterns[0].removeprefix("*/"): counts[describe_need(need)] for need in public.layout},
        "optional_parts_missing": [describe_need(need) for need in absent if need.optional],
    }
    if missing:
        return summary, missing
    source = read_set(public, folder, config)
    images = [image.file for study in source.studies for image in study.images]
    here = sum(os.path.isfile(path) for path in images)
    summary |= {
        "studies": len(source.studies),
        "patients": len({s.patient_id for s in source.studies if s.patient_id}),
        "studies_of_unknown_patients": sum(not s.patient_id for s in source.studies),
        "images": {
            "rows": source.images_read,
            "found": here,
            "missing": len(images) - here,
            "refused": len(source.refused_images),
        },
        "reports": {"read": source.reports_read, "refused": len(source.refused_reports)},
        "labels": dict(Counter(name for study in source.studies for name in study.labels).most_common()),
        "splits": dict(sorted(Counter(study.split or "not given" for study in source.studies).items())),
        "refused_images": count_reasons(source.refused_images),
        "refused_reports": count_reasons(source.refused_reports),
        "notes": source.notes,
    }
    if not here:
        missing = ["none of the images that the tables name is here; fetch them and unpack them below the folder"]
    return summary, missing


def describe_sets() -> str:
    """Every set as text: name, licence, where to get it, languages, labels, patients, layout."""
    blocks = []
    for public in SETS.values():
        lines = [
            f"{public.name}: {public.title}",
            f"  licence   {public.licence}. {public.use}",
            f"  from      {public.where}",
            f"  reports   {public.languages}",
            f"  labels    {public.labels}",
            f"  patients  {public.patients}",
            "  layout",
            *(f"    {line}" for line in public.tree.splitlines()),
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
