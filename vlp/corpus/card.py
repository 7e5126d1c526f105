"""The data card of a corpus: what is in it and what was refused, as Markdown with plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure

from anonymize.files import open_atomic, write_text_atomic
from vlp.corpus.build import DecodedRow
from vlp.corpus.config import PrepareConfig
from vlp.study import ANATOMIES, LABELS, SPLITS, Study

_VALUES = ("kl_grade", "kl_right", "kl_left", "bone_age_months")
_COLOURS = {"train": "#4477aa", "validation": "#ccbb44", "test": "#ee6677"}


def write_card(
    out: Path,
    studies: Sequence[Study],
    images: Sequence[DecodedRow],
    summary: Mapping[str, Any],
    mark: str,
    config: PrepareConfig,
) -> None:
    """Write ``out/card.md`` and ``out/card/*.png``."""
    folder = out / "card"
    folder.mkdir(exist_ok=True)
    plots = {
        "anatomy": ("Studies by anatomy", _counts(studies, lambda s: s.anatomy, ANATOMIES)),
        "sex": ("Studies by sex", _counts(studies, lambda s: s.sex or "not known", ("F", "M", "not known"))),
        "age": ("Studies by age (years)", _counts(studies, lambda s: _age_band(s.age_months), _BANDS)),
        "label": ("Studies where the label is present (findings)", _present(studies)),
        "bone_age": (
            "Bone age (years)",
            _counts(_with(studies, "bone_age_months"), _bone_age, tuple(map(str, range(23)))),
        ),
        "kl_grade": ("Kellgren-Lawrence grade", _counts(_with(studies, "kl_grade"), _kl, tuple("01234"))),
    }
    shown = []
    for name, (title, counts) in plots.items():
        path = folder / f"{name}.png"
        path.unlink(missing_ok=True)
        if any(counts.values()):
            _bars(path, title, counts)
            shown.append(f"![{title}](card/{name}.png)")
    text = "\n".join(
        [
            "# Data card",
            "",
            "A corpus of radiographs"
            + (" with reports" if any(s.report for s in studies) else "")
            + ", made by `vlp prepare`. "
            "Identifiers are pseudonyms and dates are shifted where the source is a safe export: this is pseudonymised "
            "personal data (GDPR art. 4(5)), not anonymous data.",
            "",
            *_origin(summary.get("source")),
            f"- fingerprint: `{mark}`",
            f"- working size: {config.size} pixels on the long side, 8-bit gray, air is 0",
            f"- studies: {len(studies)}, patients: {summary['patients']}, images: {summary['images']['kept']}",
            f"- split by patient: {_joined(summary['splits'])} (salt `{config.split.salt}`"
            + (", the authors' split where they give one)" if config.split.official else ")"),
            "",
            "## What went in and what was refused",
            "",
            _table(
                ("", "read", "kept", "refused"),
                [(n, *(summary[n][c] for c in ("read", "kept", "refused"))) for n in ("images", "reports")],
            ),
            "",
            f"Refused images: {_joined(summary['refused_images'])}.  ",
            f"Refused reports: {_joined(summary['refused_reports'])}.  ",
            f"Texts written from labels: {summary['reports']['described']}. Studies without any text: "
            f"{summary['studies_without_text']}.  ",
            f"Notes: {_joined(summary['notes'])}.",
            "",
            "Each refused item stands in `quarantine.parquet` with its reason and remedy.",
            "",
            "## Studies",
            "",
            _crosstab(studies, "anatomy", lambda s: s.anatomy),
            "",
            _crosstab(studies, "site", lambda s: s.site or "not known"),
            "",
            _crosstab(studies, "text", lambda s: s.report_source or "none"),
            "",
            "## Labels",
            "",
            _label_table(studies),
            "",
            "A label that is not stated for a study is absent, not 0.",
            "",
            "## Images",
            "",
            f"Window by: {_joined(Counter(row.window_path for row in images))}.  ",
            f"Photometric interpretation: {_joined(Counter(row.photometric for row in images))}.  ",
            f"Bits stored: {_joined(Counter(row.bits for row in images))}.  ",
            f"View: {_joined(Counter(ref.view or 'not known' for s in studies for ref in s.images))}.  ",
            f"Side: {_joined(Counter(ref.laterality or 'not known' for s in studies for ref in s.images))}.  ",
            f"Near-duplicates (up to {config.near_duplicate_bits} of 256 bits): {_joined(summary['near_duplicates'])}.",
            "",
            *shown,
            "",
        ]
    )
    write_text_atomic(out / "card.md", text)


def _origin(source: Mapping[str, str] | None) -> list[str]:
    if not source:
        return []
    return [f"- source: {source['title']} ({source['where']})", f"- licence: {source['licence']}. {source['use']}"]


_BANDS = ("0-4", "5-9", "10-14", "15-19", "20-39", "40-59", "60-79", "80+", "not known")
_EDGES = (5, 10, 15, 20, 40, 60, 80)


def _age_band(months: int | None) -> str:
    return _BANDS[-1] if months is None else _BANDS[sum(months // 12 >= edge for edge in _EDGES)]


def _with(studies: Sequence[Study], label: str) -> list[Study]:
    return [s for s in studies if label in s.labels]


def _bone_age(study: Study) -> str:
    return str(int(study.labels["bone_age_months"] // 12))


def _kl(study: Study) -> str:
    return str(int(study.labels["kl_grade"]))


def _counts(studies: Sequence[Study], key: Any, order: Sequence[str]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {name: Counter() for name in order}
    for study in studies:
        found.setdefault(key(study), Counter())[study.split] += 1
    return {name: counts for name, counts in found.items() if counts}


def _present(studies: Sequence[Study]) -> dict[str, Counter[str]]:
    names = [name for name in LABELS if name not in _VALUES]
    found = {name: Counter(s.split for s in studies if s.labels.get(name, 0) > 0.5) for name in names}
    return {name: counts for name, counts in found.items() if counts}


def _bars(path: Path, title: str, counts: Mapping[str, Counter[str]]) -> None:
    figure = Figure(figsize=(6.4, 1.0 + 0.28 * len(counts)), dpi=100, layout="tight")
    axes = figure.subplots()
    names = list(counts)
    start = [0] * len(names)
    for split in SPLITS:
        values = [counts[name][split] for name in names]
        axes.barh(names, values, left=start, color=_COLOURS[split], label=split)
        start = [a + b for a, b in zip(start, values, strict=True)]
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with open_atomic(path) as stream:
        figure.savefig(stream, format="png", metadata={"Software": None})


def _crosstab(studies: Sequence[Study], title: str, key: Any) -> str:
    counts = _counts(studies, key, ())
    rows = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
    return _table((title, *SPLITS, "all"), [(n, *(c[s] for s in SPLITS), c.total()) for n, c in rows])


def _label_table(studies: Sequence[Study]) -> str:
    rows: list[tuple[Any, ...]] = []
    for name in LABELS:
        values = [s.labels[name] for s in studies if name in s.labels]
        if not values:
            continue
        if name in _VALUES:
            rows.append(
                (name, len(values), "", f"{min(values):g} to {max(values):g}, mean {sum(values) / len(values):.1f}")
            )
        else:
            present = sum(v > 0.5 for v in values)
            rows.append((name, len(values), present, f"{100 * present / len(values):.1f} %"))
    return _table(("label", "known", "present", "prevalence or range"), rows)


def _table(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)


def _joined(counts: Mapping[Any, Any]) -> str:
    return ", ".join(f"{str(name).replace('_', ' ')} {count}" for name, count in counts.items()) or "none"
