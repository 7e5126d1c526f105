"""The data card of a corpus: what is in it and what was refused, as Markdown with plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anonymize.files import write_text_atomic
from vlp.corpus.card_plots import ALL, Counts, bars, count, sheet
from vlp.corpus.config import PrepareConfig
from vlp.corpus.dataset import Corpus
from vlp.corpus.decoded import DecodedRow
from vlp.corpus.store import Store
from vlp.study import ANATOMIES, LABELS, SPLITS, Study

_VALUES = ("kl_grade", "kl_right", "kl_left", "bone_age_months")
_UNKNOWN = "not known"


def write_card(
    store: Store,
    studies: Sequence[Study],
    images: Sequence[DecodedRow],
    summary: Mapping[str, Any],
    mark: str,
    config: PrepareConfig,
) -> None:
    """Write ``card.md`` and ``card/*.png``. Example images are shown only where ``config.card_examples`` asks."""
    for name in store.names("card"):
        store.remove(name)
    shown: dict[str, str] = {}
    for name, (title, counts) in _plots(studies, images, summary).items():
        shown[name] = ""
        if set(counts) - {_UNKNOWN}:
            with store.writing(f"card/{name}.png") as path:
                bars(path, title, counts)
            shown[name] = f"![{title}](card/{name}.png)"
    examples = _examples(store, studies, config)
    with store.writing("card.md") as path:
        write_text_atomic(path, _text(studies, images, summary, mark, config, shown, examples))


def _text(
    studies: Sequence[Study],
    images: Sequence[DecodedRow],
    summary: Mapping[str, Any],
    mark: str,
    config: PrepareConfig,
    shown: Mapping[str, str],
    examples: str,
) -> str:
    lines = [
        f"# Data card: {config.about.name}",
        "",
        config.about.description,
        "",
        "A corpus of radiographs"
        + (" with reports" if any(s.report for s in studies) else "")
        + ", made by `vlp prepare`. "
        "Identifiers are pseudonyms and dates are shifted where the source is a safe export: this is pseudonymised "
        "personal data (GDPR art. 4(5)), not anonymous data.",
        "",
        f"- fingerprint: `{mark}`",
        *_origin(summary.get("source"), config),
        f"- working size: {config.size} pixels on the long side, {config.depth}-bit gray ({config.codec}), air is 0",
        f"- studies: {len(studies)}, patients: {summary['patients']}, images: {summary['images']['kept']}",
        f"- studies by part, split by patient: {_joined(_in_order(summary['splits']))} (salt `{config.split.salt}`"
        + (", the authors' split where they give one)" if config.split.official else ")"),
        "",
        shown["split"],
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
        shown["refused_images"],
        shown["refused_reports"],
        "",
        "## Studies",
        "",
        _crosstab(studies, "anatomy", lambda s: s.anatomy),
        "",
        _crosstab(studies, "site", lambda s: s.site or _UNKNOWN),
        "",
        _crosstab(studies, "text", lambda s: s.report_source or "none"),
        "",
        *(shown[name] for name in ("anatomy", "sex", "age", "site", "year", "words")),
        "",
        "## Labels",
        "",
        _label_table(studies),
        "",
        "A label that is not stated for a study is absent, not 0.",
        "",
        *(shown[name] for name in ("label", "bone_age", "kl_grade")),
        "",
        *_boxes(studies, summary, shown["boxes"]),
        "## Images",
        "",
        f"Window by: {_joined(Counter(row.window_path for row in images))}.  ",
        f"Photometric interpretation: {_joined(Counter(row.photometric for row in images))}.  ",
        f"Bits stored: {_joined(Counter(row.bits for row in images))}.  ",
        f"View: {_joined(Counter(ref.view or _UNKNOWN for s in studies for ref in s.images))}.  ",
        f"Side: {_joined(Counter(ref.laterality or _UNKNOWN for s in studies for ref in s.images))}.  ",
        f"Near-duplicates (up to {config.near_duplicate_bits} of 256 bits): {_joined(summary['near_duplicates'])}.",
        "",
        *(shown[name] for name in ("view", "side", "window")),
        examples,
        "",
    ]
    # what is empty leaves no gap
    return "\n".join(line for at, line in enumerate(lines) if line or not at or lines[at - 1]) + "\n"


def _boxes(studies: Sequence[Study], summary: Mapping[str, Any], plot: str) -> list[str]:
    """The section about boxes; none where the source has none."""
    if "boxes" not in summary:
        return []
    drawn = [(box, ref, study) for study in studies for ref in study.images for box in ref.boxes]
    rows = [
        (
            label,
            total,
            len({ref.image_id for box, ref, _ in drawn if box.label == label}),
            *(sum(box.label == label and study.split == split for box, _, study in drawn) for split in SPLITS),
        )
        for label, total in summary["box_labels"].items()
    ]
    readers = {box.reader for box, _, _ in drawn if box.reader}
    return [
        "## Boxes",
        "",
        _table(("label", "boxes", "images", *SPLITS), rows),
        "",
        "Boxes " + ", ".join(f"{name.replace('_', ' ')}: {n}" for name, n in summary["boxes"].items()) + ".  ",
        f"Refused boxes: {_joined(summary['refused_boxes'])}.  ",
        *([f"Readers: {len(readers)}; each reader's boxes count."] if readers else []),
        "",
        "Labels are the source's own. An image without boxes may show as much: no box says nothing.",
        "",
        plot,
        "",
    ]


def _origin(source: Mapping[str, str] | None, config: PrepareConfig) -> list[str]:
    if not source:
        return [f"- licence: {config.about.licence or 'none granted'}"]
    return [f"- source: {source['title']} ({source['where']})", f"- licence: {source['licence']}. {source['use']}"]


def _plots(
    studies: Sequence[Study], images: Sequence[DecodedRow], summary: Mapping[str, Any]
) -> dict[str, tuple[str, Counts]]:
    def by_study(key: Callable[[Study], str], order: Sequence[str] = (), among: Sequence[Study] = studies) -> Counts:
        return count(((key(study), study.split) for study in among), order)

    def by_image(field: str) -> Counts:
        return count((getattr(ref, field) or _UNKNOWN, study.split) for study in studies for ref in study.images)

    def plain(numbers: Mapping[Any, int]) -> Counts:
        return {str(name).replace("_", " "): Counter({ALL: number}) for name, number in numbers.items()}

    reported = [study for study in studies if study.report]
    years = sorted({study.date[:4] for study in studies if study.date})
    findings = [name for name in LABELS if name not in _VALUES]
    present = ((name, s.split) for s in studies for name in findings if s.labels.get(name, 0) > 0.5)
    windows = Counter(row.window_path for row in images).most_common()
    return {
        "split": ("Studies by split", by_study(lambda s: s.split, SPLITS)),
        "refused_images": ("Refused images by reason", plain(summary["refused_images"])),
        "refused_reports": ("Refused reports by reason", plain(summary["refused_reports"])),
        "anatomy": ("Studies by anatomy", by_study(lambda s: s.anatomy, ANATOMIES)),
        "sex": ("Studies by sex", by_study(lambda s: s.sex or _UNKNOWN, ("F", "M", _UNKNOWN))),
        "age": ("Studies by age (years)", by_study(lambda s: _age_band(s.age_months), _BANDS)),
        "site": ("Studies by site", by_study(lambda s: s.site or _UNKNOWN)),
        "year": ("Studies by year (dates are shifted)", by_study(lambda s: s.date[:4] or _UNKNOWN, (*years, _UNKNOWN))),
        "words": ("Words of a study's text", by_study(_words, _WORDS, reported)),
        "label": ("Studies where the finding is present", count(present, findings)),
        "bone_age": (
            "Bone age (years)",
            by_study(_bone_age, tuple(map(str, range(23))), _with(studies, "bone_age_months")),
        ),
        "kl_grade": ("Kellgren-Lawrence grade", by_study(_kl, tuple("01234"), _with(studies, "kl_grade"))),
        "boxes": (
            "Boxes by label",
            count((box.label, study.split) for study in studies for ref in study.images for box in ref.boxes),
        ),
        "view": ("Images by view", by_image("view")),
        "side": ("Images by side", by_image("laterality")),
        "window": ("Images by window", plain(dict(windows))),
    }


def _examples(store: Store, studies: Sequence[Study], config: PrepareConfig) -> str:
    """A sheet of training images, an anatomy at a time; the Markdown that shows it, or nothing."""
    if not config.card_examples:
        return ""
    corpus = Corpus(store, list(studies), {"store": config.store})
    chosen: list[Any] = []
    for anatomy in ANATOMIES:
        refs = [s.images[0] for s in studies if s.anatomy == anatomy and s.split == "train" and s.images]
        chosen += [corpus.pixels(ref) for ref in refs[: config.card_examples]]
    if not chosen:
        return ""
    with store.writing("card/examples.png") as path:
        sheet(path, chosen)
    return "![Examples, by anatomy](card/examples.png)"


_BANDS = ("0-4", "5-9", "10-14", "15-19", "20-39", "40-59", "60-79", "80+", _UNKNOWN)
_EDGES = (5, 10, 15, 20, 40, 60, 80)
_WORDS = ("1-9", "10-19", "20-49", "50-99", "100-199", "200-499", "500+")
_WORD_EDGES = (10, 20, 50, 100, 200, 500)


def _age_band(months: int | None) -> str:
    return _BANDS[-1] if months is None else _BANDS[sum(months // 12 >= edge for edge in _EDGES)]


def _words(study: Study) -> str:
    return _WORDS[sum(len(study.report.split()) >= edge for edge in _WORD_EDGES)]


def _with(studies: Sequence[Study], label: str) -> list[Study]:
    return [s for s in studies if label in s.labels]


def _bone_age(study: Study) -> str:
    return str(int(study.labels["bone_age_months"] // 12))


def _kl(study: Study) -> str:
    return str(int(study.labels["kl_grade"]))


def _crosstab(studies: Sequence[Study], title: str, key: Callable[[Study], str]) -> str:
    counts = count((key(study), study.split) for study in studies)
    return _table((title, *SPLITS, "all"), [(n, *(c[s] for s in SPLITS), c.total()) for n, c in counts.items()])


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
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)


def _joined(counts: Mapping[Any, Any]) -> str:
    """Names and, behind each, its number: names may end in a number themselves."""
    return ", ".join(f"{str(name).replace('_', ' ')} ({number})" for name, number in counts.items()) or "none"


def _in_order(splits: Mapping[str, int]) -> dict[str, int]:
    return {split: splits[split] for split in SPLITS if split in splits}
