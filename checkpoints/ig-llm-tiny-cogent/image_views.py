"""A picture read several times: as it is, and shifted by some pixels each way (test-time augmentation).

An object at the border of two image tokens is in the middle of one when the picture is shifted. Answers are read from
the mean of what the views bring forth, in which the shifts nearly cancel out in the places of objects.
"""

import torch

NUM_VIEWS = 5


def shifted_views(pixel_values: torch.Tensor, pixels: int) -> torch.Tensor:
    """Each image as it is, and shifted by `pixels` to the right, left, bottom and top; edges are repeated.

    Args:
        pixel_values (`torch.Tensor` (B, 3, H, W)): Output of the image processor.
        pixels (`int`): Of these images.

    Returns:
        `torch.Tensor` (B * `NUM_VIEWS`, 3, H, W): The views of an image one after another.

    Raises:
        `ValueError`: If `pixels` is not a positive number smaller than height and width.
    """
    if not 0 < pixels < min(pixel_values.shape[-2:]) or int(pixels) != pixels:
        height, width = pixel_values.shape[-2:]
        raise ValueError(
            f"view_shift must be a whole number of pixels smaller than the model's images of {width}x{height}, got "
            f"{pixels}: 0 reads each image once."
        )
    moves = ((0, 0), (0, pixels), (0, -pixels), (pixels, 0), (-pixels, 0))
    return torch.stack([_shift(pixel_values, *move) for move in moves], dim=1).flatten(0, 1)


def _shift(images: torch.Tensor, down: int, right: int) -> torch.Tensor:
    height, width = images.shape[-2:]
    rows = (torch.arange(height, device=images.device) - down).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) - right).clamp(0, width - 1)
    return images[..., rows, :][..., columns]


__all__ = ["NUM_VIEWS", "shifted_views"]
