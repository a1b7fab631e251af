"""Frozen towers for an experiment: one of a checkpoint at another input size, or one that is pre-trained first."""

import hashlib
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers.utils import SAFE_WEIGHTS_NAME

from dataset_builders.die_with_parent import die_with_parent
from modeling_igllm import IGLLMForSceneProgram, IGLLMImageProcessor, IGLLMProcessor, SceneTowerConfig, SceneTowerModel

from ..errors import CommandError
from ..pretrain_tower import main as pretrain_tower
from .recipe import RECIPES, DataPlan, TowerPlan, read_options

_ROOT = RECIPES.parent.parent
_REPORT = "tower.json"


def make_tower(name: str, plan: TowerPlan, dataset: Path, data: DataPlan, out: Path) -> Path:
    """Return the folder of the tower in `out`, made now if it is not there yet.

    A pre-training that was killed goes on from its last checkpoint.

    Args:
        dataset: folder of the scenes that a pre-training learns from.
        data: what was built there for it, the experiment's own data or `plan.data`.

    Raises:
        CommandError: if the folder holds another tower, or the pre-training fails.
    """
    folder = out / name
    made_from = _made_from(name, plan, data)
    if (folder / _REPORT).is_file():
        if not _is_same(read_tower_report(folder)["made_from"], made_from, plan):
            raise CommandError(
                f"{folder} holds a tower made from another recipe, on other data or from weights that have changed "
                "since: choose another --out, or remove it with the runs that have learned from it"
            )
        return folder
    start = time.monotonic()
    scores: dict[str, Any] = {}
    if plan.checkpoint is not None:
        _take_from_checkpoint(_ROOT / plan.checkpoint, plan.size, folder)
    else:
        scores = _pretrain(plan, dataset, data.family, folder)
    report = {"made_from": made_from, "minutes": (time.monotonic() - start) / 60, "scores": scores}
    (folder / _REPORT).write_text(json.dumps(report, indent=2) + "\n")
    return folder


def _made_from(name: str, plan: TowerPlan, data: DataPlan) -> dict[str, Any]:
    """All that decides what the tower is, its recipe's options and its checkpoint's weights included, as JSON."""
    # Experiments may say of the same tower in other words what it has seen.
    found = {key: value for key, value in asdict(plan).items() if key != "seen"}
    found["data"] = asdict(data) if plan.checkpoint is None else None
    if plan.checkpoint is not None:
        found["checkpoint_sha256"] = _digest(_ROOT / plan.checkpoint)
    else:
        found["options"] = {**read_options(plan.recipe, f"towers.{name}.recipe"), **plan.options}
    return dict(json.loads(json.dumps(found)))


def _is_same(before: dict[str, Any], now: dict[str, Any], plan: TowerPlan) -> bool:
    """Whether a tower is made from the same; of the experiment's own data nothing was noted once."""
    is_unknown = before["data"] is None and plan.data is None
    return _compared(before) == _compared({**now, "data": None} if is_unknown else now)


def _compared(made_from: dict[str, Any]) -> dict[str, Any]:
    """Without what was in recipes once and now is set by pretrain_tower.py, and of the data what is learned from."""
    options = {name: value for name, value in made_from["options"].items() if name != "remove_unused_columns"}
    data, split = made_from["data"], options.get("train_split", "train")
    learned = None if data is None else {**data, "splits": data["splits"].get(split)}
    return {**made_from, "options": options, "data": learned}


def _digest(checkpoint: Path) -> str:
    """SHA-256 of a checkpoint's weights; CommandError if there are none."""
    path = checkpoint / SAFE_WEIGHTS_NAME
    if not path.is_file():
        raise CommandError(f"there is no checkpoint {checkpoint}, whose tower the recipe asks for")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tower_report(folder: Path) -> dict[str, Any]:
    """What a tower was `made_from`, its `scores`, and its `minutes`: of the last, uninterrupted part of its making."""
    return dict(json.loads((folder / _REPORT).read_text()))


def _take_from_checkpoint(checkpoint: Path, size: str | None, folder: Path) -> None:
    """Save the tower of a model and its image processor, for images of `size`: convolutions fit any."""
    source = IGLLMForSceneProgram.from_pretrained(checkpoint).model.vision_tower
    processor = IGLLMProcessor.from_pretrained(checkpoint).image_processor.to_dict()
    config = source.config.to_dict()
    if size is not None:
        width, height = parse_size(size)
        config["image_size"] = [height, width]
        processor["size"] = {"height": height, "width": width}
    tower = SceneTowerModel(SceneTowerConfig(**config))
    tower.load_state_dict(source.state_dict())
    tower.save_pretrained(folder)
    IGLLMImageProcessor(**processor).save_pretrained(folder)


def _pretrain(plan: TowerPlan, dataset: Path, family: str, folder: Path) -> dict[str, Any]:
    """Run `pretrain_tower.py`; returns the scores that it writes."""
    options = {
        "dataset": str(dataset.resolve()),
        "dataset_config": family,
        "output_dir": str(folder.resolve()),
        **plan.options,
    }
    command_line = ["--config", str(RECIPES / str(plan.recipe))]
    for name, value in options.items():
        command_line += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    # A process of its own, with all threads; it must not outlive this one, or the next call would train beside it.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), die_with_parent) as pool:
        if pool.submit(pretrain_tower, command_line).result():
            raise CommandError(f"the pre-training of {folder.name} failed: its messages are above")
    return dict(json.loads((folder / "tower_scores.json").read_text()))


def parse_size(size: str) -> tuple[int, int]:
    """`WxH` -> (width, height) in pixels; CommandError for another text."""
    width, _, height = str(size).partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise CommandError(f"{size!r} is no size in pixels: write WIDTHxHEIGHT, as in 160x120")
    return int(width), int(height)
