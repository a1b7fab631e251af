"""Picture files of every kind through `igllm predict`, the pipeline and the processor: read rightly, or refused.

The model is a random one with a grammar: its answer depends on every pixel, so an equal answer means equal pixels.
"""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image, ImageOps

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor, ImageToScenePipeline
from modeling_igllm.image_files import MAX_IMAGE_SIDE, read_image
from trl_scripts.cli import main

SIZE = (24, 18)
GRADIENT = np.stack(np.meshgrid(np.arange(24) * 10, np.arange(18) * 14, indexing="xy"), -1).astype(np.uint8)
PICTURE = Image.fromarray(np.concatenate([GRADIENT, 255 - GRADIENT[..., :1]], -1))
GREY = PICTURE.convert("L")
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
Writer = Callable[[Path], None]


def transparent() -> Image.Image:
    """The left half is not there."""
    image = PICTURE.convert("RGBA")
    image.putalpha(Image.fromarray(np.where(np.arange(24) < 12, 0, 255).astype(np.uint8)[None].repeat(18, 0)))
    return image


def on_white() -> Image.Image:
    white = Image.new("RGBA", SIZE, "white")
    white.alpha_composite(transparent())
    return white.convert("RGB")


def with_transparent_palette() -> Image.Image:
    """Index 0 is red, and not there."""
    image = Image.fromarray((np.arange(24)[None].repeat(18, 0) % 2).astype(np.uint8))
    image.putpalette([255, 0, 0, 0, 0, 255])
    return image


def rotated(orientation: int) -> Writer:
    """Stored turned, with the EXIF entry that turns it back."""

    def write(path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        PICTURE.transpose(ORIENTATIONS[orientation]).save(path, exif=exif)

    return write


# name -> (writer, the plain RGB picture that it means)
READ: dict[str, tuple[Writer, Image.Image]] = {
    "rgb.png": (PICTURE.save, PICTURE),
    "lossless.webp": (lambda path: PICTURE.save(path, lossless=True), PICTURE),
    "plain.bmp": (PICTURE.save, PICTURE),
    "plain.tiff": (PICTURE.save, PICTURE),
    "opaque.png": (PICTURE.convert("RGBA").save, PICTURE),
    "transparent.png": (transparent().save, on_white()),
    "transparent.webp": (lambda path: transparent().save(path, lossless=True), on_white()),
    "palette.png": (PICTURE.quantize(16).save, PICTURE.quantize(16).convert("RGB")),
    "palette.gif": (PICTURE.quantize(16).save, PICTURE.quantize(16).convert("RGB")),
    "transparent_palette.png": (
        lambda path: with_transparent_palette().save(path, transparency=0),
        Image.fromarray(np.where(np.arange(24)[None, :, None] % 2, [0, 0, 255], [255] * 3).repeat(18, 0).astype("u1")),
    ),
    "grey.png": (GREY.save, GREY.convert("RGB")),
    "grey_alpha.png": (GREY.convert("LA").save, GREY.convert("RGB")),
    "one_bit.png": (PICTURE.convert("1").save, PICTURE.convert("1").convert("RGB")),
    "grey16.png": (Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257).save, GREY.convert("RGB")),
    "cmyk.tiff": (PICTURE.convert("CMYK").save, PICTURE),
    **{f"rotated{number}.png": (rotated(number), PICTURE) for number in ORIENTATIONS},
    "rotated6.tiff": (rotated(6), PICTURE),
}


def cut(suffix: str, kept: float = 0.6) -> Writer:
    def write(path: Path) -> None:
        Image.effect_noise((64, 64), 50).save(path, suffix)
        path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])

    return write


def bomb(width: int, height: int) -> Writer:
    """A PNG of a hundred bytes whose header promises that many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 100)), chunk(b"IEND", b""))
    return lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts)) and None


def wrong_checksum(path: Path) -> None:
    PICTURE.save(path)
    path.write_bytes(path.read_bytes().replace(b"IDAT", b"IDAU", 1))


def animated(path: Path) -> None:
    PICTURE.save(path, save_all=True, append_images=[ImageOps.invert(PICTURE)])


# name -> (writer, a piece of the reason)
REFUSED: dict[str, tuple[Writer, str]] = {
    "empty.png": (lambda path: path.write_bytes(b"") and None, "cannot identify"),
    "text.png": (lambda path: path.write_text("not a picture") and None, "cannot identify"),
    "cut.png": (cut("PNG"), "truncated"),
    "cut.jpg": (cut("JPEG"), "truncated"),
    "cut.webp": (cut("WEBP"), ""),
    "cut_header.png": (cut("PNG", 0.005), "Truncated"),
    "wrong_checksum.png": (wrong_checksum, ""),
    "bomb.png": (bomb(50_000, 50_000), "decompression bomb"),
    "large.png": (bomb(MAX_IMAGE_SIDE + 1, 100), "8193 x 100 pixels: more than 8192"),
    "thin.png": (bomb(1, 1_000_000), "more than 8192 on a side"),
    "animated.gif": (animated, "several frames"),
    "animated.png": (animated, "several frames"),
    "animated.webp": (animated, "several frames"),
    "pages.tiff": (animated, "several frames"),
    "float.tiff": (Image.fromarray(np.zeros((4, 4), np.float32)).save, "no known range"),
    "integer.tiff": (Image.fromarray(np.zeros((4, 4), np.int32)).save, "no known range"),
    "vector.eps": (PICTURE.save, "cannot identify"),  # Pillow would start Ghostscript
    "icon.ico": (PICTURE.save, "cannot identify"),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    processor = tiny.make_processor()
    model = tiny.make_model(processor)
    model.set_grammar(processor.make_grammar([tiny.LONG_SCENE]))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> ImageToScenePipeline:
    """The pipeline, with the package's own classes."""
    return ImageToScenePipeline(
        model=IGLLMForSceneProgram.from_pretrained(checkpoint), processor=IGLLMProcessor.from_pretrained(checkpoint)
    )


