"""Stored values to display values: pydicom's where pydicom is right, the standard's where it refuses or wraps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing
from pydicom.tag import Tag

from vlp.corpus.grayscale import grayscale
from vlp.corpus.window import FULL, display


def header(bits: int = 12, signed: bool = False, **tags: object) -> Dataset:
    ds = Dataset()
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsStored, ds.BitsAllocated, ds.HighBit = bits, 16, bits - 1
    ds.PixelRepresentation = int(signed)
    for name, value in tags.items():
        setattr(ds, name, value)
    return ds


def every_value(bits: int = 12, signed: bool = False) -> np.ndarray:
    """An image that has each stored value once."""
    low = -(1 << (bits - 1)) if signed else 0
    return np.arange(low, low + (1 << bits)).astype(np.int16 if signed else np.uint16).reshape(16, -1)


def table(first: int, entries: np.ndarray, depth: int = 16, vr: str = "US") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) & 0xFFFF, first, depth])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    if vr == "US":
        item.add_new("LUTData", "US", entries.tolist())
    return item


@st.composite
def headers(draw: st.DrawFn) -> tuple[Dataset, int, bool]:
    """A header that pydicom's own functions read without their known faults."""
    bits, signed = draw(st.integers(8, 16)), draw(st.booleans())
    ds = header(bits, signed)
    ds.PhotometricInterpretation = draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    ends = np.array([low, high], float)
    kind = draw(st.sampled_from(["none", "rescale", "table"]))
    if kind == "rescale":
        ds.RescaleSlope = draw(st.floats(0.01, 20).map(lambda v: round(v, 4)))
        ds.RescaleIntercept = draw(st.integers(-5000, 5000))
        ends = ends * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    elif kind == "table":
        first = draw(st.integers(max(low, -300), 300))
        depth = draw(st.sampled_from([8, 16]))
        entries = np.sort(rng.integers(0, 2**depth, draw(st.integers(2, 3000))))
        ds.ModalityLUTSequence = [table(first, entries, depth)]
        ends = np.array([0, 2**depth - 1], float)
    if draw(st.booleans()):
        inside = draw(st.floats(0, 1))
        ds.WindowCenter = round(float(ends[0] + inside * np.ptp(ends)), 3)
        ds.WindowWidth = round(max(2.0, draw(st.floats(0.05, 2)) * float(np.ptp(ends))), 3)
        ds.VOILUTFunction = draw(st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]))
    else:
        entries = np.sort(rng.integers(0, 65536, draw(st.integers(2, 5000))))
        ds.VOILUTSequence = [table(draw(st.integers(-2000, 2000)), entries, 16)]
    return ds, bits, signed


@settings(max_examples=150, deadline=None)
@given(headers())
def test_display_is_what_pydicom_gives(made: tuple[Dataset, int, bool]) -> None:
    ds, bits, signed = made
    stored = every_value(bits, signed)
    found, path = display(stored, ds, bits)
    if path.startswith("percentile"):
        return  # the window shows nothing of this image
    modality = apply_modality_lut(stored.astype(np.int32), ds)
    if path == "voi_lut":
        # pydicom counts entries in uint16, where a value far beyond the table comes back to its first entry
        last = ds.VOILUTSequence[0].LUTDescriptor[1] + 65535
        expected = apply_voi(np.minimum(np.round(modality).astype(np.int32), last), ds).astype(float)
        low, high = expected.min(), expected.max()
    else:
        expected = apply_windowing(modality, ds)
        low, high = _range(ds, bits, signed)
    expected = (expected - low) / (high - low)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        expected = 1 - expected
    assert np.abs(found - expected * FULL).max() <= 0.51


def _range(ds: Dataset, bits: int, signed: bool) -> tuple[float, float]:
    """Between which pydicom puts a window's values."""
    if "ModalityLUTSequence" in ds:
        return 0, 2 ** ds.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


def test_a_window_of_width_one_is_a_threshold() -> None:
    stored = np.repeat(np.array([[9, 10, 11, 200]], np.uint16), 4, axis=0)
    ds = header(8, WindowCenter=10.5, WindowWidth=1, VOILUTFunction="LINEAR")
    assert display(stored, ds, 8)[1] == "percentile_bad_window"  # black and white only: no film is meant so
    from vlp.corpus.window import window

    assert window(np.array([9.0, 10, 10.001, 11]), 10.5, 1, "LINEAR").tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("width", [0, -300, "", "nan", 1e300])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", "CUBIC"])
def test_windows_that_mean_nothing_fall_back(width: object, function: str) -> None:
    ds = header(VOILUTFunction=function)
    ds.add_new("WindowCenter", "LO", "2000")
    ds.add_new("WindowWidth", "LO", str(width))
    out, path = display(every_value(), ds, 12)
    assert path == ("percentile" if width == "" else "percentile_bad_window")
    assert out.min() == 0
    assert out.max() == FULL


def test_the_second_window_counts_where_the_first_shows_nothing() -> None:
    ds = header(WindowCenter=[90_000, 2000], WindowWidth=[10, 3000])
    out, path = display(every_value(), ds, 12)
    assert path == "window_linear"
    assert out.ravel()[2000] == pytest.approx(FULL / 2, abs=30)


def test_a_bad_table_gives_way_to_the_window() -> None:
    item = table(0, np.arange(100))
    item.LUTDescriptor = [4096, 0, 16]  # more entries than there are
    ds = header(WindowCenter=2000, WindowWidth=3000, VOILUTSequence=[item])
    assert display(every_value(), ds, 12)[1] == "window_linear"


