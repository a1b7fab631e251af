"""Uploaded pictures: which files are opened, and how large they may be."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from modeling_igllm.image_files import IMAGE_FORMATS, read_image

MAX_UPLOAD_BYTES = 5 * 2**20
MAX_SIDE = 4096  # pixels; the image processor pads, so that a long side alone already costs its square


class PictureError(ValueError):
    """An upload that is no picture to read; the message is for the visitor and names no file of the server."""


def uploaded_file(payload: Mapping[str, Any], folder: Path) -> Path:
    """The file that a request names.

    Args:
        payload: gradio's `FileData` as it came; its `url` is not looked at, as nothing is fetched for anyone.
        folder: where gradio puts uploads.

    Raises:
        PictureError: if it is not a file below `folder`, or is no longer there.
    """
    named = payload.get("path")
    if isinstance(named, str) and "\0" not in named:
        path = Path(named).resolve()
        if path.is_relative_to(folder.resolve()) and path.is_file():
            return path
    raise PictureError("This upload is not here: uploads are deleted after a while, so upload the picture again.")


def open_picture(path: Path) -> Image.Image:
    """Decode an upload, upright.

    Its size is read from the header before any pixel is decoded.

    Raises:
        PictureError: if it is no image, is broken or animated, or too large.
    """
    if path.stat().st_size > MAX_UPLOAD_BYTES:
        raise PictureError(f"The file is larger than {MAX_UPLOAD_BYTES // 2**20} MB: give a smaller picture.")
    file = io.BytesIO(path.read_bytes())
    _check_size(*_size(file))
    file.seek(0)
    try:
        return read_image(file)
    except ValueError as error:
        raise PictureError(f"This picture cannot be read: {error}.") from error


def _size(file: io.BytesIO) -> tuple[int, int]:
    """Width and height as the header says."""
    try:
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            return image.size
    except UnidentifiedImageError as error:  # whose message would show an object's address
        raise PictureError(f"This is no picture: give a file in one of {', '.join(IMAGE_FORMATS)}.") from error
    except Exception as error:  # Pillow's readers fail in a dozen ways on damaged files, struct.error among them
        raise PictureError(f"This picture cannot be read: {error or type(error).__name__}.") from error


def _check_size(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise PictureError(f"The picture has {width} x {height} pixels: give one of at most {MAX_SIDE} to a side.")
