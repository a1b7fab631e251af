"""Promises of the image processor."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil
from transformers.image_utils import OPENAI_CLIP_MEAN

from modeling_igllm import IGLLMImageProcessor
from modeling_igllm.image_processing_igllm import pad_to_aspect_ratio


@pytest.fixture
def plain() -> IGLLMImageProcessor:
    """No padding, resizing or normalisation: pixels in [0, 1]."""
    return IGLLMImageProcessor(do_pad=False, do_resize=False, do_normalize=False)


def random_pixels(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def process(processor: IGLLMImageProcessor, image: object) -> np.ndarray:
    pixel_values = processor(image, return_tensors="np")["pixel_values"]
    assert pixel_values.dtype == np.float32
    return pixel_values[0]


def test_matching_aspect_ratio_is_not_padded() -> None:
    processor = IGLLMImageProcessor(size={"height": 12, "width": 16}, image_mean=[0.5] * 3, image_std=[0.25] * 3)
    pixels = random_pixels(24, 32)
    expected = np.asarray(Image.fromarray(pixels).resize((16, 12), Image.Resampling.BICUBIC), dtype=np.float32)
    np.testing.assert_allclose(process(processor, pixels), (expected.transpose(2, 0, 1) / 255 - 0.5) / 0.25, atol=1e-5)


def test_square_images_are_processed_as_by_clip() -> None:
    size = {"height": 14, "width": 14}
    clip = CLIPImageProcessorPil(size=size, crop_size=size)
    pixels = random_pixels(20, 20)
    np.testing.assert_allclose(process(IGLLMImageProcessor(size=size), pixels), process(clip, pixels), atol=1e-5)


@pytest.mark.parametrize(("height", "width", "padded"), [(3, 6, (6, 6)), (6, 3, (6, 6)), (5, 5, (5, 5))])
def test_padding_centres_the_image_on_the_mean_colour(height: int, width: int, padded: tuple[int, int]) -> None:
    image = np.full((3, height, width), 7, dtype=np.uint8)
    canvas = pad_to_aspect_ratio(image, 10, 10, OPENAI_CLIP_MEAN)
    assert canvas.shape == (3, *padded)
    assert (canvas == 7).sum() == image.size
    top, left = (padded[0] - height) // 2, (padded[1] - width) // 2
    assert (canvas[:, top : top + height, left : left + width] == 7).all()
    if padded != (height, width):
        assert canvas[:, -1, -1].tolist() == [int(value * 255) for value in OPENAI_CLIP_MEAN]


def test_padding_reaches_other_aspect_ratios() -> None:
    assert pad_to_aspect_ratio(np.zeros((3, 100, 100), np.uint8), 120, 160, [0.5] * 3).shape == (3, 100, 133)
    assert pad_to_aspect_ratio(np.zeros((3, 60, 160), np.uint8), 120, 160, [0.5] * 3).shape == (3, 120, 160)


def test_exif_orientation_is_applied(plain: IGLLMImageProcessor) -> None:
    image = Image.fromarray(random_pixels(4, 6))
    rotated = image.transpose(Image.Transpose.ROTATE_90)
    rotated.getexif()[0x0112] = 6  # to be shown turned clockwise, so that it is upright again
    assert np.array_equal(process(plain, rotated), process(plain, image))


def test_transparency_is_composited_on_white(plain: IGLLMImageProcessor) -> None:
    image = Image.new("RGBA", (2, 5), (255, 0, 0, 255))
    image.paste((255, 0, 0, 0), (1, 0, 2, 5))
    palette = image.quantize()
    for transparent in (image, palette, np.asarray(image)):
        red, white = process(plain, transparent).transpose(1, 2, 0)[0]
        assert red.tolist() == [1, 0, 0]
        assert white.tolist() == [1, 1, 1]


def test_sixteen_bits_become_eight(plain: IGLLMImageProcessor) -> None:
    values = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
    for image in (Image.fromarray(values), values[None]):
        pixels = process(plain, image) * 255
        np.testing.assert_allclose(pixels, np.broadcast_to([[0, 1, 128, 255]], (3, 1, 4)), atol=1e-4)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr"])
def test_other_modes_become_rgb(plain: IGLLMImageProcessor, mode: str) -> None:
    assert process(plain, Image.fromarray(random_pixels(4, 6)).convert(mode)).shape == (3, 4, 6)


def test_arrays_and_tensors_agree_with_pillow(plain: IGLLMImageProcessor) -> None:
    pixels = random_pixels(5, 7)
    expected = process(plain, Image.fromarray(pixels))
    channels_first = torch.from_numpy(pixels).permute(2, 0, 1)
    for image in (pixels, channels_first, pixels / 255.0):
        np.testing.assert_allclose(process(plain, image), expected, atol=1e-6)
    assert np.array_equal(process(plain, pixels[..., :1]), expected[[0, 0, 0]])


@pytest.mark.parametrize(
    ("image", "quoted"),
    [
        (Image.new("F", (2, 2)), "'F'"),
        (Image.new("I", (2, 2)), "'I'"),
        (np.zeros((2, 2, 3), dtype=np.int64), "int64"),
        (np.full((2, 2, 3), 3.5), "3.5"),
        (np.full((2, 2, 3), np.nan), "nan"),
    ],
)
def test_images_of_unknown_range_are_refused(plain: IGLLMImageProcessor, image: object, quoted: str) -> None:
    with pytest.raises(ValueError, match=quoted):
        plain(image)


def test_size_without_height_and_width_is_refused() -> None:
    with pytest.raises(ValueError, match="shortest_edge"):
        IGLLMImageProcessor(size={"shortest_edge": 5})(random_pixels(4, 4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_tensors_may_have_any_floating_type(plain: IGLLMImageProcessor, dtype: torch.dtype) -> None:
    image = torch.linspace(0, 1, 3 * 8 * 8).reshape(3, 8, 8).to(dtype)
    np.testing.assert_allclose(process(plain, image), image.float().numpy(), atol=1 / 255)


def test_save_and_load_keeps_the_settings(tmp_path) -> None:
    processor = IGLLMImageProcessor(size={"height": 12, "width": 16}, image_mean=[0.1, 0.2, 0.3])
    processor.save_pretrained(tmp_path)
    loaded = IGLLMImageProcessor.from_pretrained(tmp_path)
    pixels = random_pixels(10, 10)
    assert np.array_equal(process(loaded, pixels), process(processor, pixels))
