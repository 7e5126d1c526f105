"""Configuration of ``vlp prepare``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from anonymize.config import Config
from anonymize.engines import Engine


class SplitConfig(Config):
    """Parts of the patients that are held out.

    By default a patient's place follows from the pseudonym and ``salt`` alone, so new data never move a patient, whoever
    forgets what. With ``stratify`` the parts are balanced, and ``ledger`` keeps the patients of a former corpus in place.
    """

    validation: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.2, ge=0, lt=1)
    salt: str = "vlp"  # another value deals the patients anew
    official: bool = False  # take the split of a public set's authors where it has one
    stratify: bool = (
        False  # balance anatomy, sex, age and reports; name the former corpus as ledger when data are added
    )
    ledger: str = ""  # a former corpus, or its splits.parquet: its patients keep their part

    @model_validator(mode="after")
    def _some_train(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave some patients for training (sum below 1)")
        if self.official and (self.stratify or self.ledger):
            raise ValueError("official takes the authors' split: leave stratify and ledger out")
        return self


class AboutConfig(Config):
    """What the metadata (``croissant.json``, ``card.md``) say of a corpus that its files do not."""

    name: str = Field(default="corpus", min_length=1)
    description: str = ""  # empty says what the counts say
    licence: str = ""  # URL or SPDX name; empty: none is granted
    creator: str = ""  # organisation
    url: str = ""  # page of the data set
    published: str = Field(default="", pattern=r"^(\d{4}-\d{2}-\d{2})?$")  # ISO 8601 day
    citation: str = ""


class PrepareConfig(Config):
    """How a safe export, or a folder of images with a table, becomes a corpus."""

    size: int = Field(default=224, ge=16, le=4096)  # working size: long side in pixels
    crop: bool = True  # cut flat black or white borders (shutter, collimation, unexposed film)
    modalities: list[str] = Field(default=["CR", "DX", "DR", "RG", "RF", "OT", "SC"])  # DICOM; unknown ones are kept
    keep_unreported: bool = True  # keep studies without a report, for self-supervision and labels
    pair_days: int = Field(default=0, ge=0, le=7)  # days a report without study number may be dated after its images
    drop_duplicates: bool = True  # refuse all but the first of images with equal pixels
    near_duplicate_bits: int = Field(default=40, ge=0, le=64)  # of 256 hash bits that a proposed pair may differ in
    drop_near_duplicates: bool = False  # also refuse near-duplicates of an image of another patient
    depth: Literal[8, 16] = 8  # bits a pixel of the stored images; 16 keeps the shades of the displayed range
    codec: Literal["tiff", "png"] = "tiff"  # lossless both; png opens in more programs and takes four times as long
    store: Literal["parquet", "tar"] = "parquet"  # of the shards; tar is what webdataset reads
    shard_images: int = Field(default=512, ge=1)  # images in a shard, which is also what a killed run loses at most
    workers: int = Field(default=0, ge=0)  # processes; 0 takes all cores, 1 stays in this process
    engine: Engine = "local"  # processes of this machine, or actors of a Ray cluster
    card_examples: int = Field(default=0, ge=0)  # images of each anatomy that the data card shows
    site: str = ""  # name of the source; empty takes the device family of each study
    language: str = ""  # of words in exam names and descriptions; empty tries every pack
    recognise: bool = True  # learn from known images to name anatomy and view where header and report are silent
    recognise_least: int = Field(default=40, ge=20)  # known images of a class, below which it is not learned
    recognise_confidence: float = Field(default=0.95, ge=0.5, lt=1)  # below, what an image shows stays unknown
    split: SplitConfig = Field(default_factory=SplitConfig)
    about: AboutConfig = Field(default_factory=AboutConfig)
