"""A run of the NS-VQA baseline: one training, answers with predicted or true masks, composite or own attributes."""

import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser

from ..baselines.evaluate_ns_vqa import predict_programs
from ..baselines.instance_decoding import SCORE_THRESHOLD
from ..baselines.instance_scenes import instance_scenes
from ..baselines.ns_vqa import NSVQA
from ..baselines.train_ns_vqa import NSVQAArguments, train
from ..errors import CommandError
from .data import load_rows
from .plan import Folders, Run
from .recipe import RECIPES, Recipe
from .trained import Trained


def train_ns_vqa(run: Run, recipe: Recipe, folders: Folders) -> Trained:
    """Train both nets in the folder that the arms of this seed and size share, unless they are there.

    The minutes are those of this call: an arm that finds the nets finished has none.
    """
    options = dict(run.ns_vqa or {})
    answering = {name: options.pop(name) for name in ("masks", "attributes")}
    threshold = float(options.pop("score_threshold", SCORE_THRESHOLD))
    folder = folders.runs / run.training_name
    arguments = ns_vqa_arguments(options, run, recipe, folders, folder)
    start = time.monotonic()
    train(arguments)
    minutes = (time.monotonic() - start) / 60
    model = NSVQA.load(folder)
    parameters = sum(net.num_parameters() for net in (model.segmentation, model.attributes))
    answer = _answer(model, recipe, folders, score_threshold=threshold, **answering)
    return Trained(answer, parameters, steps=0, minutes=minutes)


def ns_vqa_arguments(
    options: dict[str, Any], run: Run, recipe: Recipe, folders: Folders, folder: Path
) -> NSVQAArguments:
    """What `train_ns_vqa.py` is called with; CommandError for an option that it does not have."""
    content = yaml.safe_load((RECIPES / str(options.pop("recipe"))).read_text(encoding="utf-8"))
    own = {
        "dataset": str(folders.data),
        "output_dir": str(folder),
        "dataset_config": recipe.data.family,
        "max_train_scenes": run.train_scenes,
        "seed": run.seed,
    }
    try:
        (arguments,) = HfArgumentParser(NSVQAArguments).parse_dict({**content, **own, **options})  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise CommandError(f"the options of arm {run.group!r} are not those of train_ns_vqa: {error}") from error
    return arguments


def _answer(
    model: NSVQA, recipe: Recipe, folders: Folders, masks: str, attributes: str, score_threshold: float
) -> Callable[[str], list[str]]:
    settings = Namespace(
        batch_size=recipe.eval_batch_size, device="cpu", score_threshold=score_threshold, attributes=attributes
    )

    def answer(split: str) -> list[str]:
        rows = load_rows(recipe.data, folders.data, split)
        return predict_programs(model, instance_scenes(rows, model.image_size, masks == "true", split), settings)

    return answer
