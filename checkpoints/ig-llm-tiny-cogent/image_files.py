"""Reading picture files of strangers: whole, upright, of a bounded size and by few decoders, or not at all."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from huggingface_hub.utils import get_session
from PIL import Image, ImageOps

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Pillow's names of what is read. Its other readers are old, rare, or (EPS) start another program."""

MAX_IMAGE_SIDE = 8192
"""Largest width and height of a picture that is decoded: 67 million pixels, 268 MB with four channels."""

_ADDRESS_SCHEMES = ("https://", "http://")
_TIMEOUT = 60  # seconds that a server may be silent


def read_image(source: str | Path | BinaryIO, name: str | None = None) -> Image.Image:
    """The picture in a file, decoded, with its EXIF orientation applied.

    Args:
        source: Path, or a file open for reading bytes.
        name: What errors call it; by default the path, or "image".

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: For what is no picture, is cut short or damaged, is larger than `MAX_IMAGE_SIDE`, has a range of
            values that nobody knows (Pillow modes `I` and `F`), or holds several frames; the message names the file.
    """
    with _opened(source, name) as image:
        image.load()
        return ImageOps.exif_transpose(image)


def check_image_header(source: str | Path | BinaryIO) -> None:
    """Raise what `read_image` would, as far as a picture's first bytes tell: nothing is decoded."""
    with _opened(source):
        pass


@contextmanager
def _opened(source: str | Path | BinaryIO, name: str | None = None) -> Iterator[Image.Image]:
    """A picture with a good header; what goes wrong while it is open is said with the file's name."""
    if name is None:
        name = str(source) if isinstance(source, str | Path) else "image"
    try:
        with Image.open(source, formats=IMAGE_FORMATS) as image:
            _check_header(image)
            yield image
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's readers fail in a dozen ways on damaged files, struct.error among them
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"{name}: not a readable image ({reason}); give a PNG or JPEG file of 8 bits per channel"
        ) from error


def read_image_text(text: str) -> Image.Image:
    """The picture that a text stands for, read as `read_image` reads files.

    Args:
        text: An address (`https://…`), which is fetched, or the bytes of a picture file in base64, with or without
            `data:image/…,` before them.

    Raises:
        ValueError: For what is neither, is no picture, or is refused by `read_image`.
        HTTPError: Of huggingface_hub's HTTP client, where an address does not give a file.
    """
    if text.startswith(_ADDRESS_SCHEMES):
        response = get_session().get(text, timeout=_TIMEOUT)
        response.raise_for_status()
        return read_image(BytesIO(response.content), text)
    name = text if len(text) <= 300 else f"{text[:60]}…"  # whole where it is a path that is not there
    data = text.partition(",")[2] if text.startswith("data:image/") else text
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except ValueError as error:
        raise ValueError(f"{name!r} is no file, no address and no picture in base64 ({error})") from error
    return read_image(BytesIO(content), name)


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


__all__ = ["IMAGE_FORMATS", "MAX_IMAGE_SIDE", "check_image_header", "read_image", "read_image_text"]
