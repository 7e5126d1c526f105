"""Values at every depth of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset


def gathered(ds: Dataset, read: Callable[[DataElement], Iterable[str]]) -> Iterator[str]:
    """What ``read`` makes of each element of ``ds`` and of the items of its sequences.

    An element that cannot be read is passed over: a malformed one holds nothing that is kept.
    """
    for tag in ds.keys():  # noqa: SIM118 - iterating a Dataset yields elements
        try:
            element = ds[tag]
            if element.VR == "SQ":
                for item in element.value:
                    yield from gathered(item, read)
            else:
                yield from read(element)
        except Exception:
            continue