def write(folder: Path, name: str, writer: Writer) -> Path:
    path = folder / name
    writer(path)
    return path


@pytest.mark.parametrize("name", READ)
def test_every_kind_of_picture_means_the_same_to_the_processor(
    name: str, tmp_path: Path, processor: IGLLMProcessor
) -> None:
    writer, meant = READ[name]
    path = write(tmp_path, name, writer)
    with Image.open(path) as opened:
        from_image = processor.encode_prompt([opened])["pixel_values"]
    from_file = processor.encode_prompt([read_image(path)])["pixel_values"]
    expected = processor.encode_prompt([meant])["pixel_values"]
    assert torch.equal(from_image, from_file)
    torch.testing.assert_close(from_file, expected, rtol=0, atol=2.5 / 127.5)  # of 8 bits, resampled


def test_another_picture_is_another_input(processor: IGLLMProcessor) -> None:
    one, other = (processor.encode_prompt([image])["pixel_values"] for image in (PICTURE, ImageOps.mirror(PICTURE)))
    assert (one - other).abs().max() > 0.5


@pytest.mark.parametrize("name", ["transparent.png", "palette.gif", "grey16.png", "rotated6.png", "rotated6.tiff"])
def test_every_kind_of_picture_has_one_answer(
    name: str, tmp_path: Path, checkpoint: Path, loaded: ImageToScenePipeline
) -> None:
    writer, meant = READ[name]
    plain, path = write(tmp_path, "plain.png", meant.save), write(tmp_path, f"read_{name}", writer)
    assert loaded(str(path)).numbers == loaded(meant).numbers
    assert loaded(ImageOps.flip(meant)).numbers != loaded(meant).numbers
    assert main(["predict", str(plain), str(path), "--model", str(checkpoint), "--out", str(tmp_path / "out")]) == 0
    one, other = (json.loads((tmp_path / "out" / f"{file.stem}.json").read_text()) for file in (plain, path))
    assert one["program"] == other["program"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_by_name(
    name: str, tmp_path: Path, checkpoint: Path, loaded: ImageToScenePipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    writer, reason = REFUSED[name]
    path = write(tmp_path, name, writer)
    with pytest.raises(ValueError, match=f"^{path}: not a readable image .*give a PNG or JPEG file") as caught:
        loaded(str(path))
    assert reason in str(caught.value)
    assert main(["predict", str(path), "--model", str(checkpoint), "--out", str(tmp_path / "out")]) == 2
    assert f"igllm predict: {path}: not a readable image (" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["empty.png", "cut.png", "cut.jpg", "bomb.png", "float.tiff"])
def test_the_processor_refuses_what_pillow_opens(name: str, tmp_path: Path, processor: IGLLMProcessor) -> None:
    path = write(tmp_path, name, REFUSED[name][0])
    with pytest.raises((ValueError, OSError, Image.DecompressionBombError)), Image.open(path) as image:
        processor.encode_prompt([image])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("L", (1, 100_000)), "crop it"),
        (np.zeros((40, 0, 3), np.uint8), "no pixels"),
        (np.full((8, 8, 3), np.nan, np.float32), "must lie in"),
        (np.full((8, 8, 3), 200.0, np.float32), "must lie in"),
        (np.zeros((8, 8, 3), np.int64), "int64"),
    ],
)
def test_the_processor_refuses_images_in_memory(
    image: Image.Image | np.ndarray, message: str, processor: IGLLMProcessor
) -> None:
    with pytest.raises(ValueError, match=message):
        processor.encode_prompt([image])


def test_damaged_metadata_does_not_turn_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 77  # no orientation
    PICTURE.save(path, exif=exif)
    assert read_image(path).tobytes() == PICTURE.tobytes()
