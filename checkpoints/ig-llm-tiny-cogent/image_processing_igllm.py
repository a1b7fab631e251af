"""Image processor of IG-LLM on Pillow and NumPy: no torchvision (spec MODEL, "image")."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageOps
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, PILImageResampling, SizeDict

MAX_CANVAS_PIXELS = 2**27
"""Most pixels of a padded image: twice those of the largest file that is read, 403 MB."""


class IGLLMImageProcessor(PilBackend):
    r"""
    Pads to the aspect ratio of `size` with the mean colour, resizes, rescales to [0, 1] and normalises.

    Accepted: Pillow images of any mode but `I` and `F`, and arrays or tensors (H, W, C) or (C, H, W) with 1, 3 or 4
    channels in uint8, uint16 or floating point within [0, 1]. EXIF orientation is applied, 16 bits become 8, and
    transparency (alpha channel or palette) is composited on white. `pixel_values` are (B, 3, height, width), float32.

    Args:
        size (`dict`, defaults to `{"height": 336, "width": 336}`):
            Output size in pixels. Published: a square, so that images are padded to a square.
        do_pad (`bool`, defaults to `True`):
            Pad on both sides to the aspect ratio of `size`. Without it the resize distorts other ratios.
        image_mean, image_std (`list[float]`, default to CLIP's):
            Per channel, of values in [0, 1]. The mean is also the colour of the padding.
        resample (`int`, defaults to bicubic):
            Pillow's filter, which antialiases when it makes an image smaller.
    """

    resample = PILImageResampling.BICUBIC
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    size: ClassVar[dict[str, int]] = {"height": 336, "width": 336}
    default_to_square = True
    do_pad = True
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True

    def process_image(self, image: Any, **kwargs: Any) -> np.ndarray:  # type: ignore[override]
        """One image of any accepted kind -> (3, H, W) uint8.

        Raises:
            `ValueError`: For a mode, type or range of values that is not accepted.
        """
        if isinstance(image, Image.Image):
            image = _to_eight_bit_image(ImageOps.exif_transpose(image))
        else:
            if isinstance(image, torch.Tensor) and image.dtype == torch.bfloat16:  # NumPy has no such type
                image = image.float()
            image = _to_eight_bit_array(np.asarray(image))
        if 0 in (image.size if isinstance(image, Image.Image) else image.shape):
            raise ValueError(f"The image has no pixels: {image}.")
        return super().process_image(image, **kwargs)

    def _preprocess(  # type: ignore[override]
        self,
        images: list[np.ndarray],
        do_resize: bool,
        size: SizeDict,
        resample: PILImageResampling | None,
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: tuple[float, ...],
        image_std: tuple[float, ...],
        do_pad: bool,
        return_tensors: str | None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Images (3, H, W) uint8 -> `pixel_values`. Keywords of other image processors (crops) do not apply."""
        if not (size.height and size.width):
            raise ValueError(f"size must have 'height' and 'width', got {dict(size)}.")
        pixel_values = []
        for image in images:
            if do_pad:
                image = pad_to_aspect_ratio(image, size.height, size.width, image_mean)
            if do_resize:
                image = self.resize(image, size=size, resample=resample)
            if do_rescale:
                image = self.rescale(image, rescale_factor)
            if do_normalize:
                image = self.normalize(image, image_mean, image_std)
            pixel_values.append(np.ascontiguousarray(image, dtype=np.float32))
        return BatchFeature(data={"pixel_values": pixel_values}, tensor_type=return_tensors)


def pad_to_aspect_ratio(image: np.ndarray, height: int, width: int, mean: Sequence[float]) -> np.ndarray:
    """Centre `image` (3, H, W) uint8 on a canvas of the ratio height : width, filled with `mean` (in [0, 1])."""
    image_height, image_width = image.shape[1:]
    padded_height, padded_width, top, left = padding_to_aspect_ratio(image_height, image_width, height, width)
    # LLaVA truncates the mean colour to 8 bits; so does this, to give the published pixels.
    canvas = np.empty((3, padded_height, padded_width), dtype=np.uint8)
    canvas[:] = np.array([int(value * 255) for value in mean], dtype=np.uint8)[:, None, None]
    canvas[:, top : top + image_height, left : left + image_width] = image
    return canvas


def padding_to_aspect_ratio(image_height: int, image_width: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Where `pad_to_aspect_ratio` puts an image: the canvas's height and width, the image's top and left on it.

    Raises:
        `ValueError`: If the canvas would have more than `MAX_CANVAS_PIXELS`: the image is large, or long and thin.
    """
    padded_height = max(image_height, round(image_width * height / width))
    padded_width = max(image_width, round(image_height * width / height))
    if padded_height * padded_width > MAX_CANVAS_PIXELS:
        raise ValueError(
            f"An image of {image_width} x {image_height} pixels would be padded to {padded_width} x {padded_height}: "
            "crop it, or make it smaller."
        )
    return padded_height, padded_width, (padded_height - image_height) // 2, (padded_width - image_width) // 2


def _to_eight_bit_image(image: Image.Image) -> Image.Image:
    """Reduce 16-bit greyscale to 8 bits by its high byte, and write any kind of transparency as an alpha channel.

    Pillow's own conversion would clip 16 bits to white; transformers' would miss the alpha of an RGBA palette.
    """
    if image.mode in ("I", "F"):
        raise ValueError(f"Images of Pillow mode {image.mode!r} have no known range; convert them to 8 bits first.")
    if not image.mode.startswith("I;16"):
        return image.convert("RGBA") if image.has_transparency_data else image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _to_eight_bit_array(image: np.ndarray) -> np.ndarray:
    """An array of uint8, uint16 or floats in [0, 1] -> uint8 of the same shape."""
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return (image >> 8).astype(np.uint8)
    if not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"Image arrays must be uint8, uint16 or floating point in [0, 1], got {image.dtype}.")
    if not (image.min(initial=0) >= 0 and image.max(initial=0) <= 1):
        raise ValueError(f"Floating-point images must lie in [0, 1], got [{image.min()}, {image.max()}].")
    return np.rint(image * 255).astype(np.uint8)


IGLLMImageProcessor.register_for_auto_class()

__all__ = ["IGLLMImageProcessor", "pad_to_aspect_ratio"]
