"""Batches of like length that train as random ones do."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class StepwiseLengthSampler(Sampler[int]):
    """Random steps, the scenes of each ordered by length: with gradient accumulation, little is left to pad.

    A step sees the scenes that it would see under random sampling, and its gradient is the same; but the longest scene
    of all comes first, in the place of another one, so that memory runs short at once or never. transformers' own
    `LengthGroupedSampler` orders across steps, which makes every step one of scenes with the same number of objects.

    Args:
        lengths: of each scene, in tokens.
        step_size: scenes of one optimizer step, over all micro-batches and devices.
        seed: of the first epoch; each further one (`set_epoch`) has an order of its own.
    """

    def __init__(self, lengths: Sequence[int], step_size: int, seed: int) -> None:
        self.lengths = list(lengths)
        self.step_size = step_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; the Trainer calls this, also when it resumes within an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return iter(get_length_grouped_indices(self.lengths, self.step_size, mega_batch_mult=1, generator=generator))
