"""Augmentation keeps shape, range and labels, and repeats with its generator."""

import torch

from trl_scripts.image_augmentation import PhotometricAugmentation


def test_augmentation_is_reproducible_and_stays_in_range() -> None:
    images = torch.rand(6, 3, 8, 10, generator=torch.Generator().manual_seed(1))
    augment = PhotometricAugmentation()
    first = augment(images, torch.Generator().manual_seed(0))
    assert torch.equal(first, augment(images, torch.Generator().manual_seed(0)))
    assert not torch.equal(first, augment(images, torch.Generator().manual_seed(2)))
    assert first.shape == images.shape and first.min() >= 0 and first.max() <= 1


def test_augmentation_without_strength_changes_nothing() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    nothing = PhotometricAugmentation(gain=0, contrast=0, cast=0, noise=0, blur_probability=0)
    torch.testing.assert_close(nothing(images, torch.Generator().manual_seed(0)), images)


def test_augmentation_does_not_move_anything() -> None:
    images = torch.zeros(16, 3, 16, 16)
    images[:, :, 5, 11] = 1.0
    quiet = PhotometricAugmentation(noise=0.0, blur_probability=0.0)
    augmented = quiet(images, torch.Generator().manual_seed(0))
    brightest = augmented.mean(1).flatten(1).argmax(1)
    assert (brightest == 5 * 16 + 11).all()
