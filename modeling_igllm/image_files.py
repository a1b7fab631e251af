"""Reading picture files of strangers: whole, upright, of a bounded size and by few decoders, or not at all."""

from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Pillow's names of what is read. Its other readers are old, rare, or (EPS) start another program."""

MAX_IMAGE_SIDE = 8192
"""Largest width and height of a picture that is decoded: 67 million pixels, 268 MB with four channels."""


def read_image(source: str | Path | BinaryIO) -> Image.Image:
    """The picture in a file, decoded, with its EXIF orientation applied.

    Args:
        source: Path, or a file open for reading bytes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: For what is no picture, is cut short or damaged, is larger than `MAX_IMAGE_SIDE`, has a range of
            values that nobody knows (Pillow modes `I` and `F`), or holds several frames; the message names the file.
    """
    name = str(source) if isinstance(source, str | Path) else "image"
    try:
        with Image.open(source, formats=IMAGE_FORMATS) as image:
            _check_header(image)
            image.load()
            return ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's readers fail in a dozen ways on damaged files, struct.error among them
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"{name}: not a readable image ({reason}); give a PNG or JPEG file of 8 bits per channel"
        ) from error


def _check_header(image: Image.Image) -> None:
    """Refuse what the header alone gives away, before anything is decoded."""
    if max(image.size) > MAX_IMAGE_SIDE:
        raise ValueError(f"{image.width} x {image.height} pixels: more than {MAX_IMAGE_SIDE} on a side")
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode!r} has no known range of values")
    if image.format == "MPO":  # a photograph, with a preview of itself behind it
        return
    try:
        image.seek(1)
    except EOFError:
        return
    raise ValueError("it holds several frames: save the one that is meant")


__all__ = ["IMAGE_FORMATS", "MAX_IMAGE_SIDE", "read_image"]
