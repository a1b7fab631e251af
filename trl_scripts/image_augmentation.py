"""Photometric augmentation of images: what changes from one renderer, lamp or camera to another, and no label."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class PhotometricAugmentation:
    """Random exposure, contrast, colour cast, blur and noise, drawn anew for every image.

    Geometry stays: a crop or a flip would move the objects that the labels place in world metres.

    Attributes:
        gain: exposure factors are drawn from [1 - gain, 1 + gain].
        contrast: likewise, around the image's own mean.
        cast: likewise, for each colour channel.
        noise: largest standard deviation of the added noise, in units of the full range.
        blur_probability: share of the images that are halved and enlarged again.
    """

    gain: float = 0.25
    contrast: float = 0.2
    cast: float = 0.06
    noise: float = 0.03
    blur_probability: float = 0.2

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Augment images (B, 3, H, W) in [0, 1]; returns the same shape and range."""
        count = len(images)
        blurred = F.interpolate(F.avg_pool2d(images, 2), size=images.shape[-2:], mode="bilinear")
        is_blurred = torch.rand(count, 1, 1, 1, generator=generator) < self.blur_probability
        images = torch.where(is_blurred, blurred, images)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = mean + (images - mean) * _factors(self.contrast, (count, 1, 1, 1), generator)
        images = images * _factors(self.gain, (count, 1, 1, 1), generator)
        images = images * _factors(self.cast, (count, 3, 1, 1), generator)
        deviation = self.noise * torch.rand(count, 1, 1, 1, generator=generator)
        return (images + deviation * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def _factors(spread: float, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return 1 + spread * (2 * torch.rand(shape, generator=generator) - 1)
