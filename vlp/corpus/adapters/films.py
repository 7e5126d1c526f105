"""Films of any data set, grouped into studies, with the account of what was refused.

An adapter yields one :class:`Film` per row or file of its set; everything that sets have in common happens here.
Identifiers become hashes, so that file names and patient numbers of the source do not travel on. An unkeyed hash of a
guessable number hides nothing: hospital data go through ``anonymize`` first.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from anonymize.quarantine import Quarantined
from vlp.corpus.config import PrepareConfig
from vlp.corpus.safe import label_value
from vlp.corpus.source import DrawnBox, ImageFile, Origin, PlannedStudy, Source, refuse


@dataclass(frozen=True, slots=True)
class Text:
    """A report and, where the set gives them, its sections."""

    language: str  # ISO 639-1; "" where not known
    whole: str
    indication: str = ""
    technique: str = ""
    comparison: str = ""
    results: str = ""
    conclusion: str = ""


@dataclass(frozen=True, slots=True)
class Film:
    """One image of a set as its tables describe it. Identifiers are the set's own."""

    image: str  # path below the folder; "" where the row names none
    anatomy: str = "unknown"
    patient: str = ""  # "" where the set does not tell patients apart
    study: str = ""  # films with the same value are one study; "" makes each its own
    original: str = ""  # what copies of one original have in common, where the patient is not known
    view: str = ""
    laterality: str = ""
    spacing_mm: float | None = None
    box: tuple[int, int, int, int] | None = None
    boxes: tuple[DrawnBox, ...] = ()  # of findings; a row of the set's tables each
    date: str = ""
    age_months: int | None = None
    sex: str = ""
    text: Text | None = None  # once per report, even where a study has several images
    labels: Mapping[str, float] = field(default_factory=dict)
    bad_labels: int = 0  # values that were out of range
    split: str = ""
    site: str = ""
    fault: str = ""  # why the adapter refuses the film; a key of REMEDIES
    position: int = 0  # row of the table; 0 takes the place in the reading order
    report_alone: bool = False  # a report without any image: no image is counted


REMEDIES = {
    "row_without_image": "The row names no image; fill the image column.",
    "path_outside_folder": "The row names a file outside the image folder; correct the path.",
    "duplicate_row": "The image stands in the table twice; the first row is kept.",
    "patient_mismatch": "Rows of one study name different patients; correct the table.",
    "duplicate_report": "The same report came twice; the first is kept.",
    "conflicting_reports": "Rows of one study have different reports; the first is kept.",
    "report_of_refused_image": "The image of this report was refused; see its reason.",
    "images_without_report": "The study has no report; keep it with keep_unreported=true.",
    "report_without_images": "The report names no image of the set; fetch the images, or leave it out.",
    "unreadable_report": "The report's file is damaged; fetch it again.",
    "no_patient": "The set tells patients apart, but this row names none; correct the table.",
    "not_a_radiograph": "The set says that this is no plain radiograph (CT, MRI or another); leave it out.",
    "excluded_by_the_set": "The authors of the set marked this image as not usable.",
    "second_crop": "A second crop of an image that the set already holds; the first is kept.",
    "unknown_file_name": "The name is not of the form that the set describes; see docs/public-sets.md.",
    "unknown_class_folder": "The folder is none of the set's classes; see docs/public-sets.md.",
    "no_licence": "The figure states no licence, so that nobody may train on it; ask the collector to fill it.",
    "bad_box": "The box is not four numbers with x0 < x1 and y0 < y1; correct the index.",
    "unreadable_row": "The line is no JSON object; write it again.",
}


def to_source(
    films: Iterable[Film],
    root: Path,
    config: PrepareConfig,
    scope: str = "",
    notes: Counter[str] | None = None,
    origin: Origin | None = None,
) -> Source:
    """Every film as an image of a study, or refused; see :class:`vlp.corpus.source.Source`.

    Args:
        root: folder that image paths start from; a path that leaves it is refused.
        scope: name of the set, so that equal patient numbers of two sets stay two patients.
        notes: counts to add to, which the adapter may go on filling while ``films`` is read.
    """
    grouping = _Grouping(root.resolve(), config, scope, Counter() if notes is None else notes)
    groups: dict[str, list[tuple[int, Film]]] = {}
    read = reports = boxes = 0
    for number, film in enumerate(films, 1):
        position = film.position or number
        read += not film.report_alone
        reports += film.text is not None
        boxes += len(film.boxes)
        reason = grouping.fault(film)
        if reason:
            grouping.drop(film, position, reason)
        else:
            groups.setdefault(film.study or _key(film, position), []).append((position, film))
    studies = [study for name, members in groups.items() if (study := grouping.study(name, members))]
    kept_notes = {name: count for name, count in sorted(grouping.notes.items()) if count}
    return Source(studies, grouping.images, grouping.reports, read, reports, kept_notes, origin, boxes)


