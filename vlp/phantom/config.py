"""What ``vlp phantom`` can be asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from anonymize.config import Config

ANATOMIES = ("hand", "knee", "forearm", "wrist", "lower_leg", "ankle", "chest")
Share = Annotated[float, Field(ge=0, le=1)]


class Shares(Config):
    """Share of the patients whose examinations are of each part; they are divided by their sum."""

    hand: float = Field(default=0.2, ge=0)
    knee: float = Field(default=0.2, ge=0)
    forearm: float = Field(default=0.12, ge=0)
    wrist: float = Field(default=0.1, ge=0)
    lower_leg: float = Field(default=0.08, ge=0)
    ankle: float = Field(default=0.06, ge=0)
    chest: float = Field(default=0.24, ge=0)

    @model_validator(mode="after")
    def _some(self) -> Shares:
        if not sum(self.model_dump().values()):
            raise ValueError("at least one share must be above 0")
        return self


class Prevalence(Config):
    """Share of the examinations (first of a patient) that show a finding."""

    fracture: float = Field(default=0.36, ge=0, le=0.4)  # negatives stay at 60 % or more
    effusion: Share = 0.36
    consolidation: Share = 0.30
    cardiomegaly: Share = 0.28
    pneumothorax: Share = 0.16


class PlantedShortcut(Config):
    """A lead marker's shape tied to a label: a fault planted on purpose, for tests of saliency and of robustness."""

    label: Literal["", "fracture", "effusion", "consolidation", "cardiomegaly", "pneumothorax", "kl_high"] = ""
    strength: Share = 0.9  # probability that the marker's shape tells the label; 0.5 tells nothing
    positive: str = "ring"
    negative: str = "square"


class PlantedGap(Config):
    """A group whose images have less contrast: a gap that a fairness report must find."""

    group: Literal["", "sex", "site"] = ""
    value: str = "F"  # F or M, or the number of the site
    contrast: float = Field(default=0.55, gt=0, le=1)


class PhantomConfig(Config):
    """Configuration of the synthetic hospital."""

    patients: int = Field(default=300, ge=1)
    seed: int = Field(default=0, ge=0)
    language: str = "fr"
    level: Literal["easy", "hard"] = "easy"
    size: int = Field(default=512, ge=64, le=4096)  # long side of a film before collimation, pixels
    encoding: Literal["utf-8", "cp1252"] = "utf-8"
    shares: Shares = Shares()
    prevalence: Prevalence = Prevalence()
    studies_mean: float = Field(default=1.7, ge=1, le=6)  # studies of a patient
    sites: int = Field(default=4, ge=1, le=40)  # hospitals in the export
    labelled_share: Share = 0.95  # studies that labels.csv holds
    burned_in_share: Share = 0.12  # images with an identity in the pixels
    two_exams_share: Share = 0.1  # reports that also cover a second examination
    holdout_styles: bool = True  # a fifth of the patients gets wordings that no other has
    kl_reader_sd: float = Field(default=0.42, ge=0)  # grades; two readers agree to a quadratic kappa of about 0.88
    bone_age_reader_sd_years: float = Field(default=0.58, ge=0)
    name_typo_share: Share = 0.0  # names in the text with one typing error
    planted_shortcut: PlantedShortcut = PlantedShortcut()
    planted_gap: PlantedGap = PlantedGap()
    answer_key: bool = (
        False  # truth/answers.parquet: what a de-identifier must do with each image, for anonymize midi-check
    )
    faults: bool = False  # broken input, each recorded in truth/faults.parquet
    faults_per_kind: int = Field(default=2, ge=1, le=50)
    workers: int = Field(default=0, ge=0)  # processes; 0 means all cores. Does not change the output
    chunk_patients: int = Field(default=12, ge=1, le=1000)  # unit of work and of resume
