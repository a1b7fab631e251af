"""How shapes of one kind are kept apart."""

import numpy as np


def spread(rng: np.random.Generator, low: float, high: float, place: int, places: int) -> float:
    """Draw from the lower part of one of `places` equal slices of [low, high): shapes of one kind never come close.

    Args:
        place: number of the slice, counted on modulo `places`.
    """
    return low + (high - low) * (place % places + rng.uniform(0.0, 0.6)) / places
