"""The benchmark families: their splits, sizes and samplers (spec BENCHMARKS)."""

from collections.abc import Callable
from dataclasses import dataclass

from .clevr_sampler import sample_clevr_scene
from .sampled_scene import SampledScene


@dataclass(frozen=True)
class Family:
    """One benchmark family: default `resolution` (width, height), scenes by split, and its sampler.

    `sample(family, split, seed, index)` draws one scene.
    """

    name: str
    resolution: tuple[int, int]
    split_sizes: dict[str, int]
    sample: Callable[[str, str, int, int], SampledScene]

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, training first."""
        return tuple(self.split_sizes)

    def split_size(self, split: str) -> int:
        """The default number of scenes of a split; ValueError if the family has no such split."""
        if split not in self.split_sizes:
            raise ValueError(f"family {self.name!r} has no split {split!r}: choose one of {', '.join(self.splits)}")
        return self.split_sizes[split]


FAMILIES = {
    family.name: family
    for family in (
        Family("clevr", (320, 240), {"train": 4000, "val_id": 1000}, sample_clevr_scene),
        Family("clevr_cogent", (320, 240), {"train": 4000, "val_id": 1000, "val_ood": 1000}, sample_clevr_scene),
    )
}
