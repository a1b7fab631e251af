"""The benchmark families: their splits, sizes and samplers (spec BENCHMARKS); and those that other packages add."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points

from .clevr_rgb import sample_clevr_rgb_scene
from .clevr_sampler import sample_clevr_scene
from .painters import Painter, PaintRequest, make_clevr_painter, make_disc_painter, make_studio_painter
from .sampled_scene import SampledScene
from .shapenet import sample_shapenet_scene
from .six_dof import sample_six_dof_scene
from .so3 import sample_so3_scene
from .two_d import sample_two_d_scene


@dataclass(frozen=True)
class Family:
    """One family of scenes: default `resolution` (width, height), scenes by split, sampler and painter.

    `sample(family, split, seed, index)` draws one scene; `make_painter` makes what renders such scenes. A family that
    `takes_meshes` may be drawn from a `ShapeCatalog` of the user's, the fifth argument of `sample`. One that
    `fills_squares` has objects everywhere in a square picture: one that is wider than high would cut them off.
    """

    name: str
    resolution: tuple[int, int]
    split_sizes: dict[str, int]
    sample: Callable[..., SampledScene]
    make_painter: Callable[[PaintRequest], Painter]
    takes_meshes: bool = False
    fills_squares: bool = False

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, training first."""
        return tuple(self.split_sizes)

    def split_size(self, split: str) -> int:
        """The default number of scenes of a split; ValueError if the family has no such split."""
        if split not in self.split_sizes:
            raise ValueError(f"family {self.name!r} has no split {split!r}: choose one of {', '.join(self.splits)}")
        return self.split_sizes[split]


_CLEVR_SIZES = {"train": 4000, "val_id": 1000}  # published
_SIZES = {"train": 10_000, "val_id": 1000}  # ours: the other families' were not published
_SIZES_WITH_OOD = {**_SIZES, "val_ood": 1000}
_SHAPENET_SIZES = {**_SIZES, "val_ood_texture": 1000, "val_ood_shape": 1000}
FAMILIES = {
    family.name: family
    for family in (
        Family("clevr", (320, 240), _CLEVR_SIZES, sample_clevr_scene, make_clevr_painter),
        Family("clevr_cogent", (320, 240), {**_CLEVR_SIZES, "val_ood": 1000}, sample_clevr_scene, make_clevr_painter),
        Family("two_d", (336, 336), _SIZES_WITH_OOD, sample_two_d_scene, make_disc_painter),
        Family("so3", (256, 256), _SIZES_WITH_OOD, sample_so3_scene, make_studio_painter),
        Family("six_dof", (256, 256), _SIZES, sample_six_dof_scene, make_studio_painter, fills_squares=True),
        Family("shapenet", (256, 256), _SHAPENET_SIZES, sample_shapenet_scene, make_clevr_painter, takes_meshes=True),
        # No benchmark: scenes without a program, for the pre-training of towers.
        Family("clevr_rgb", (320, 240), _CLEVR_SIZES, sample_clevr_rgb_scene, make_clevr_painter),
    )
}
# Installed packages name their own families under this group of entry points (docs/adding_a_family.md). So every
# process of a build finds them, on other machines too.
ENTRY_POINTS = "ig_llm.families"


@cache
def find_family(name: str) -> Family:
    """Return the benchmark family of this name, or that of an installed package.

    Raises:
        ValueError: if there is none, or the package's is no `Family` of this name.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    added = entry_points(group=ENTRY_POINTS)
    if name not in added.names:
        raise ValueError(f"unknown family {name!r}: choose one of {', '.join([*FAMILIES, *sorted(added.names)])}")
    family = added[name].load()
    if not isinstance(family, Family) or family.name != name:
        raise ValueError(f"the entry point {name} = {added[name].value!r} is {family!r}, not a Family named {name!r}")
    return family
