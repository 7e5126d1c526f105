from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_windowing
from pydicom.sequence import Sequence
from safe_factory import dicom_image, save

from vlp.corpus.decode import Undecodable, decode, decode_bytes
from vlp.corpus.frame import content_box, working_image
from vlp.corpus.window import FULL, display, window


def content(ds) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def stored(ds):
    return np.frombuffer(ds.PixelData, np.uint16).reshape(ds.Rows, ds.Columns)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_agrees_with_pydicom(function):
    ds = dicom_image(WindowCenter=[1800, 9], WindowWidth=[900, 9], VOILUTFunction=function)
    ds.RescaleSlope, ds.RescaleIntercept = 0.5, 300
    expected = apply_windowing(apply_modality_lut(stored(ds), ds), ds, index=0).astype(float)
    low, high = 300, 300 + 0.5 * 4095  # pydicom gives the window in the range of modality values
    decoded = decode_bytes(content(ds))
    assert decoded.window_path == f"window_{function.lower()}"
    assert decoded.spacing_mm == pytest.approx(0.2)
    assert np.abs(decoded.pixels - (expected - low) / (high - low) * FULL).max() <= 40


def test_voi_lut_goes_before_window_and_is_scaled_by_its_content():
    lut = Dataset()
    lut.LUTDescriptor = [4096, 0, 16]
    lut.LUTData = (np.arange(4096) ** 2 // 4096).astype(np.uint16).tobytes()
    ds = dicom_image(WindowCenter=10, WindowWidth=20)
    lut["LUTDescriptor"].VR, lut["LUTData"].VR = "US", "OW"
    ds.VOILUTSequence = Sequence([lut])
    decoded = decode_bytes(content(ds))
    expected = (stored(ds).astype(np.int64) ** 2 // 4096) / (4095**2 // 4096)
    assert decoded.window_path == "voi_lut"
    assert np.abs(decoded.pixels - expected * FULL).max() <= 1


def test_monochrome1_is_the_inverse_of_monochrome2():
    plain = decode_bytes(content(dicom_image(WindowCenter=2000, WindowWidth=3000))).pixels
    ds = dicom_image(WindowCenter=2000, WindowWidth=3000, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(decode_bytes(content(ds)).pixels, FULL - plain)
    assert plain[40, 30] > plain[2, 2]


def test_bad_windows_fall_back_to_percentiles_and_say_so():
    for width, centre, path in (
        (None, None, "percentile"),
        (1, 90_000, "percentile_bad_window"),
        (0, 5, "percentile_bad_window"),
    ):
        tags = {} if width is None else {"WindowCenter": centre, "WindowWidth": width}
        decoded = decode_bytes(content(dicom_image(**tags)))
        assert decoded.window_path == path
        assert decoded.pixels.min() < 1000
        assert decoded.pixels.max() > 64_000


def test_padding_is_black_in_both_senses():
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        ds = dicom_image(PhotometricInterpretation=photometric, WindowCenter=2000, WindowWidth=4000)
        pixels = stored(ds).copy()
        pixels[:20] = 4095
        ds.PixelData = pixels.tobytes()
        ds.add_new("PixelPaddingValue", "US", 4095)
        assert not decode_bytes(content(ds)).pixels[:20].any()


def test_signed_and_understated_bits():
    ds = dicom_image(PixelRepresentation=1, BitsStored=12, HighBit=11)
    pixels = np.linspace(-2000, 2000, 4800).astype(np.int16).reshape(80, 60)
    ds.PixelData = pixels.tobytes()
    ds.WindowCenter, ds.WindowWidth = 0, 4000
    out = decode_bytes(content(ds)).pixels.ravel()
    assert (np.diff(out.astype(int)) >= 0).all()
    assert out[0] < 100
    assert out[-1] > 65_000
    wide = dicom_image(bits=14)
    wide.BitsStored, wide.HighBit = 10, 9
    assert decode_bytes(content(wide)).bits == 14
    assert np.array_equal(decode_bytes(content(wide)).pixels, decode_bytes(content(dicom_image(bits=14))).pixels)


def test_overlay_in_unused_bits_is_cut_off():
    ds = dicom_image(bits=12, WindowCenter=2000, WindowWidth=4000)
    plain = decode_bytes(content(ds)).pixels
    drawn = stored(ds).copy()
    drawn[10:20] |= 1 << 12
    ds.PixelData = drawn.tobytes()
    ds.add_new(0x60000102, "US", 12)
    assert np.array_equal(decode_bytes(content(ds)).pixels, plain)


@settings(max_examples=60, deadline=None)
@given(
    bits=st.integers(8, 16),
    centre=st.floats(-500, 70_000),
    width=st.floats(1, 70_000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    inverse=st.booleans(),
)
def test_display_is_monotonic_and_in_range(bits, centre, width, function, inverse):
    ds = Dataset()
    ds.PhotometricInterpretation = "MONOCHROME1" if inverse else "MONOCHROME2"
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = centre, width, function
    ds.BitsStored, ds.BitsAllocated, ds.PixelRepresentation = bits, 16, 0
    values = np.linspace(0, 2**bits - 1, 400).astype(np.uint16).reshape(20, 20)
    out, path = display(values, ds, bits)
    steps = np.diff(out.ravel().astype(int)) * (-1 if inverse else 1)
    assert (steps >= 0).all()
    assert out.max() > out.min() or path.startswith("window")
    assert window(np.array([centre - 10 * width, centre + 10 * width]), centre, width, function) == pytest.approx(
        [0, 1], abs=1e-6
    )


def refused(data: bytes) -> str:
    with pytest.raises(Undecodable) as caught:
        decode_bytes(data)
    return caught.value.reason


def test_refusals_name_their_reason():
    good = content(dicom_image())
    assert refused(b"") == "empty_file"
    assert refused(good[: len(good) // 2]) == "truncated_image"
    assert refused(b"Compte rendu\0" * 40) == "not_an_image"
    assert refused(content(dicom_image(PixelData=None, Rows=None, Columns=None))) == "no_pixels"
    assert refused(content(dicom_image(NumberOfFrames=2))) == "multi_frame"
    assert refused(content(dicom_image(SamplesPerPixel=3, PhotometricInterpretation="RGB"))) == "colour_image"
    assert refused(content(dicom_image(Rows=60_000, Columns=60_000))) == "image_too_large"
    colour = np.zeros((40, 40, 3), np.uint8)
    colour[..., 0] = 200
    assert refused(cv2.imencode(".png", colour)[1].tobytes()) == "colour_image"
    jpeg = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (90, 90), dtype=np.uint8))[1].tobytes()
    assert refused(jpeg[: len(jpeg) // 2]) == "truncated_image"
    frames = io.BytesIO()
    Image.new("L", (30, 30)).save(frames, "TIFF", save_all=True, append_images=[Image.new("L", (30, 30))])
    assert refused(frames.getvalue()) == "multi_frame"
    objects = io.BytesIO()
    np.save(objects, np.array([{}], object), allow_pickle=True)
    assert refused(objects.getvalue()) == "truncated_image"
    with pytest.raises(Undecodable, match="cannot be read"):
        decode(Path("/nowhere/at/all.dcm"))


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused_or_read_and_never_crash(data):
    whole = bytearray(content(dicom_image(shape=(30, 26))))
    for _ in range(data.draw(st.integers(1, 12))):
        whole[data.draw(st.integers(0, 900))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_bytes(bytes(whole[: data.draw(st.integers(1, len(whole)))]))
    except Undecodable:
        return
    assert decoded.pixels.ndim == 2
    assert decoded.pixels.dtype in (np.uint8, np.uint16)


def test_pictures_are_known_by_content_not_by_name(tmp_path):
    gray = np.random.default_rng(1).integers(0, 255, (50, 40), dtype=np.uint8)
    path = tmp_path / "image.dcm"
    path.write_bytes(cv2.imencode(".png", gray)[1].tobytes())
    assert np.array_equal(decode(path).pixels, gray)
    path.write_bytes(cv2.imencode(".png", cv2.merge([gray] * 3))[1].tobytes())
    assert np.array_equal(decode(path).pixels, gray)
    deep = gray.astype(np.uint16) * 16
    path.write_bytes(cv2.imencode(".tif", deep)[1].tobytes())
    assert decode(path).window_path == "percentile"
    np.save(tmp_path / "a.npy", deep)
    assert np.array_equal(decode(tmp_path / "a.npy").pixels, decode(path).pixels)


def test_pixels_that_are_not_square_become_square():
    ds = dicom_image(PixelSpacing=[0.4, 0.2], WindowCenter=2000, WindowWidth=4000)
    decoded = decode_bytes(content(ds))
    assert decoded.pixels.shape == (160, 60)
    assert decoded.spacing_mm == pytest.approx(0.2)
    magnified = dicom_image(ImagerPixelSpacing=[0.2, 0.2], EstimatedRadiographicMagnificationFactor=1.25)
    assert decode_bytes(content(magnified)).spacing_mm == pytest.approx(0.16)


def test_crop_takes_black_and_white_borders_and_keeps_markers():
    rng = np.random.default_rng(0)
    image = np.zeros((1000, 800), np.uint16)
    image[100:900, 150:700] = rng.integers(9000, 50_000, (800, 550))
    image[:, 760:] = 65_535
    top, bottom, left, right = content_box(image)
    assert 90 <= top <= 100
    assert 900 <= bottom <= 912
    assert 140 <= left <= 150
    assert 700 <= right <= 712
    image[40:80, 300:330] = 65_535  # a lead marker in the border above
    assert content_box(image)[0] <= 40
    assert content_box(np.zeros((300, 200), np.uint8)) == (0, 300, 0, 200)


def test_a_white_frame_leaves_no_white_line():
    image = np.full((1000, 800), 65_535, np.uint16)
    image[103:899, 151:702] = np.random.default_rng(0).integers(2000, 20_000, (796, 551))
    out, *_ = working_image(image, None, 224)
    for line in (out[0], out[-1], out[:, 0], out[:, -1]):
        assert line.max() < 120


def test_working_image_keeps_aspect_spacing_and_small_images():
    pixels = np.random.default_rng(0).integers(0, 65_536, (400, 300)).astype(np.uint16)
    out, spacing, _ = working_image(pixels, 0.1, 100)
    assert out.shape == (100, 75)
    assert out.dtype == np.uint8
    assert spacing == pytest.approx(0.4)
    assert abs(float(out.mean()) - pixels.mean() / 257) < 1
    assert working_image(pixels[:40, :30], None, 100)[0].shape == (40, 30)


def test_every_shared_dicom_file_decodes_or_is_refused_by_name(shared):
    files = sorted((shared / "data" / "dicom").glob("*.dcm"))
    without_pixels = "CHAR1_chrJapMulti.dcm"
    paths = {path.name: decode(path) for path in files if path.name != without_pixels}
    assert len(paths) == 11
    assert refused((shared / "data" / "dicom" / without_pixels).read_bytes()) == "truncated_image"
    lossless = [paths[f"RG2_RG2_{codec}.dcm"].pixels for codec in ("J2KR", "JLSL", "JPLL", "RLE")]
    assert all(np.array_equal(lossless[0], other) for other in lossless[1:])
    inverted = paths["GDCM1_gdcm-CR-MONO1-10-chest.dcm"].pixels
    assert inverted[:, 200:240].mean() > inverted[100:250, 80:150].mean()  # mediastinum denser than lung


def test_saved_dicom_is_read_from_disk(tmp_path):
    assert decode(save(dicom_image(), tmp_path / "x")).decoder == "pydicom"
