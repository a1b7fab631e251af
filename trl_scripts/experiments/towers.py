"""Frozen towers for an experiment: one of a checkpoint at another input size, or one that is pre-trained first."""

import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modeling_igllm import IGLLMForSceneProgram, IGLLMImageProcessor, IGLLMProcessor, SceneTowerConfig, SceneTowerModel

from ..errors import CommandError
from .recipe import RECIPES, TowerPlan

_ROOT = RECIPES.parent.parent
_REPORT = "tower.json"


def make_tower(name: str, plan: TowerPlan, dataset: Path, family: str, out: Path) -> Path:
    """Return the folder of the tower in `out`, made now if it is not there yet.

    A pre-training that was killed goes on from its last checkpoint.

    Args:
        dataset: folder of the scenes that a pre-training learns from, whose configuration is `family`.

    Raises:
        CommandError: if the folder holds another tower, or the pre-training fails.
    """
    folder = out / name
    # Experiments may say of the same tower in other words what it has seen.
    made_from = json.loads(json.dumps({name: value for name, value in asdict(plan).items() if name != "seen"}))
    if (folder / _REPORT).is_file():
        if json.loads((folder / _REPORT).read_text())["made_from"] != made_from:
            raise CommandError(f"{folder} holds a tower made from another recipe: remove it or choose another --out")
        return folder
    start = time.monotonic()
    scores: dict[str, Any] = {}
    if plan.checkpoint is not None:
        _take_from_checkpoint(_ROOT / plan.checkpoint, plan.size, folder)
    else:
        scores = _pretrain(plan, dataset, family, folder)
    report = {"made_from": made_from, "minutes": (time.monotonic() - start) / 60, "scores": scores}
    (folder / _REPORT).write_text(json.dumps(report, indent=2) + "\n")
    return folder


def read_tower_report(folder: Path) -> dict[str, Any]:
    """`made_from`, `minutes` (of the last, uninterrupted part of its making) and `scores` of a tower."""
    return dict(json.loads((folder / _REPORT).read_text()))


def _take_from_checkpoint(checkpoint: Path, size: str | None, folder: Path) -> None:
    """Save the tower of a model and its image processor, for images of `size`: convolutions fit any."""
    if not (checkpoint / "config.json").is_file():
        raise CommandError(f"there is no checkpoint {checkpoint}, whose tower the recipe asks for")
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
    command = [sys.executable, "-m", "trl_scripts.pretrain_tower", "--config", str(RECIPES / str(plan.recipe))]
    for name, value in options.items():
        command += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    if subprocess.run(command, cwd=_ROOT, check=False).returncode:
        raise CommandError(f"the pre-training of {folder.name} failed: its messages are above")
    return dict(json.loads((folder / "tower_scores.json").read_text()))


def parse_size(size: str) -> tuple[int, int]:
    """`WxH` -> (width, height) in pixels; CommandError for another text."""
    width, _, height = str(size).partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise CommandError(f"{size!r} is no size in pixels: write WIDTHxHEIGHT, as in 160x120")
    return int(width), int(height)
