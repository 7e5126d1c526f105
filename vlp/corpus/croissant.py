"""Croissant metadata (MLCommons, version 1.1, JSON-LD): what a corpus holds, for data-set search and other loaders.

Written for a corpus that is pseudonymised personal data: the metadata name columns, counts and checksums, no value of a
study, so that they may be published where the corpus may not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlp.corpus.codec import MEDIA_TYPES, SUFFIXES
from vlp.corpus.config import PrepareConfig
from vlp.study import SPLITS, Study

Json = dict[str, Any]

_CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    **{
        term: f"cr:{term}"
        for term in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field"),
            *("fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath"),
            *("key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace"),
            *("samplingRate", "separator", "source", "subField", "transform"),
        )
    },
}
_PARQUET = "application/x-parquet"
_TEXT, _INTEGER, _FLOAT, _SPLIT, _IMAGE = "sc:Text", "sc:Integer", "sc:Float", "cr:Split", "sc:ImageObject"
_STUDY_FIELDS = {
    "study_id": (_TEXT, "Pseudonym of the study."),
    "patient_id": (_TEXT, "Pseudonym of the patient; splits are by patient."),
    "split": (_SPLIT, "Part of the corpus: train, validation or test."),
    "anatomy": (_TEXT, "Body part shown."),
    "date": (_TEXT, "Day of the examination, ISO 8601, shifted by the patient's own offset; empty where not known."),
    "age_months": (_INTEGER, "Age at the examination in months."),
    "sex": (_TEXT, "F, M or empty."),
    "language": (_TEXT, "Language of the report, ISO 639-1."),
    "indication": (_TEXT, "Section of the report."),
    "technique": (_TEXT, "Section of the report."),
    "comparison": (_TEXT, "Section of the report."),
    "results": (_TEXT, "Section of the report."),
    "conclusion": (_TEXT, "Section of the report."),
    "report": (_TEXT, "The whole de-identified report."),
    "report_hash": (_TEXT, "Equal for reports that say the same, whatever their date and names."),
    "report_source": (_TEXT, "report, described (written from labels) or empty."),
    "site": (_TEXT, "Source of the study: hospital, data set part or device family."),
    "anatomy_source": (_TEXT, "What says the body part: report, description, header, table or the image's look."),
    "pairing": (_TEXT, "How the report was found: study, day, day_anatomy, day_time, later_day, table or empty."),
}
_IMAGE_FIELDS = {
    "image_id": (_TEXT, "Pseudonym of the image; the key of record set images."),
    "height": (_INTEGER, "Pixels at the working size."),
    "width": (_INTEGER, "Pixels at the working size."),
    "view": (_TEXT, "PA, AP, LAT, OBL or empty."),
    "laterality": (_TEXT, "R, L, B (both) or empty."),
    "spacing_mm": (_FLOAT, "Millimetres between pixels at the working size."),
    "view_source": (_TEXT, "What says the view, as anatomy_source."),
}
_CORNER = "of the stored image, 0 to 1 from the upper left"
_ALL = "a reader that takes one match of a path sees the first; column images has all"
_BOX_FIELDS = {
    "label": (_TEXT, "What is marked, in the source's words."),
    "x0": (_FLOAT, f"Left edge as a fraction {_CORNER}."),
    "y0": (_FLOAT, f"Upper edge as a fraction {_CORNER}."),
    "x1": (_FLOAT, f"Right edge as a fraction {_CORNER}."),
    "y1": (_FLOAT, f"Lower edge as a fraction {_CORNER}."),
    "reader": (_TEXT, "Who drew it, where the source tells readers apart."),
}


def croissant(
    studies: Sequence[Study],
    files: Mapping[str, str],
    shards: Mapping[str, str],
    info: Mapping[str, Any],
    config: PrepareConfig,
) -> Json:
    """The metadata of a corpus as JSON-LD.

    Args:
        files: SHA-256 of the files beside the shards that are to be named, by name.
        shards: SHA-256 of the shards, by name.
        info: the content of ``corpus.json``.
    """
    about = config.about
    reported = any(study.report_source == "report" for study in studies)
    rai = _responsible(studies, info, config)
    metadata: Json = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": about.name,
        "description": about.description
        or f"{len(studies)} radiographic studies{' with reports' if reported else ''}, prepared for training.",
        "version": f"1.0.0+{info['fingerprint']}",
        "license": about.licence or info.get("source", {}).get("licence", ""),
        "url": about.url,
        "creator": {"@type": "sc:Organization", "name": about.creator} if about.creator else None,
        "datePublished": about.published,
        "citeAs": about.citation,
        "inLanguage": sorted({study.language for study in studies if study.language}),
        "keywords": ["radiograph", *sorted({study.anatomy for study in studies})],
        "distribution": [
            *(_file(name, checksum) for name, checksum in sorted(files.items())),
            *_shards(shards, config),
        ],
        "recordSet": [_splits(), _studies(), _images(config)],
        **{f"rai:{name}": value for name, value in rai.items()},
    }
    return {key: value for key, value in metadata.items() if value not in ("", None, [])}


def _file(name: str, checksum: str) -> Json:
    kinds = {"parquet": _PARQUET, "tar": "application/x-tar", "json": "application/json", "md": "text/markdown"}
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": kinds.get(name.rpartition(".")[2], "text/plain"),
        "sha256": checksum,
    }


def _shards(shards: Mapping[str, str], config: PrepareConfig) -> list[Json]:
    """Parquet shards as one set; tar shards one by one, for the set of what archives contain must name them."""
    if config.store != "tar":
        return [
            {
                "@type": "cr:FileSet",
                "@id": "shards",
                "name": "shards",
                "description": "Images; the SHA-256 of each file stands in checksums.sha256.",
                "encodingFormat": _PARQUET,
                "includes": "images/shard-*.parquet",
            }
        ]
    members = {
        "@type": "cr:FileSet",
        "@id": "image-files",
        "name": "image-files",
        "containedIn": [{"@id": name} for name in shards],
        "encodingFormat": MEDIA_TYPES[config.codec],
        "includes": f"*.{SUFFIXES[config.codec]}",
    }
    return [*(_file(name, checksum) for name, checksum in shards.items()), members]


def _splits() -> Json:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": _SPLIT,
        "key": {"@id": "splits/name"},
        "field": [{"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": _TEXT}],
        "data": [{"splits/name": name} for name in SPLITS],
    }


def _studies() -> Json:
    source = {"fileObject": {"@id": "manifest.parquet"}}
    fields: list[Json] = []
    for name, (kind, description) in _STUDY_FIELDS.items():
        field = _field("studies", name, kind, description, {**source, "extract": {"column": name}})
        if name == "split":
            field |= {"dataType": _TEXT, "references": {"field": {"@id": "splits/name"}}}
        fields.append(field)
    for name, (kind, description) in _IMAGE_FIELDS.items():
        place = {**source, "extract": {"column": "images"}, "transform": {"jsonPath": name}}
        field = _field("studies", f"images_{name}", kind, f"Of each image of the study: {description}", place)
        fields.append({**field, "isArray": True, "arrayShape": "-1"})
    fields += [_box_field(name, kind, description) for name, (kind, description) in _BOX_FIELDS.items()]
    return {
        "@type": "cr:RecordSet",
        "@id": "studies",
        "name": "studies",
        "description": "One row per study. Column labels (a map of label name to value) is not listed field by field.",
        "key": {"@id": "studies/study_id"},
        "field": fields,
    }


def _box_field(name: str, kind: str, description: str) -> Json:
    source = {"fileObject": {"@id": "manifest.parquet"}, "extract": {"column": "images"}}
    place = {**source, "transform": {"jsonPath": f"boxes[*].{name}"}}
    # mlcroissant 1.1 takes one match of a path: who reads by it must know
    text = f"Of each box of each image ({_ALL}): {description}"
    field = _field("studies", f"images_boxes_{name}", kind, text, place)
    return {**field, "isArray": True, "arrayShape": "-1,-1"}


def _images(config: PrepareConfig) -> Json:
    if config.store == "tar":
        name = {"extract": {"fileProperty": "filename"}, "transform": {"regex": f"^(.*)\\.{SUFFIXES[config.codec]}$"}}
        files = {"fileSet": {"@id": "image-files"}}
        sources = {**files, **name}, {**files, "extract": {"fileProperty": "content"}}
    else:
        files = {"fileSet": {"@id": "shards"}}
        sources = {**files, "extract": {"column": "image_id"}}, {**files, "extract": {"column": "image"}}
    text = f"Gray, {config.depth} bits, long side up to {config.size} pixels, air is 0; {MEDIA_TYPES[config.codec]}."
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "key": {"@id": "images/image_id"},
        "field": [
            _field("images", "image_id", _TEXT, "Pseudonym of the image.", sources[0]),
            _field("images", "image", _IMAGE, text, sources[1]),
        ],
    }


def _field(records: str, name: str, kind: str, description: str, source: Json) -> Json:
    return {
        "@type": "cr:Field",
        "@id": f"{records}/{name}",
        "name": name,
        "description": description,
        "dataType": kind,
        "source": source,
    }


def _responsible(studies: Sequence[Study], info: Mapping[str, Any], config: PrepareConfig) -> Json:
    """Fields of the RAI vocabulary that can be said from the data; the rest is the publisher's to add."""
    known = sum(bool(study.sex) and study.age_months is not None for study in studies)
    images = info["images"]
    return {
        "dataCollection": "Radiographs taken, and reports written, in the course of care or for research.",
        "dataCollectionMissingData": f"Sex and age are known for {known} of {len(studies)} studies; labels that are "
        "not stated are absent, not 0.",
        "dataPreprocessingProtocol": [
            f"Decoded, windowed as the file says or by percentiles, inverted to air at 0, "
            f"{'borders cut, ' if config.crop else ''}scaled to at most {config.size} pixels, "
            f"stored losslessly with {config.depth} bits.",
            f"{images['refused']} of {images['read']} images were refused; quarantine.parquet says why.",
            "Split by patient with a keyed hash.",
        ],
        "dataLimitations": ["Not for diagnosis. Windows cut off what they do not show."],
        "personalSensitiveInformation": [
            "Health data. Pseudonymised personal data in the sense of GDPR art. 4(5) where the source is a safe export."
        ],
    }
