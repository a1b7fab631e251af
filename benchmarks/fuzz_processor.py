"""The processor as a target of fuzzing: images of every kind, files of pictures with bytes changed, and answers.

Images end in `pixel_values` of the right shape, all finite, or in a `ValueError`; answers of any token ids and numbers
end in exactly one of a scene and a `SceneProgramError`.
"""

import io
import re
import warnings
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.utils import logging

from benchmarks.fuzz_targets import REFERENCES, hostile_text
from modeling_igllm import IGLLMImageProcessor, IGLLMProcessor, SceneProgram, SceneProgramError, parse_program
from modeling_igllm.image_files import read_image
from trl_scripts.tiny_tokenizer import build_tiny_tokenizer

HEIGHT, WIDTH = 24, 32
MODES = (
    "1",
    "L",
    "P",
    "RGB",
    "RGBA",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "LA",
    "PA",
    "La",
    "RGBa",
    "RGBX",
    "I;16",
)
FILES = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "ICO", "TGA")
DTYPES = (np.uint8, np.uint16, np.float32, np.float64, np.int64, np.bool_)
NUMBERS = (0.0, 1.5, -2.25, 1e6, 1e7, 3e38, float("nan"), float("inf"), float("-inf"))


class ProcessorTarget:
    """What reads one input: its first byte chooses images, files, answers, or texts with images."""

    def __init__(self) -> None:
        size = {"height": HEIGHT, "width": WIDTH}
        self.processor = IGLLMProcessor(
            IGLLMImageProcessor(size=size),
            build_tiny_tokenizer(),
            num_image_tokens=4,
            prompt="<image>",
            answer_prefix="",
            answer_suffix="",
        )
        self.files = _picture_files()
        self.answers = [self.processor.encode_answer(parse_program(text)).ids for text in REFERENCES]
        logging.set_verbosity_error()  # transformers warns of arrays that could be (H, W, C) and (C, H, W)
        warnings.simplefilter("ignore", category=UserWarning)  # Pillow's, on damaged metadata

    def __call__(self, data: bytes) -> str:
        kind, body = (data[0] % 4, data[1:]) if data else (0, b"")
        return (self._image, self._file, self._answer, self._training)[kind](body)

    def _image(self, data: bytes) -> str:
        try:
            image = _any_image(data)
            self._check_pixels(image)
        except ValueError as error:
            return f"image refused: {_without_numbers(error)}"
        return f"image of {type(image).__name__} {image.mode if isinstance(image, Image.Image) else image.dtype}"

    def _file(self, data: bytes) -> str:
        encoded = bytearray(self.files[data[0] % len(self.files)]) if data else bytearray()
        for i in range(1, len(data) - 2, 3):  # two bytes for the place of each changed one
            encoded[int.from_bytes(data[i : i + 2]) % len(encoded)] = data[i + 2]
        if len(data) % 3 == 2:
            del encoded[data[-1] * len(encoded) // 256 :]
        try:
            image = read_image(io.BytesIO(bytes(encoded)))
            self._check_pixels(image)
        except ValueError as error:
            return f"file refused: {type(error.__cause__).__name__}"
        return f"file of mode {image.mode}"

    def _answer(self, data: bytes) -> str:
        """A program as token ids, with any of them changed, and any numbers."""
        ids = list(self.answers[data[0] % len(self.answers)] if data else [0])
        for place, token in zip(data[1::2], data[2::2], strict=False):
            ids[place % len(ids)] = token % len(self.processor.tokenizer)
        numbers = [NUMBERS[byte % len(NUMBERS)] for byte in data[::-1]][: len(ids)]
        numbers += (len(ids) - len(numbers)) * [0.0]
        (prediction,) = self.processor.decode_scene(torch.tensor([ids]), torch.tensor([numbers]), prompt_length=0)
        if (prediction.scene is None) == (prediction.error is None):
            raise AssertionError(f"{prediction} has not exactly one of scene and error")
        return f"answer: {type(prediction.error).__name__}"

    def _training(self, data: bytes) -> str:
        """An image and the scene of a text, if it is one: what was encoded for training decodes to that scene."""
        try:
            scene = parse_program(hostile_text(data))
            batch = self.processor.encode_training([_any_image(data[::-1])], [scene])
        except SceneProgramError:
            return "no program"
        except ValueError as error:
            return f"training refused: {_without_numbers(error)}"
        (prediction,) = self.processor.decode_scene(batch["input_ids"], batch["number_labels"])
        if prediction.scene is None or _words(prediction.scene) != _words(scene):
            raise AssertionError(f"{scene} was encoded and decoded to {prediction}")
        return f"trained with {min(len(scene), 2)} objects"

    def _check_pixels(self, image: Any) -> None:
        pixel_values = self.processor.encode_prompt([image])["pixel_values"]
        if tuple(pixel_values.shape) != (1, 3, HEIGHT, WIDTH) or not pixel_values.isfinite().all():
            raise AssertionError(f"pixel_values {tuple(pixel_values.shape)} of {image}")


def _without_numbers(error: ValueError) -> str:
    return re.sub(r"\d+", "#", str(error))[:30]


def _words(scene: SceneProgram) -> list[list[str]]:
    return [[value for value in item.attributes().values() if isinstance(value, str)] for item in scene]


def _any_image(data: bytes) -> Image.Image | np.ndarray:
    """A picture of any Pillow mode, or an array of any shape and type; long thin ones are among them."""
    choice, width, height = data[:3].ljust(3, b"\0")
    width, height = (20_000 if side == 255 else side % 70 for side in (width, height))
    if width == height == 20_000:
        height = 1
    seed = int.from_bytes(data[3:7])
    if choice < 128:
        return _pillow_image(MODES[choice % len(MODES)], width, height, data, seed)
    dtype = DTYPES[choice % len(DTYPES)]
    channels = (data[3:4] or b"\3")[0] % 6
    values = np.random.default_rng(seed).random((height, width, channels) if channels else (height, width))
    array = (values * (1 if np.issubdtype(dtype, np.floating) else 300)).astype(dtype)
    if data[4:5] == b"\xff":
        array = array.astype(np.float32) * np.float32("nan")
    return array


def _pillow_image(mode: str, width: int, height: int, data: bytes, seed: int) -> Image.Image:
    image = Image.new(mode, (width, height))
    if len(data) > 8:
        image.getexif()[0x0112] = data[8] % 12  # orientation, also those that do not exist
        image.info["transparency"] = data[8]
    return image


def _picture_files() -> list[bytes]:
    """A file of every format and mode that Pillow writes; ICO and TGA are formats that are not read."""
    files = []
    noise = np.random.default_rng(0).integers(0, 256, (20, 28, 4), dtype=np.uint8)
    for name in FILES:
        for mode in ("RGB", "L", "RGBA", "P", "CMYK", "1", "I;16"):
            buffer = io.BytesIO()
            picture = Image.fromarray(noise).convert("RGB").convert("I" if mode == "I;16" else mode)
            try:
                picture.save(buffer, name)
            except (OSError, ValueError):  # the format has no such mode
                continue
            files.append(buffer.getvalue())
    buffer = io.BytesIO()
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 255)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    files.append(buffer.getvalue())
    return files
