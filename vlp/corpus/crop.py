"""A box of a picture as a file of its own: subfigures of a compound figure are cut before anything is decoded.

The cut comes first because the rest of the figure may be in colour, which would refuse the radiograph with it.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from vlp.corpus.decode import MAX_PIXELS, Undecodable

INSIDE = 0.9  # part of a box that must lie in the picture; whoever draws rounds and scales


def cut(path: Path, box: tuple[int, int, int, int]) -> bytes:
    """The pixels of ``box`` (x0, y0, x1, y1; x1 and y1 excluded) of a PNG, JPEG or TIFF as an uncompressed TIFF.

    Raises:
        Undecodable: with reason missing_file, not_an_image, image_too_large, truncated_image or box_outside_image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=("PNG", "JPEG", "TIFF")) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise Undecodable("image_too_large", f"The header claims more than {MAX_PIXELS} pixels.")
                picture.load()
                upright = ImageOps.exif_transpose(picture)
        except FileNotFoundError:
            raise Undecodable("missing_file", "The index names a file that cannot be read; fetch it again.") from None
        except (UnidentifiedImageError, Image.DecompressionBombError):
            raise Undecodable("not_an_image", "Boxes can be cut from PNG, JPEG and TIFF only.") from None
        except (OSError, SyntaxError, ValueError, EOFError):
            raise Undecodable("truncated_image", "The picture is damaged or cut off; fetch it again.") from None
        x0, y0, x1, y1 = box
        within = (max(x0, 0), max(y0, 0), min(x1, upright.width), min(y1, upright.height))
        width, height = within[2] - within[0], within[3] - within[1]
        if min(width, height) < 1 or width * height < INSIDE * (x1 - x0) * (y1 - y0):
            raise Undecodable("box_outside_image", "The box is empty or leaves the picture; correct the index.")
        stream = io.BytesIO()
        upright.crop(within).save(stream, "TIFF")
    return stream.getvalue()