class _Grouping:
    """Turns films into studies and keeps the account of what was refused."""

    def __init__(self, root: Path, config: PrepareConfig, scope: str, notes: Counter[str]) -> None:
        self.root = root
        self.config = config
        self.scope = scope
        self.images: list[Quarantined] = []
        self.reports: list[Quarantined] = []
        self.notes = notes
        self._seen: set[str] = set()

    def fault(self, film: Film) -> str:
        """Why a film cannot be used; "" where it can."""
        if film.fault:
            return film.fault
        if not film.image:
            return "row_without_image"
        # by the text of the path: links that the owner of the folder has set are wanted
        if os.path.isabs(film.image) or os.path.normpath(film.image).startswith(".."):
            return "path_outside_folder"
        if _key(film, 0) in self._seen:
            return "duplicate_row"
        self._seen.add(_key(film, 0))
        return ""

    def drop(self, film: Film, position: int, reason: str) -> None:
        """Refuse a film, and its report where it has one."""
        if not film.report_alone:
            ref = self._code("I", _key(film, position))
            self.images.append(refuse(ref, position, reason, REMEDIES[reason]))
        if film.text:
            self.drop_report(film, position, reason if film.report_alone else "report_of_refused_image")

    def drop_report(self, film: Film, position: int, reason: str) -> None:
        self.reports.append(refuse(self._code("R", _key(film, position)), position, reason, REMEDIES[reason]))

    def study(self, name: str, members: list[tuple[int, Film]]) -> PlannedStudy | None:
        """The study that ``members`` are the images of; None where it is refused."""
        reported = [item for item in members if item[1].text]
        wrong = "patient_mismatch" if len({film.patient for _, film in members}) > 1 else ""
        if wrong or not (reported or self.config.keep_unreported):
            for position, film in members:
                self.drop(film, position, wrong or "images_without_report")
            return None
        for position, film in reported[1:]:
            self.drop_report(
                film, position, "duplicate_report" if film.text == reported[0][1].text else "conflicting_reports"
            )
        first = members[0][1]
        text = (reported[0][1].text if reported else None) or Text("", "")
        return PlannedStudy(
            study_id=self._code("S", name),
            patient_id=self._code("P", first.patient) if first.patient else "",
            original=first.original if not first.patient else "",
            anatomy=first.anatomy,
            images=tuple(
                ImageFile(
                    self._code("I", _key(film, position)),
                    str(self.root / film.image),
                    film.view,
                    film.laterality,
                    film.spacing_mm,
                    film.box,
                    boxes=film.boxes,
                )
                for position, film in sorted(members, key=lambda item: (item[1].image, item[1].box or ()))
            ),
            date=first.date,
            age_months=first.age_months,
            sex=first.sex,
            language=text.language,
            indication=text.indication,
            technique=text.technique,
            comparison=text.comparison,
            results=text.results if text.results or text.conclusion else text.whole,
            conclusion=text.conclusion,
            report=text.whole,
            report_id=self._code("R", _key(reported[0][1], reported[0][0])) if reported else "",
            report_source="report" if reported else "",
            site=self.config.site or first.site or self.scope,
            split=first.split,
            labels=self._labels([film for _, film in members]),
        )

    def _labels(self, films: list[Film]) -> dict[str, float]:
        """A study shows what any of its images shows; of grades the highest, of ages the first."""
        found: dict[str, float] = {}
        for film in films:
            self.notes["labels_out_of_range"] += film.bad_labels
            for name, value in film.labels.items():
                number = label_value(name, value)
                if number is None:
                    self.notes["labels_out_of_range"] += 1
                elif name not in found or (name != "bone_age_months" and number > found[name]):
                    found[name] = number
        return found

    def _code(self, kind: str, value: str) -> str:
        own = f"{self.scope}/{value}" if self.scope else value
        return kind + hashlib.sha256(f"{kind}\0{own}".encode()).hexdigest()[:16].upper()


def _key(film: Film, position: int) -> str:
    """What tells a film from all others of its set."""
    return (film.image or str(position)) + (f"#{','.join(map(str, film.box))}" if film.box else "")
