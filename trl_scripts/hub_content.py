"""Which files of a folder a push puts on the Hub, and whether the folder is what it should be."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import metadata_load
from huggingface_hub.utils import filter_repo_objects

from dataset_builders.shards import count_rows

from .errors import CommandError

# Shell patterns of paths below the folder; `*` also matches a slash.
NOT_PUSHED = (
    *(
        "*.tmp",
        "*.lock",
        "*.incomplete",
        ".[0-9]*-*",
        "*/.[0-9]*-*",
    ),  # what is still being written (see whole_file.py)
    *(
        "*.arrow",
        "*/*.safetensors",
        "*.pyc",
        ".cache/*",
        "*/.cache/*",
    ),  # caches: of datasets and evaluate, tower features (a model's weights lie beside its config.json), Python
    *("checkpoint-*/*", "runs/*"),  # the trainer's own state: resuming, logs
    *("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.joblib", "*.npy", "*.npz"),  # can hold pickles
    *("trainer_state.json", "scene_arguments.json", "tower_arguments.json"),  # paths of this machine
    "non_finite_step_*",  # rows of the training data (finite_loss.py)
    *(".git/*", "*/.git/*", "*.DS_Store", "*.ipynb_checkpoints/*"),
)


@dataclass(frozen=True)
class HubContent:
    """What a repository shall hold after a push.

    Args:
        repo_type: "model", "dataset" or "space".
        files: path in the repository -> the file on disk, or its bytes.
        mirrored: patterns of files that are found by their name when the repository is loaded (weights, shards,
            code). One that is on the Hub but not in `files` would be loaded too: the push removes it. Other files on
            the Hub stay.
    """

    repo_type: str
    files: dict[str, Path | bytes]
    mirrored: tuple[str, ...]


def model_content(folder: Path) -> HubContent:
    """A checkpoint: weights, configuration, processor, code and card.

    Raises:
        CommandError: if the folder has no `config.json`, or not all of the weights.
    """
    if not (folder / "config.json").is_file():
        raise CommandError(
            f"{folder} is no model: it has no config.json; push the output of sft.py or make_checkpoint.py"
        )
    files = pushed_files(folder)
    if not any(name.endswith(".safetensors") for name in files):
        raise CommandError(f"{folder} is no finished model: it has no *.safetensors; save the model again")
    if missing := sorted(_indexed_shards(folder) - files.keys()):
        raise CommandError(f"{folder} is no finished model: it has no {missing[0]}; save the model again")
    return HubContent("model", files, ("*.safetensors", "*.safetensors.index.json", "*.py"))


def dataset_content(folder: Path) -> HubContent:
    """A built dataset: Parquet shards, their build parameters and the card.

    Raises:
        CommandError: if README.md has no `configs`, names shards that are not there, or counts other rows than they
            have, which nobody could load.
    """
    for pattern, rows in _shard_patterns(folder).items():
        shards = sorted(folder.glob(pattern))
        if not shards:
            raise CommandError(
                f"{folder} is no finished dataset: README.md names {pattern}, which is not there; repeat `igllm build`"
            )
        if rows is not None and (found := _count_rows(shards)) != rows:
            raise CommandError(
                f"{folder} is no finished dataset: README.md counts {rows} rows in {pattern}, there are {found}; "
                "repeat the last `igllm build`, which was interrupted"
            )
    return HubContent("dataset", pushed_files(folder), ("*.parquet", "*.build.json"))


def pushed_files(folder: Path) -> dict[str, Path | bytes]:
    """All files below `folder` by their relative path, but for temporary files, caches and a trainer's state."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: paths[name] for name in filter_repo_objects(paths, ignore_patterns=list(NOT_PUSHED))}


def read_card_head(card: Path) -> dict[str, Any]:
    """The YAML head of a README.md, empty if it has none.

    Raises:
        CommandError: if there is no such file or its head is not YAML.
    """
    try:
        return metadata_load(card) or {}
    except OSError as error:
        raise CommandError(f"cannot read {card}: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise CommandError(f"the head of {card} is not YAML: {' '.join(str(error).split())}") from error


def _indexed_shards(folder: Path) -> set[str]:
    """The files over which large weights are spread, none if they are in one."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file() or (folder / "model.safetensors").is_file():
        return set()
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"{index} is damaged; save the model again") from error


def _count_rows(shards: list[Path]) -> int:
    try:
        return sum(count_rows(shard) for shard in shards)
    except ValueError as error:
        raise CommandError(str(error)) from error


def _shard_patterns(folder: Path) -> dict[str, int | None]:
    """Patterns of a dataset's shards -> their rows by README.md, None if it does not say."""
    wrong_kind = f"{folder} is no dataset: it has no README.md with `configs`; push the --out folder of `igllm build`"
    if not (folder / "README.md").is_file():
        raise CommandError(wrong_kind)
    try:
        head = read_card_head(folder / "README.md")
        infos = head.get("dataset_info", [])
        rows = {
            (info.get("config_name", "default"), split["name"]): split["num_examples"]
            for info in (infos if isinstance(infos, list) else [infos])
            for split in info.get("splits", [])
        }
        return {
            entry["path"]: rows.get((config["config_name"], entry["split"]))
            for config in head["configs"]
            for entry in config["data_files"]
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise CommandError(wrong_kind) from error
