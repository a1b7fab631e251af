"""Independent, reproducible random streams, one per scene and attempt.

Any scene can be made alone, in any order and on any machine, because its stream depends on nothing but
(family, split, seed, index, attempt) (spec BENCHMARKS, "Random stream").
"""

import numpy as np

# Fixed integers rather than `hash()`, which changes from one Python process to the next. Never renumber: every
# number is part of the identity of published scenes.
FAMILY_CODES = {"clevr": 1, "clevr_cogent": 2, "two_d": 3, "so3": 4, "six_dof": 5, "shapenet": 6, "clevr_rgb": 7}
# Codes from here on are for families of other packages.
FIRST_FREE_CODE = 1000
SPLIT_CODES = {"train": 1, "val_id": 2, "val_ood": 3, "val_ood_texture": 4, "val_ood_shape": 5}
# `SeedSequence` cuts numbers into 32-bit words, so that larger ones could run into their neighbours.
NUMBER_LIMIT = 2**32


def scene_stream(family: str | int, split: str, seed: int, index: int, attempt: int = 0) -> np.random.Generator:
    """Return the generator of one attempt at one scene.

    Args:
        family: a key of `FAMILY_CODES`, or a code of one's own, in [1000, 2**32).
        split: a key of `SPLIT_CODES`.
        seed: dataset seed; like the next two in [0, 2**32), where no two streams coincide.
        index: number of the scene in its split.
        attempt: number of the try (a scene that breaks a rule is drawn again).

    Raises:
        KeyError: for an unknown family or split.
        ValueError: for a number out of range.
    """
    if isinstance(family, int) and not FIRST_FREE_CODE <= family < NUMBER_LIMIT:
        raise ValueError(f"a family's own code must be in [{FIRST_FREE_CODE}, 2**32), got {family}")
    code = family if isinstance(family, int) else FAMILY_CODES[family]
    numbers = (seed, index, attempt)
    if not all(0 <= number < NUMBER_LIMIT for number in numbers):
        raise ValueError(f"seed, index and attempt must be in [0, 2**32), got {numbers}")
    return np.random.default_rng(np.random.SeedSequence([code, SPLIT_CODES[split], *numbers]))
