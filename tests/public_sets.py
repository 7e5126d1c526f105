"""Miniature copies of public sets in their published structure, with the messes that the real ones have."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from pathlib import Path

import cv2
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from anonymize.console import Console
from vlp.corpus.adapters.public import read_set
from vlp.corpus.adapters.sets import SETS, run_prepare_set
from vlp.corpus.config import PrepareConfig
from vlp.corpus.dataset import Corpus


def pixels(name: str, height: int = 120, width: int = 90) -> np.ndarray:
    """uint8 [height, width]: a texture of its own for every name, so that no two films resemble one another."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    octaves = [cv2.resize(rng.normal(0, 90 / n, (4 * n, 3 * n)), (width, height)) for n in (1, 2, 4, 8, 16)]
    return np.clip(128 + sum(octaves), 0, 255).astype(np.uint8)


def film(path: Path, bits: int = 8) -> None:
    """A film in the format that the ending names; 16-bit PNG with ``bits=16``; DICOM for .dicom and .dcm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels("/".join(path.parts[-3:]))
    if path.suffix in (".dicom", ".dcm"):
        dicom(path, image)
    elif bits == 16:
        cv2.imwrite(str(path), image.astype(np.uint16) * 257)
    else:
        Image.fromarray(image).save(path, quality=95)


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    """A table or text; gzip where the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def dicom(path: Path, image: np.ndarray, **elements: object) -> None:
    """uint8 [H, W] as DICOM of 12 bits, with further elements by keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.PhotometricInterpretation, ds.SamplesPerPixel = "DX", "MONOCHROME2", 1
    ds.Rows, ds.Columns = image.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = 2048, 4096
    ds.PixelData = (image.astype(np.uint16) * 16).tobytes()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    path.write_bytes(stream.getvalue())


def planned(tmp_path, name, make):
    """The source that the copy written by ``make`` gives."""
    make(tmp_path)
    return read_set(SETS[name], tmp_path, PrepareConfig())


def prepare(tmp_path, name, make, *, official=False):
    """The summary and the corpus that the copy written by ``make`` gives."""
    make(tmp_path / "set")
    config = PrepareConfig.model_validate({"size": 48, "workers": 1, "split": {"official": official}})
    summary = run_prepare_set(config, name, tmp_path / "set", tmp_path / "corpus", Console("quiet"))
    return summary, Corpus.open(tmp_path / "corpus")


def by_image(source, part):
    """The study whose first image's path holds ``part``."""
    return next(s for s in source.studies if any(part in image.file for image in s.images))


def rsna_bone_age(root: Path) -> None:
    """Challenge layout: validation and test in folders of their own, the test table as XLSX; 4361 is not there."""
    from openpyxl import Workbook

    write(
        root / "boneage-training-dataset.csv",
        "id,boneage,male\n1377,180,False\n1378,12,True\n1379,400,True\n1380,,True\n",
    )
    for number in (1377, 1378, 1379, 1380):
        film(root / f"boneage-training-dataset/boneage-training-dataset/{number}.png")
    validation = root / "Bone Age Validation Set"
    write(validation / "Validation Dataset.csv", "Image ID,male,Bone Age (months)\n1386,TRUE,60\n1377,FALSE,61\n")
    for number in (1386, 1377):  # a number that the training set has as well must not lead to the training film
        film(validation / f"boneage-validation-dataset-1/{number}.png")
    book = Workbook()
    for row in (("Case ID", "Sex", "Ground truth bone age (months)"), (4360, "M", 168.93), (4361, "F", 120)):
        book.active.append(row)
    (root / "Bone Age Test Set").mkdir()
    book.save(root / "Bone Age Test Set" / "Bone age ground truth.xlsx")
    film(root / "Bone Age Test Set/Test Set Images/4360.png")


def mura(root: Path) -> None:
    """Paths with the set's folder in front; macOS leftovers; one film listed twice, one missing, one odd path."""
    train = (
        "train/XR_WRIST/patient00006/study1_positive/image1.png",
        "train/XR_WRIST/patient00006/study1_positive/image2.png",
        "train/XR_HAND/patient00006/study1_negative/image1.png",
        "train/XR_SHOULDER/patient00007/study1_negative/image1.png",
        "train/XR_SHOULDER/patient00007/study2_negative/image1.png",
    )
    valid = ("valid/XR_FINGER/patient11185/study1_negative/image1.png",)
    for path in (*train[:4], *valid):
        film(root / "MURA-v1.1" / path)
    write(root / "MURA-v1.1/train/XR_WRIST/patient00006/study1_positive/._image1.png", "mac")
    listed = (*train, train[0], "train/odd.png")
    write(root / "MURA-v1.1/train_image_paths.csv", "".join(f"MURA-v1.1/{p}\n" for p in listed))
    write(root / "MURA-v1.1/valid_image_paths.csv", "".join(f"MURA-v1.1/{p}\n" for p in valid))


