"""Configuration of ``vlp prepare``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from anonymize.config import Config


class SplitConfig(Config):
    """Parts of the patients that are held out. A patient's place follows from the pseudonym and ``salt`` alone."""

    validation: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.2, ge=0, lt=1)
    salt: str = "vlp"  # another value deals the patients anew

    @model_validator(mode="after")
    def _some_train(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave some patients for training (sum below 1)")
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
    keep_unreported: bool = True  # keep studies without a report, for self-supervision and labels
    drop_duplicates: bool = True  # refuse all but the first of images with equal pixels
    near_duplicate_bits: int = Field(default=28, ge=0, le=64)  # of the 256 perceptual-hash bits that may differ
    drop_near_duplicates: bool = False  # also refuse near-duplicates of an image of another patient
    depth: Literal[8, 16] = 8  # bits a pixel of the stored images; 16 keeps the shades of the displayed range
    codec: Literal["tiff", "png"] = "tiff"  # lossless both; png opens in more programs and takes four times as long
    store: Literal["parquet", "tar"] = "parquet"  # of the shards; tar is what webdataset reads
    shard_images: int = Field(default=512, ge=1)  # images in a shard, which is also what a killed run loses at most
    workers: int = Field(default=0, ge=0)  # processes; 0 takes all cores, 1 stays in this process
    card_examples: int = Field(default=0, ge=0)  # images of each anatomy that the data card shows
    site: str = ""  # name of the source; empty takes the device family of each study
    language: str = ""  # of words in exam names and descriptions; empty tries every pack
    split: SplitConfig = Field(default_factory=SplitConfig)
    about: AboutConfig = Field(default_factory=AboutConfig)
