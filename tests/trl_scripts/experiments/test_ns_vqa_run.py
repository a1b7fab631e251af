"""What a page says that the baseline's training took."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

from trl_scripts.baselines.ns_vqa import ATTRIBUTE_FOLDER, SEGMENTATION_FOLDER
from trl_scripts.baselines.train_ns_vqa import NSVQAArguments
from trl_scripts.experiments import ns_vqa_run
from trl_scripts.experiments.plan import Folders, plan_runs
from trl_scripts.experiments.recipe import load_recipe, recipe_path

SECONDS = {SEGMENTATION_FOLDER: 90.0, ATTRIBUTE_FOLDER: 30.0}


class Net(nn.Module):
    def num_parameters(self) -> int:
        return 1


def finish_nets(arguments: NSVQAArguments) -> None:
    for name, seconds in SECONDS.items():
        folder = Path(arguments.output_dir) / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").touch()
        (folder / "training.json").write_text(json.dumps({"step": 1, "seconds": seconds}))


def test_minutes_are_of_both_nets_and_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ns_vqa_run, "train", finish_nets)
    monkeypatch.setattr(ns_vqa_run.NSVQA, "load", lambda folder: SimpleNamespace(segmentation=Net(), attributes=Net()))
    recipe = load_recipe(recipe_path("clevr_cogent"))
    folders = Folders(tmp_path, tmp_path, "clevr_cogent")
    first, second = [run for run in plan_runs(recipe) if run.group in ("ns_vqa", "ns_vqa_own")]
    # The detector was finished before a kill: its time is part of what the baseline took.
    (tmp_path / "clevr_cogent" / "runs" / first.training_name / SEGMENTATION_FOLDER).mkdir(parents=True)
    assert ns_vqa_run.train_ns_vqa(first, recipe, folders).minutes == 2.0
    assert ns_vqa_run.train_ns_vqa(second, recipe, folders).minutes == 0.0