def fracatlas(root: Path) -> None:
    """A truncated JPEG (the real set has some), a stretched copy of a film, and a split of the fractures only."""
    head = "image_id,hand,leg,hip,shoulder,mixed,hardware,multiscan,fractured,fracture_count,frontal,lateral,oblique\n"
    rows = (
        "IMG0000019.jpg,1,0,0,0,0,0,0,1,1,1,0,0\nIMG0000020.jpg,0,1,0,0,0,1,1,1,2,1,1,0\n"
        "IMG0000000.jpg,0,1,0,0,0,0,0,0,0,0,1,0\nIMG0000001.jpg,0,0,1,0,0,0,0,0,0,1,0,0\n"
        "IMG0000002.jpg,0,0,1,0,0,0,0,0,0,1,0,0\n"
    )
    write(root / "FracAtlas/dataset.csv", head + rows)
    for name in (
        "Fractured/IMG0000019",
        "Fractured/IMG0000020",
        "Non_fractured/IMG0000000",
        "Non_fractured/IMG0000001",
    ):
        film(root / f"FracAtlas/images/{name}.jpg")
    copy = cv2.resize(pixels("images/Non_fractured/IMG0000001.jpg"), (100, 120))
    cv2.imwrite(str(root / "FracAtlas/images/Non_fractured/IMG0000002.jpg"), copy)
    cut = root / "FracAtlas/images/Non_fractured/IMG0000000.jpg"
    cut.write_bytes(cut.read_bytes()[:-900])
    write(root / "FracAtlas/Utilities/Fracture Split/test.csv", "image_id\nIMG0000019.jpg\n")
    write(root / "FracAtlas/Utilities/Fracture Split/train.csv", "image_id\nIMG0000020.jpg\n")


COCO = {
    "images": [
        {"id": 7, "file_name": "IMG0000019.jpg", "width": 90, "height": 120},
        {"id": 8, "file_name": "IMG0000020.jpg", "width": 180, "height": 240},
        {"id": 9, "file_name": "IMG0000000.jpg", "width": 90, "height": 120},
    ],
    "categories": [{"id": 0, "name": "fractured", "supercategory": ""}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 0, "bbox": [9, 12, 18, 24], "segmentation": [], "area": 432},
        {"id": 2, "image_id": 7, "category_id": 0, "bbox": [200, 12, 18, 24], "segmentation": [], "area": 432},
        {"id": 3, "image_id": 8, "category_id": 0, "bbox": [18.0, 24.0, 36.0, 48.0], "segmentation": [], "area": 1728},
        {"id": 4, "image_id": 9, "category_id": 0, "bbox": [1, 1, 5, 5], "segmentation": [], "area": 25},
    ],
}
"""A box beside its film, one counted in pixels of twice the size, one of a film that is damaged."""


def voc(name: str, label: str, corners: tuple[float, ...], size: tuple[int, int] = (90, 120)) -> str:
    """The annotation of one film with one object, as PASCAL VOC."""
    x0, y0, x1, y1 = corners
    return (
        f"<annotation><filename>{name}</filename><size><width>{size[0]}</width><height>{size[1]}</height>"
        f"<depth>1</depth></size><object><name>{label}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object></annotation>"
    )


def fracatlas_boxes(root: Path, *kinds: str) -> None:
    """:func:`fracatlas` with its annotations in the formats ``kinds``: coco, voc, yolo."""
    fracatlas(root)
    folder = root / "FracAtlas/Annotations"
    if "coco" in kinds:
        write(folder / "COCO JSON/COCO_fracture_masks.json", json.dumps(COCO))
    if "voc" in kinds:
        write(folder / "PASCAL VOC/IMG0000019.xml", voc("IMG0000019.jpg", "fractured", (9, 12, 27, 36)))
        write(folder / "PASCAL VOC/IMG0000020.xml", "<annotation><object>")
    if "yolo" in kinds:
        write(folder / "YOLO/IMG0000019.txt", "0 0.2 0.2 0.2 0.2\n")
        write(folder / "YOLO/IMG0000001.txt", "")


GRAZ_HEAD = (
    "filestem,patient_id,study_number,timehash,gender,age,laterality,projection,initial_exam,ao_classification,cast,"
    "diagnosis_uncertain,osteopenia,fracture_visible,metal,pixel_spacing,device_manufacturer\n"
)


