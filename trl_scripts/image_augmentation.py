"""Photometric augmentation of images: what changes from one renderer, lamp, camera or file to another; no label."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image, ImageFilter

# Of the files that a picture may come from, relative to the size the tower sees.
RESAMPLING = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class PhotometricAugmentation:
    """Random light, lens and file, drawn anew for every image.

    Geometry stays: a crop or a flip would move the objects that the labels place in world metres.

    Attributes:
        gain: exposure factors of the sRGB values are drawn from [1 - gain, 1 + gain].
        contrast: likewise, around the image's own mean.
        gamma: exponents are drawn from [1 / (1 + gamma), 1 + gamma].
        temperature: red is multiplied by 1 + t and blue by 1 - t, t in [-temperature, temperature].
        tint: likewise green by 1 + t, red and blue by 1 - t / 2.
        noise: largest standard deviation of the added noise, in units of the full range.
        blur: largest radius (standard deviation) of a Gaussian blur, in pixels.
        scales: sizes of the file, relative to the image, to which it is resized and from which it comes back.
        quality: of the JPEG file.
        bars: largest height, relative to the image, of each of two bars at top and bottom, as the image processor pads
            a wider picture; 0 for none.
        bar_color: their colour in the image's range, [0, 1]: the image processor's mean.
        noise_probability, blur_probability, resize_probability, jpeg_probability, bar_probability: shares of images.
    """

    gain: float = 0.25
    contrast: float = 0.2
    gamma: float = 0.2
    temperature: float = 0.06
    tint: float = 0.03
    noise: float = 0.03
    noise_probability: float = 0.5
    blur: float = 0.8
    blur_probability: float = 0.2
    scales: tuple[float, float] = (0.7, 3.0)
    resize_probability: float = 0.4
    quality: tuple[int, int] = (25, 95)
    jpeg_probability: float = 0.5
    bars: float = 0.0
    bar_color: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bar_probability: float = 0.3

    def __call__(self, images: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Augment images (B, 3, H, W) in [0, 1]; returns the same shape and range.

        Args:
            seeds: one for each image, not negative. Image and seed decide the result, whatever else is in the batch.

        Raises:
            ValueError: if there are not as many seeds as images.
        """
        results = [
            self._augment(image.permute(1, 2, 0).numpy(), np.random.default_rng(seed))
            for image, seed in zip(images, seeds, strict=True)
        ]
        return torch.from_numpy(np.stack(results)).permute(0, 3, 1, 2).contiguous()

    def _augment(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H, W, 3) float32 -> the same. Every number is drawn whether it is used or not, always in this order."""
        use_noise, use_blur, use_resize, use_jpeg, use_bars = rng.random(5) < (
            self.noise_probability,
            self.blur_probability,
            self.resize_probability,
            self.jpeg_probability,
            self.bar_probability,
        )
        image = self._relight(image, rng)
        deviation = self.noise * rng.random(dtype=np.float32)
        if use_noise and deviation:
            image = image + deviation * rng.standard_normal(image.shape, dtype=np.float32)
        image = image.clip(0, 1)
        if use_blur or use_resize or use_jpeg:
            image = self._through_file(image, rng, use_blur, use_resize, use_jpeg)
        if use_bars:
            self._draw_bars(image, rng)
        return image

    def _relight(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Exposure, gamma, contrast and colour temperature."""
        limits = np.array([self.gain, self.contrast, np.log1p(self.gamma), self.temperature, self.tint], np.float32)
        gain, contrast, gamma, temperature, tint = rng.uniform(-1, 1, 5).astype(np.float32) * limits
        if self.gamma:
            image = image ** np.exp(gamma)
        mean = image.mean()
        channels = np.array([(1 + temperature) * (1 - tint / 2), 1 + tint, (1 - temperature) * (1 - tint / 2)])
        factors = ((1 + gain) * channels).astype(np.float32)
        return (mean + (image - mean) * (1 + contrast)) * factors

    def _through_file(
        self, image: np.ndarray, rng: np.random.Generator, use_blur: bool, use_resize: bool, use_jpeg: bool
    ) -> np.ndarray:
        """Blur, and write as a file of another size and kind that is then read and resized as every picture is."""
        picture: Image.Image = Image.fromarray((image * 255).round().astype(np.uint8))
        size = picture.size
        blur = rng.uniform(0, self.blur)
        # Uniform in the logarithm: as often half the size as twice.
        scale = np.exp(rng.uniform(*np.log(self.scales)))
        smaller, back = rng.integers(len(RESAMPLING), size=2)
        quality = int(rng.integers(self.quality[0], self.quality[1] + 1))
        if use_blur:
            picture = picture.filter(ImageFilter.GaussianBlur(blur))
        if use_resize:
            picture = picture.resize([max(8, round(side * scale)) for side in size], RESAMPLING[smaller])
        if use_jpeg:
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=quality)
            picture = Image.open(buffer)
        if use_resize:
            picture = picture.resize(size, RESAMPLING[back])
        return np.asarray(picture, dtype=np.float32) / 255

    def _draw_bars(self, image: np.ndarray, rng: np.random.Generator) -> None:
        rows = round(self.bars * len(image) * rng.random())
        if rows:
            image[:rows] = image[-rows:] = self.bar_color


# CLEVR's own pictures are 3:2, so that the image processor puts a bar of 1/18 of the height above and below. No
# object's centre is in the upper fifth or the lower tenth of a CLEVR picture of 4:3.
CLEVR_BARS = 0.06


def family_augmentation(family: str, image_mean: Sequence[float]) -> PhotometricAugmentation:
    """The augmentation of a family's pictures: of those of CLEVR's rules with bars, which would hide other objects.

    Args:
        family: name of the dataset's configuration.
        image_mean: the image processor's, the colour of its padding.
    """
    augmentation = PhotometricAugmentation()
    if not family.startswith("clevr"):
        return augmentation
    red, green, blue = image_mean
    return replace(augmentation, bars=CLEVR_BARS, bar_color=(red, green, blue))
