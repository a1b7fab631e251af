"""Scaling of numbers, one range for each quantity: the program's units <-> normalised units.

`config.number_ranges` maps a quantity to [low, high] in the program's units, which is [-1, 1] in normalised units. A
quantity without a range keeps its units. The numeric head, its loss and the values that are fed back are all in
normalised units, so that metres and radians weigh the same and a bin or a standard deviation means the same.
"""

from collections.abc import Mapping, Sequence

import torch

from .vocabulary import QUANTITIES

NumberRanges = Mapping[str, Sequence[float]]


def check_number_ranges(number_ranges: NumberRanges) -> None:
    """`ValueError` unless every key is one of `QUANTITIES` and every value two finite numbers, low < high."""
    for quantity, bounds in number_ranges.items():
        if quantity not in QUANTITIES:
            raise ValueError(f"number_ranges may hold {', '.join(QUANTITIES)}; got {quantity!r}.")
        if len(bounds) != 2 or not 0 < bounds[1] - bounds[0] < float("inf"):
            raise ValueError(f"number_ranges[{quantity!r}] must be [low, high], finite and low < high; got {bounds}.")


def normalize_numbers(
    numbers: torch.Tensor, quantities: torch.Tensor | None, number_ranges: NumberRanges | None
) -> torch.Tensor:
    """Numbers in the program's units, any shape, -> normalised units, float32.

    Args:
        quantities (`torch.Tensor`, same shape, int64):
            Index of each number in `QUANTITIES`; where it is `NO_QUANTITY` the result is NaN. Needed with ranges only.

    Raises:
        `ValueError`: If there are ranges and no `quantities`.
    """
    if number_ranges is None:
        return numbers.float()
    center, half = _center_and_half(quantities, number_ranges)
    return (numbers.float() - center) / half


def denormalize_numbers(
    normalized: torch.Tensor, quantities: torch.Tensor | None, number_ranges: NumberRanges | None
) -> torch.Tensor:
    """The inverse of `normalize_numbers`."""
    if number_ranges is None:
        return normalized
    center, half = _center_and_half(quantities, number_ranges)
    return normalized * half + center


def denormalize_stds(
    normalized_stds: torch.Tensor, quantities: torch.Tensor | None, number_ranges: NumberRanges | None
) -> torch.Tensor:
    """Standard deviations in normalised units -> the program's units; arguments as in `normalize_numbers`."""
    if number_ranges is None:
        return normalized_stds
    return normalized_stds * _center_and_half(quantities, number_ranges)[1]


def _center_and_half(
    quantities: torch.Tensor | None, number_ranges: NumberRanges
) -> tuple[torch.Tensor, torch.Tensor]:
    """Middle and half width of the range of every quantity in `quantities`, NaN at `NO_QUANTITY`."""
    if quantities is None:
        raise ValueError(
            f"The model scales its numbers ({dict(number_ranges)}): number_quantities must say which quantity each is."
        )
    bounds = [number_ranges.get(quantity, (-1.0, 1.0)) for quantity in QUANTITIES]
    # The last row is that of NO_QUANTITY = -1.
    rows = [((low + high) / 2, (high - low) / 2) for low, high in bounds] + [(torch.nan, torch.nan)]
    table = torch.tensor(rows, dtype=torch.float32, device=quantities.device)[quantities]
    return table[..., 0], table[..., 1]


__all__ = ["check_number_ranges", "denormalize_numbers", "denormalize_stds", "normalize_numbers"]
