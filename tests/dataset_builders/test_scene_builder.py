"""The `datasets` builder classes make the rows that `igllm build` makes."""

from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset

from dataset_builders.build import build_family
from dataset_builders.families import FAMILIES
from dataset_builders.scene_builder import (
    SceneBuilder,
    ShapenetBuilder,
    SixDofBuilder,
    So3Builder,
    TwoDBuilder,
)


def test_every_family_has_a_builder() -> None:
    assert {builder.FAMILY for builder in SceneBuilder.__subclasses__()} == set(FAMILIES)


@pytest.mark.parametrize(
    ("builder_class", "splits"),
    [
        (TwoDBuilder, ("train", "val_id", "val_ood")),
        (So3Builder, ("val_ood",)),
        (SixDofBuilder, ("val_id",)),
        (ShapenetBuilder, ("val_ood_shape",)),
        pytest.param(So3Builder, ("train", "val_id"), marks=pytest.mark.slow),
        pytest.param(SixDofBuilder, ("train",), marks=pytest.mark.slow),
        pytest.param(ShapenetBuilder, ("train", "val_id", "val_ood_texture"), marks=pytest.mark.slow),
    ],
)
def test_builder_and_build_give_the_same_rows(
    builder_class: type[SceneBuilder], splits: tuple[str, ...], tmp_path: Path
) -> None:
    """One renders in this process, the other in a new one."""
    family = builder_class.FAMILY
    builder = builder_class(cache_dir=str(tmp_path / "cache"), num_scenes=2, seed=3, width=32, height=32, samples=1)
    builder.download_and_prepare()
    assert tuple(builder.info.splits) == FAMILIES[family].splits
    size = {"num_scenes": 2, "seed": 3, "resolution": (32, 32), "samples": 1}
    build_family(family, tmp_path / "data", splits=splits, workers=1, **size)
    for split in splits:
        first = builder.as_dataset(split=split)
        second = load_dataset(str(tmp_path / "data"), family, split=split, cache_dir=str(tmp_path / "loaded"))
        assert first.features == second.features
        assert first["program"][:] == second["program"][:]
        assert first["scene"][:] == second["scene"][:]
        for one, other in zip(first["image"], second["image"], strict=True):
            assert np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("name", ["num_scenes", "width", "height"])
def test_zero_is_not_taken_for_the_familys_own_number(tmp_path: Path, name: str) -> None:
    builder = TwoDBuilder(cache_dir=str(tmp_path), **{"num_scenes": 1, name: 0})
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        builder.download_and_prepare()


def test_a_built_split_streams(tmp_path: Path) -> None:
    build_family("two_d", tmp_path, splits=("val_ood",), num_scenes=3, resolution=(32, 32), workers=1)
    rows = list(load_dataset(str(tmp_path), "two_d", split="val_ood", streaming=True))
    assert [row["scene"]["index"] for row in rows] == [0, 1, 2]
    assert rows[0]["scene"]["camera"] is None
    assert "two_d_val_ood.jpg" in (tmp_path / "README.md").read_text()
