"""The card of a built folder is what `load_dataset` needs, whatever was built in which order."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import Dataset, get_dataset_config_names, get_dataset_split_names, load_dataset
from shard_files import make_plan, write_shard, write_split

from dataset_builders import shards
from dataset_builders.dataset_card import check_card_place, write_dataset_card
from dataset_builders.families import FAMILIES
from dataset_builders.shards import claim_folder


@pytest.fixture(autouse=True)
def two_scenes_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_SIZE", 2)


def front_matter(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "README.md").read_text().split("---\n")[1]))


def load(folder: Path, config: str, split: str, cache: Path) -> Dataset:
    return load_dataset(str(folder), config, split=split, cache_dir=str(cache))


def test_card_lists_configs_and_dataset_info(tmp_path: Path) -> None:
    write_split(make_plan(tmp_path))
    data = front_matter(tmp_path)
    assert data["configs"] == [
        {"config_name": "clevr", "data_files": [{"split": "train", "path": "clevr/train-*.parquet"}]}
    ]
    (split,) = data["dataset_info"]["splits"]
    assert (split["name"], split["num_examples"]) == ("train", 3)
    assert split["num_bytes"] == sum(path.stat().st_size for path in tmp_path.glob("clevr/*.parquet"))
    assert {feature["name"] for feature in data["dataset_info"]["features"]} >= {"image", "scene", "program"}


def test_load_dataset_gives_the_rows_back(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "data")
    write_split(plan)
    rows = load(plan.out, "clevr", "train", tmp_path / "cache")
    assert [scene["index"] for scene in rows["scene"]] == [0, 1, 2]
    direct = Dataset.from_parquet([str(path) for path in plan.shards_on_disk()], cache_dir=str(tmp_path / "direct"))
    assert rows.features == direct.features
    assert rows["scene"][:] == direct["scene"][:]
    assert rows["program"][:] == direct["program"][:]
    assert [image.tobytes() for image in rows["image"]] == [image.tobytes() for image in direct["image"]]


def test_later_splits_and_families_merge(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_split(make_plan(folder, family="clevr_cogent", split="val_ood", num_scenes=1))
    write_split(make_plan(folder, split="val_id", num_scenes=2))
    write_split(make_plan(folder, split="train", num_scenes=3))
    write_split(make_plan(folder, family="clevr_cogent", split="val_id", num_scenes=4))
    assert get_dataset_config_names(str(folder)) == ["clevr", "clevr_cogent"]
    assert get_dataset_split_names(str(folder), "clevr") == ["train", "val_id"]
    assert get_dataset_split_names(str(folder), "clevr_cogent") == ["val_id", "val_ood"]
    sizes = {
        ("clevr", "train"): 3,
        ("clevr", "val_id"): 2,
        ("clevr_cogent", "val_id"): 4,
        ("clevr_cogent", "val_ood"): 1,
    }
    for (config, split), size in sizes.items():
        rows = load(folder, config, split, tmp_path / "cache")
        assert {(scene["family"], scene["split"]) for scene in rows["scene"]} == {(config, split)}
        assert len(rows) == size


def test_a_split_that_grew_is_not_served_from_a_stale_cache(tmp_path: Path) -> None:
    for num_scenes in (1, 4):
        write_split(make_plan(tmp_path / "data", num_scenes=num_scenes))
        assert len(load(tmp_path / "data", "clevr", "train", tmp_path / "cache")) == num_scenes


def test_a_folder_of_the_same_name_is_not_served_from_a_stale_cache(tmp_path: Path) -> None:
    for seed in (0, 1):
        folder = tmp_path / str(seed) / "data"
        write_split(make_plan(folder, seed=seed))
        rows = load(folder, "clevr", "train", tmp_path / "cache")
        assert {scene["seed"] for scene in rows["scene"]} == {seed}


def test_a_family_interrupted_before_its_first_shard_is_left_out(tmp_path: Path) -> None:
    claim_folder(make_plan(tmp_path))
    claim_folder(make_plan(tmp_path, split="val_id"))
    write_split(make_plan(tmp_path, family="clevr_cogent"))
    assert [config["config_name"] for config in front_matter(tmp_path)["configs"]] == ["clevr_cogent"]


def test_table_tells_how_the_split_was_made(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, seed=7)
    write_shard(plan, 0, bpy_version="4.5.15")
    write_shard(plan, 1, bpy_version="4.5.16")
    write_dataset_card(tmp_path)
    assert "| clevr | train | 3 | 7 | 32x24 | 1 | 4.5.15, 4.5.16 |" in (tmp_path / "README.md").read_text()


def test_a_split_without_blender_says_so(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, family="two_d", width=32, height=32)
    write_shard(plan, 0, bpy_version=None)
    write_dataset_card(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "| two_d | train | 2 | 0 | 32x32 | 1 | not used | built |" in card
    assert "drawn without Blender" in card and "rendered with Blender" not in card


def test_splits_with_and_without_blender_are_told_apart(tmp_path: Path) -> None:
    write_split(make_plan(tmp_path))
    card = (tmp_path / "README.md").read_text()
    assert "rendered with Blender" in card and "drawn without Blender" not in card
    write_shard(make_plan(tmp_path, family="two_d", width=32, height=32), 0, bpy_version=None)
    write_dataset_card(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "rendered with Blender" in card and "drawn without Blender" in card


def test_the_licence_is_that_of_the_families_of_this_project_alone(tmp_path: Path) -> None:
    write_split(make_plan(tmp_path))
    assert "Licence: CC BY 4.0." in (tmp_path / "README.md").read_text()
    assert front_matter(tmp_path)["license"] == "cc-by-4.0"
    (tmp_path / "clevr").rename(tmp_path / "tiles")
    write_dataset_card(tmp_path)
    assert "CC BY" not in (tmp_path / "README.md").read_text()
    write_split(make_plan(tmp_path))
    card = (tmp_path / "README.md").read_text()
    assert "Licence of `clevr`: CC BY 4.0. Of `tiles`, of another package, no licence is known here" in card
    assert front_matter(tmp_path)["license"] == "other"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_families_of_a_folder_are_described(tmp_path: Path, family: str) -> None:
    write_split(make_plan(tmp_path, num_scenes=1))
    write_split(make_plan(tmp_path, family=family, width=32, height=32, num_scenes=1))
    body = (tmp_path / "README.md").read_text().split("---\n")[2]
    described = [line.split("`")[1] for line in body.splitlines() if line.startswith("- `")]
    assert described == sorted({"clevr", family})
    splits = [word for word in FAMILIES[family].splits if word.startswith("val_ood")]
    assert all(f"`{split}`" in body for split in splits)


def test_its_own_card_may_be_written_again(tmp_path: Path) -> None:
    check_card_place(tmp_path)
    write_split(make_plan(tmp_path))
    check_card_place(tmp_path)


def test_a_readme_of_something_else_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(ValueError, match=r"README\.md is not the card .* another --out folder"):
        check_card_place(tmp_path)