def grazpedwri(root: Path) -> None:
    """16-bit PNG in four folders; the fracture shows in one of two views; both wrists on one day; no patient."""
    stems = (
        "0001_1297860395_01_WRI-L1_M014",
        "0001_1297860435_01_WRI-L2_M014",
        "0001_1297860440_01_WRI-R1_M014",
        "0002_0354485735_01_WRI-R1_F012",
        "0003_0662359226_01_WRI-R1_F009",
        "0004_0662359226_01_WRI-R1_F009",
    )
    rows = (
        f"{stems[0]},1,1,1297860395,M,14.2,L,1,1.0,23r-M/2.1,,,,,,0.144,Siemens\n"
        f"{stems[1]},1,1,1297860435,M,14.2,L,2,1.0,23r-M/2.1,,,,1.0,,0.144,Siemens\n"
        f"{stems[2]},1,1,1297860440,M,14.2,R,1,1.0,,,,,,,0.144,Siemens\n"
        f"{stems[3]},2,1,354485735,F,12.0,R,3,1.0,,,1.0,,,,0.139,Agfa\n"
        f"{stems[4]},3,1,662359226,F,9.5,R,1,0.0,,1.0,,,,1.0,,Agfa\n"
        f"{stems[5]},,1,662359226,F,9.5,R,1,0.0,,1.0,,,,1.0,,Agfa\n"
    )
    write(root / "dataset.csv", GRAZ_HEAD + rows)
    for number, stem in enumerate(stems):
        film(root / f"images_part{1 + number % 4}/{stem}.png", bits=16)
    base = root / "folder_structure"
    write(base / f"yolov5/labels/{stems[0]}.txt", "8 0.1 0.1 0.1 0.1\n3 0.5 0.5 0.25 0.5\n")
    write(base / f"yolov5/labels/{stems[1]}.txt", "3 0.5 0.5 0 0.5\n3 0.5 x 0.2 0.5\n\n3 0.5\n")
    write(base / f"pascalvoc/{stems[0]}.xml", voc(f"{stems[0]}.png", "axis", (1, 1, 5, 5)))


def oai_kl(root: Path) -> None:
    """Both knees of a person in two splits, a detector's crop of a test knee, and stray files."""
    base = root / "KneeXrayData/ClsKLData/kneeKL224"
    for path in ("train/0/9003175L", "train/4/9003316R", "val/2/9004175L", "test/3/9003175R", "auto_test/3/9003175R"):
        film(base / f"{path}.png")
    film(base / "train/5/9009999L.png")
    film(base / "train/1/knee.png")
    film(base / "auto_test/1/9008888L.png")
    write(base / "train/0/.DS_Store", "mac")
    write(base / "train/0/Thumbs.db", "windows")


def vindr_cxr(root: Path) -> None:
    """Three readers a training film; a film that one reader alone calls abnormal; one DICOM is missing."""
    head = "image_id,rad_id,Cardiomegaly,Clavicle fracture,Consolidation,Pleural effusion,Pneumothorax,Rib fracture,Pneumonia,"
    votes = {
        "a1": ("1,0,0,0,0,0,0,0", "1,0,0,1,0,0,0,0", "0,0,0,0,0,0,0,1"),
        "b2": ("0,0,0,0,0,0,0,1", "0,0,0,0,0,0,0,1", "0,0,0,0,0,1,0,0"),
        "c3": ("0,0,0,0,0,0,0,1",) * 3,
    }
    rows = "".join(f"{name},R{n},{row}\n" for name, three in votes.items() for n, row in enumerate(three))
    write(root / "annotations/image_labels_train.csv", head + "No finding\n" + rows)
    write(root / "annotations/image_labels_test.csv", head.replace("rad_id,", "") + "No finding\nd4,0,0,0,1,0,0,0,0\n")
    boxes = (
        "a1,R0,Cardiomegaly,18,60,72,90\na1,R1,Cardiomegaly,20,60,70,90\na1,R1,Pleural effusion,9.0,84.0,27.0,132.0\n"
        "a1,R2,No finding,,,,\nb2,R2,Rib fracture,45,30,45,60\nz9,R2,Rib fracture,45,30,55,60\n"
    )
    corners = "class_name,x_min,y_min,x_max,y_max\n"
    write(root / "annotations/annotations_train.csv", f"image_id,rad_id,{corners}{boxes}")
    write(root / "annotations/annotations_test.csv", f"image_id,{corners}d4,Pleural effusion,9,84,27,118\n")
    for path in ("train/a1", "train/b2", "test/d4"):
        film(root / f"{path}.dicom")


def vindr_pcxr(root: Path) -> None:
    write(
        root / "image_labels_train.csv",
        "image_id,rad_ID,No finding,Bronchitis,Brocho-pneumonia\ne5,R1,0.0,0.0,1.0\nf6,R2,1.0,0.0,0.0\n",
    )
    write(
        root / "annotations_train.csv",
        "image_id,rad_ID,class_name,class_id,x_min,y_min,x_max,y_max\ne5,R1,Pleural effusion,3,1,2,3,4\n",
    )
    for name in ("e5", "f6"):
        film(root / f"train/{name}.dicom")


def vindr_spinexr(root: Path) -> None:
    """Several boxes a film; two films of a study; a study with implants and none of the other lesions."""
    head = "image_id,study_id,series_id,rad_id,lesion_type,xmin,ymin,xmax,ymax\n"
    rows = (
        "g7,s1,q1,R1,Osteophytes,1,2,3,4\ng7,s1,q1,R1,Vertebral collapse,1,2,3,4\ng8,s1,q2,R1,No finding,,,,\n"
        "h9,s2,q3,R1,Surgical implant,1,2,3,4\n"
    )
    write(root / "annotations/train.csv", head + rows)
    write(root / "annotations/test.csv", head + "i0,s3,q4,R2,No finding,,,,\n")
    for path in ("train_images/g7", "train_images/g8", "train_images/h9", "test_images/i0"):
        film(root / f"{path}.dicom")
