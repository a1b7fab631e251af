"""A run of the NS-VQA baseline: one training, answers with predicted or true masks, composite or own attributes."""

from collections.abc import Callable, Mapping
from typing import Any

from transformers import HfArgumentParser

from ..baselines.evaluate_ns_vqa import predict_programs
from ..baselines.instance_decoding import SCORE_THRESHOLD
from ..baselines.instance_scenes import instance_scenes
from ..baselines.ns_vqa import ATTRIBUTE_FOLDER, NSVQA, SEGMENTATION_FOLDER
from ..baselines.timed_training import is_finished, training_seconds
from ..baselines.train_ns_vqa import NSVQAArguments, check_arguments, train
from ..errors import CommandError
from .data import load_rows
from .plan import Folders, Run
from .recipe import Recipe, read_options
from .recipe_checks import ANSWERING
from .trained import Trained


def train_ns_vqa(run: Run, recipe: Recipe, folders: Folders) -> Trained:
    """Train both nets in the folder that the arms of this seed and size share, unless they are there.

    The minutes are those of both nets' training, whatever call and kill they were spent in; an arm that finds the nets
    finished has none.
    """
    folder = folders.runs / run.training_name
    nets = [folder / SEGMENTATION_FOLDER, folder / ATTRIBUTE_FOLDER]
    are_finished = all(map(is_finished, nets))
    train(ns_vqa_arguments(run, recipe, folders))
    minutes = 0.0 if are_finished else sum(training_seconds(net) for net in nets) / 60
    model = NSVQA.load(folder)
    parameters = sum(net.num_parameters() for net in (model.segmentation, model.attributes))
    return Trained(_answer(model, run.ns_vqa or {}, recipe, folders), parameters, steps=0, minutes=minutes)


def ns_vqa_arguments(run: Run, recipe: Recipe, folders: Folders) -> NSVQAArguments:
    """What `train_ns_vqa.py` is called with.

    Raises:
        CommandError: for an option that it does not have, a value that it refuses, or a file of options that is not
            there.
    """
    options = {name: value for name, value in (run.ns_vqa or {}).items() if name not in ANSWERING}
    content = read_options(options.pop("recipe"), f"arms.{run.group}.ns_vqa.recipe")
    report_to = recipe.training.get("report_to", "none")
    own = {
        "dataset": str(folders.data),
        "output_dir": str(folders.runs / run.training_name),
        "dataset_config": recipe.data.family,
        "max_train_scenes": run.train_scenes,
        "seed": run.seed,
        "report_to": None if report_to == "none" else report_to,  # transformers' word for it
    }
    try:
        (arguments,) = HfArgumentParser(NSVQAArguments).parse_dict({**content, **own, **options})  # type: ignore[arg-type]
        check_arguments(arguments)
    except (CommandError, TypeError, ValueError) as error:
        raise CommandError(f"the options of arm {run.group!r} are not those of train_ns_vqa: {error}") from error
    return arguments


def _answer(model: NSVQA, options: Mapping[str, Any], recipe: Recipe, folders: Folders) -> Callable[[str], list[str]]:
    """The answers as `ANSWERING` in the arm's options says."""
    has_true_masks = options["masks"] == "true"
    threshold = options.get("score_threshold", SCORE_THRESHOLD)

    def answer(split: str) -> list[str]:
        rows = load_rows(recipe.data, folders.data, split)
        scenes = instance_scenes(rows, model.image_size, has_true_masks, split)
        return predict_programs(model, scenes, options["attributes"], threshold, recipe.eval_batch_size)

    return answer
