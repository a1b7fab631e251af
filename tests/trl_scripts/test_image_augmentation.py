"""Augmentation keeps shape, range and labels, and depends on image and seed alone."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from dataset_builders.clevr_sampler import PALETTES, sample_clevr_scene
from dataset_builders.palette import COLOR_VALUES
from trl_scripts.image_augmentation import CLEVR_BARS, PhotometricAugmentation, family_augmentation

NOTHING = PhotometricAugmentation(
    gain=0,
    contrast=0,
    gamma=0,
    temperature=0,
    tint=0,
    noise_probability=0,
    blur_probability=0,
    resize_probability=0,
    jpeg_probability=0,
    bar_probability=0,
)
SHARE = {"bar_probability": 1.0}


def smooth_image(height: int = 48, width: int = 64) -> torch.Tensor:
    """(1, 3, H, W): a bright disc on a gradient."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    disc = 0.5 - 0.5 * np.tanh(1.5 * (np.hypot(x - 40, y - 15) - 6))
    return torch.from_numpy(np.stack([0.3 + 0.4 * disc, 0.2 + x / 200, 0.5 - 0.3 * disc])[None])


def test_an_image_depends_on_its_seed_and_not_on_its_batch() -> None:
    images = torch.rand(6, 3, 8, 10, generator=torch.Generator().manual_seed(1))
    augment = family_augmentation("clevr", (0.5, 0.5, 0.5))
    first = augment(images, range(6))
    assert torch.equal(first, augment(images, range(6)))
    assert torch.equal(first[4:], augment(images[4:], [4, 5]))
    assert all((first[row] != other).any() for row, other in enumerate(augment(images, range(6, 12))))
    assert first.shape == images.shape and first.dtype == images.dtype
    assert first.min() >= 0 and first.max() <= 1


def test_every_image_needs_a_seed() -> None:
    with pytest.raises(ValueError, match="shorter"):
        NOTHING(torch.zeros(2, 3, 8, 8), [0])


def test_augmentation_without_strength_changes_nothing() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(NOTHING(images, [0, 1]), images)


@pytest.mark.parametrize(
    "change",
    [
        {"gain": 0.3},
        {"contrast": 0.3},
        {"gamma": 0.3},
        {"temperature": 0.1},
        {"tint": 0.1},
        {"noise_probability": 1.0},
        {"blur_probability": 1.0},
        {"resize_probability": 1.0},
        {"jpeg_probability": 1.0},
        {"bar_probability": 1.0, "bars": 0.2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_kind_of_change_can_be_seen(change: dict[str, float]) -> None:
    image = smooth_image()
    changed = replace(NOTHING, **change)(image, [3])
    assert 0.003 < (changed - image).abs().max() < 0.6


def test_nothing_is_moved() -> None:
    images = smooth_image().expand(40, -1, -1, -1)
    centers = []
    for image in PhotometricAugmentation()(images, range(40)):
        redness = (image[0] - image[2]).clamp(min=0) ** 4
        y, x = (torch.arange(side, dtype=torch.float32) for side in redness.shape)
        centers.append([(redness.sum(0) @ x / redness.sum()).item(), (redness.sum(1) @ y / redness.sum()).item()])
    # The colours of a JPEG file are coarser than its light.
    assert np.abs(np.array(centers) - [40, 15]).max() < 1.5
    assert np.abs(np.mean(centers, axis=0) - [40, 15]).max() < 0.2


@pytest.mark.parametrize("shade", [0.15, 0.4, 0.8])
def test_colour_temperature_keeps_the_palette_apart(shade: float) -> None:
    values = shade * np.array(list(COLOR_VALUES.values())) / 255
    srgb = np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055).astype(np.float32)
    image = torch.from_numpy(srgb.T[None, :, :, None].copy())  # eight pixels
    kept = PhotometricAugmentation()
    casts = replace(NOTHING, temperature=kept.temperature, tint=kept.tint)(image.expand(200, -1, -1, -1), range(200))
    chroma = _chroma(srgb)
    for cast in casts:
        distances = np.linalg.norm(_chroma(cast[:, :, 0].T.numpy())[:, None] - chroma, axis=-1)
        assert (distances.argmin(axis=1) == np.arange(len(chroma))).all()


def _chroma(srgb: np.ndarray) -> np.ndarray:
    """What of colours (n, 3) does not change with the exposure."""
    red, green, blue = np.log(srgb).T
    return np.stack([red - green, blue - green], axis=1)


def test_bars_are_of_clevr_pictures_alone_and_of_the_padding_s_colour() -> None:
    assert family_augmentation("six_dof", (0.5, 0.4, 0.3)).bars == 0
    image = smooth_image(100)
    barred = replace(family_augmentation("clevr_rgb", (0.5, 0.4, 0.3)), **{**_only_bars(), **SHARE})(image, [1])
    rows = int((barred != image).any(dim=1)[0].all(dim=1).sum())
    assert 2 <= rows <= 2 * 6
    assert barred[0, :, 0, 0].tolist() == pytest.approx([0.5, 0.4, 0.3])
    assert torch.equal(barred[0, :, rows // 2 : -rows // 2], image[0, :, rows // 2 : -rows // 2])


def _only_bars() -> dict[str, float]:
    kept = ("bars", "bar_color", "scales", "quality", "noise", "blur")
    return {name: value for name, value in vars(NOTHING).items() if name not in kept}


def test_no_centre_of_a_clevr_object_is_under_a_bar() -> None:
    for (family, split), index in itertools.product(PALETTES, range(5)):
        scene = sample_clevr_scene(family, split, 0, index)
        assert scene.camera is not None
        y = scene.camera.project(np.array([item.attributes()["loc"] for item in scene.objects]), 4, 3)[:, 1] / 3
        assert y.min() > 0.2 and y.max() < 1 - 0.1 and CLEVR_BARS < 0.1
