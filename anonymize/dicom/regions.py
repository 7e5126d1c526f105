"""Templates: places where known devices write into the pixels (regions.yaml, and a file of the user's own)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError
from pydicom.dataset import Dataset

from anonymize.config import Config, ConfigError
from anonymize.dicom.boxes import Box

SHIPPED = Path(__file__).with_name("regions.yaml")

Edge = int | Literal["right", "bottom"]


class When(Config):
    """Conditions on the header of the source; those that are not given hold always."""

    manufacturer: str = ""
    model: str = ""
    modality: str = ""
    image_type: str = ""
    series_description: str = ""
    rows: int | None = None
    columns: int | None = None
    burned_in: Literal["", "YES", "NO"] = ""

    def holds(self, ds: Dataset) -> bool:
        """Whether every condition holds for ``ds``."""
        texts = {
            "Manufacturer": self.manufacturer,
            "ManufacturerModelName": self.model,
            "Modality": self.modality,
            "ImageType": self.image_type,
            "SeriesDescription": self.series_description,
            "BurnedInAnnotation": self.burned_in,
        }
        if any(part and part.casefold() not in _text(ds.get(name)) for name, part in texts.items()):
            return False
        return self.rows in (None, ds.get("Rows")) and self.columns in (None, ds.get("Columns"))


class Template(Config):
    """One entry of a file of regions."""

    name: str = Field(pattern=r"^[\w.-]{1,60}$")
    when: When
    fill: list[tuple[Edge, Edge, Edge, Edge]] = Field(min_length=1)

    def boxes(self, rows: int, columns: int) -> tuple[Box, ...]:
        """The filled boxes of an image of ``rows`` x ``columns``, cut at its edges; empty ones are left out."""
        made = []
        for x0, y0, x1, y1 in self.fill:
            box = (_at(x0, columns), _at(y0, rows), _at(x1, columns), _at(y1, rows))
            if box[2] > box[0] and box[3] > box[1]:
                made.append(box)
        return tuple(made)


def _text(value: Any) -> str:
    parts = value if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue" else [value]
    return "\\".join(str(part or "") for part in parts).casefold()


def _at(edge: Edge, size: int) -> int:
    place = size if isinstance(edge, str) else edge + size if edge < 0 else edge
    return min(max(place, 0), size)


@lru_cache(maxsize=4)
def templates(own: str = "") -> tuple[Template, ...]:
    """The shipped templates and those of the file ``own``.

    Raises:
        ConfigError: the file is missing, is no YAML, or an entry has an unknown key or a wrong value.
    """
    return tuple(entry for path in (SHIPPED, *([Path(own)] if own else [])) for entry in _read(path))


def _read(path: Path) -> list[Template]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file of regions")
    try:
        return TypeAdapter(list[Template]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")) or [])
    except yaml.YAMLError:
        raise ConfigError(f"{path}: not valid YAML") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: entry {place}: {first['msg']}") from None


def regions_of(ds: Dataset, own: str = "") -> tuple[str, tuple[Box, ...]]:
    """Names (joined by a blank) and boxes of the templates that hold for an instance; "" and () where none does."""
    rows, columns = int(ds.get("Rows") or 0), int(ds.get("Columns") or 0)
    holding = [template for template in templates(own) if template.when.holds(ds)]
    boxes = tuple(box for template in holding for box in template.boxes(rows, columns))
    return " ".join(template.name for template in holding), boxes
