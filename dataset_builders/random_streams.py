"""Independent, reproducible random streams, one per scene and attempt.

Any scene can be made alone, in any order and on any machine, because its stream depends on nothing but
(family, split, seed, index, attempt) (spec BENCHMARKS, "Random stream").
"""

import numpy as np

# Fixed integers rather than `hash()`, which changes from one Python process to the next. Never renumber: every
# number is part of the identity of published scenes.
FAMILY_CODES = {"clevr": 1, "clevr_cogent": 2, "two_d": 3, "so3": 4, "six_dof": 5, "shapenet": 6}
SPLIT_CODES = {"train": 1, "val_id": 2, "val_ood": 3, "val_ood_texture": 4, "val_ood_shape": 5}
# `SeedSequence` cuts numbers into 32-bit words, so that larger ones could run into their neighbours.
NUMBER_LIMIT = 2**32


def scene_stream(family: str, split: str, seed: int, index: int, attempt: int = 0) -> np.random.Generator:
    """Return the generator of one attempt at one scene.

    Args:
        family: a key of `FAMILY_CODES`.
        split: a key of `SPLIT_CODES`.
        seed: dataset seed; like the next two in [0, 2**32), where no two streams coincide.
        index: number of the scene in its split.
        attempt: number of the try (a scene that breaks a rule is drawn again).

    Raises:
        KeyError: for an unknown family or split.
        ValueError: for a number out of range.
    """
    numbers = (seed, index, attempt)
    if not all(0 <= number < NUMBER_LIMIT for number in numbers):
        raise ValueError(f"seed, index and attempt must be in [0, 2**32), got {numbers}")
    return np.random.default_rng(np.random.SeedSequence([FAMILY_CODES[family], SPLIT_CODES[split], *numbers]))