def test_decimal_commas_and_padding_blanks_are_read() -> None:
    ds = header()
    for tag, text in (
        (0x00281050, b"2000,5 "),
        (0x00281051, b"3000,25\\7 "),
        (0x00281053, b"1,5"),
        (0x00281052, b"-3"),
    ):
        ds[tag] = RawDataElement(Tag(tag), "DS", len(text), text, 0, False, True)
    gray = grayscale(ds, signed=False)
    assert gray.windows == ((2000.5, 3000.25),)
    assert (gray.slope, gray.intercept) == (1.5, -3)
    assert display(every_value(), ds, 12)[1] == "window_linear"


@pytest.mark.parametrize("slope", ["0", "nan", "x", "1e400"])
def test_a_rescale_that_means_nothing_is_left_out_and_named(slope: str) -> None:
    ds = header(WindowCenter=2000, WindowWidth=3000, RescaleIntercept=0)
    ds.add_new("RescaleSlope", "LO", slope)
    out, path = display(every_value(), ds, 12)
    assert path == "percentile_bad_rescale"
    assert out.max() == FULL


def test_tables_that_pydicom_cannot_read() -> None:
    """12-bit entries, packed 8-bit entries, 65536 entries, more than 256 entries of 8 bits, negative first values."""
    stored = every_value()
    ds = header(WindowCenter=2048, WindowWidth=4096, VOILUTFunction="LINEAR_EXACT")
    ds.ModalityLUTSequence = [table(0, np.arange(4096), 12, "OW")]
    out, path = display(stored, ds, 12)
    assert path == "window_linear_exact"
    assert np.abs(out.ravel() - np.arange(4096) / 4096 * FULL).max() <= 1

    packed = table(0, np.arange(256), 8)
    packed.add_new("LUTData", "OW", bytes(range(256)))
    out, path = display(every_value(8), header(8, VOILUTSequence=[packed]), 8)
    assert path == "voi_lut"
    assert np.array_equal(out.ravel(), np.round(np.arange(256) / 255 * FULL))

    wide = table(0, np.arange(4096) // 16, 8)
    out, _ = display(stored, header(VOILUTSequence=[wide]), 12)
    assert (np.diff(out.ravel().astype(int)) >= 0).all()

    whole = table(0, np.arange(65536), 16, "OW")
    assert whole.LUTDescriptor[0] == 0  # stands for 65536
    out, _ = display(every_value(16), header(16, VOILUTSequence=[whole]), 16)
    assert np.array_equal(out.ravel(), np.arange(65536))

    signed = table(-2048, np.arange(4096), 16, "OW")
    signed.add_new("LUTDescriptor", "US", [4096, 65536 - 2048, 16])  # the sign lost
    out, _ = display(every_value(12, True), header(12, True, VOILUTSequence=[signed]), 12)
    assert np.array_equal(out.ravel(), np.round(np.arange(4096) / 4095 * FULL))


def test_inverse_presentation_is_white_for_the_smallest_value() -> None:
    plain, _ = display(every_value(), header(WindowCenter=2048, WindowWidth=4096), 12)
    for tags in (
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"},
    ):
        out, _ = display(every_value(), header(WindowCenter=2048, WindowWidth=4096, **tags), 12)
        assert np.array_equal(out, FULL - plain)
    same, _ = display(every_value(), header(WindowCenter=2048, WindowWidth=4096, PresentationLUTShape="IDENTITY"), 12)
    assert np.array_equal(same, plain)


def test_windows_of_an_enhanced_object_stand_in_its_functional_groups() -> None:
    group, voi, rescale = Dataset(), Dataset(), Dataset()
    voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = 1000, 2000, "LINEAR_EXACT"
    rescale.RescaleSlope, rescale.RescaleIntercept = 0.5, 0
    group.FrameVOILUTSequence, group.PixelValueTransformationSequence = [voi], [rescale]
    out, path = display(every_value(), header(SharedFunctionalGroupsSequence=[group]), 12)
    assert path == "window_linear_exact"
    assert out.ravel()[2000] == pytest.approx(FULL / 2, abs=1)


@pytest.mark.parametrize(("value", "vr"), [(-2000, "SS"), (65536 - 2000, "US")])
def test_padding_counts_for_nothing_and_is_black(value: int, vr: str) -> None:
    stored = every_value(12, True).copy()
    stored[:4] = -2000
    ds = header(12, True, PhotometricInterpretation="MONOCHROME1")
    ds.add_new("PixelPaddingValue", vr, value)
    out, _ = display(stored, ds, 12)
    assert not out[:4].any()
    assert out[4:].max() > 0.98 * FULL
    assert out[4, 0] > 0.98 * FULL  # the lowest value of the image itself is white


def test_padding_may_be_a_range() -> None:
    stored = every_value().copy()
    ds = header(WindowCenter=2048, WindowWidth=4096)
    ds.add_new("PixelPaddingValue", "US", 4095)
    ds.add_new("PixelPaddingRangeLimit", "US", 4000)
    out, _ = display(stored, ds, 12)
    assert not out.ravel()[4000:].any()
    assert out.ravel()[3999] > 0.9 * FULL


@settings(max_examples=100, deadline=None)
@given(
    data=st.data(),
    texts=st.dictionaries(
        st.sampled_from([0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281056, 0x00280120, 0x20500020]),
        st.binary(max_size=20),
    ),
)
def test_any_bytes_in_the_gray_elements_give_an_image(data: st.DataObject, texts: dict[int, bytes]) -> None:
    ds = header()
    for tag, text in texts.items():
        vr = data.draw(st.sampled_from(["DS", "LO", "US", "FD", "SQ"]))
        ds[tag] = RawDataElement(Tag(tag), vr, len(text), text, 0, False, True)
    out, path = display(every_value(), ds, 12)
    assert out.shape == (16, 256)
    assert path.split("_")[0] in ("percentile", "window", "voi")
