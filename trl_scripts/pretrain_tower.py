"""Pre-train the scene tower on the builder's ground truth (centres, attributes, poses); it is frozen afterwards.

```bash
python trl_scripts/pretrain_tower.py --config trl_scripts/recipes/tower_clevr.yaml \
    --dataset DATA --output_dir OUT
```

Run again, it goes on from the last checkpoint in its output folder, with the same arguments: only how long it trains
(`--minutes`, `--num_train_epochs`, `--max_steps`) and what it is scored on may be others. `--minutes` limits training
by the clock. With a build's `--ground-truth` the tower learns silhouettes and depth, too. `--tower` begins with the
weights of another run instead of random ones: more scenes, or a longer schedule, after the first.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset
from transformers import TrainingArguments, set_seed
from trl import TrlParser

from modeling_igllm.image_processing_igllm import IGLLMImageProcessor
from trl_scripts.begun_run import check_begun_with, note_arguments, rows_digest, trainer_settings
from trl_scripts.errors import CommandError, one_line
from trl_scripts.image_augmentation import family_augmentation
from trl_scripts.mirrored_rows import with_mirrored
from trl_scripts.option_ranges import AT_LEAST_ONE, DECAY, POSITIVE, check_ranges
from trl_scripts.run_clock import RunClock
from trl_scripts.tiny_model import TOWER_FIELDS
from trl_scripts.tower_dataset import TowerCollator, TowerDataset, check_shapes, load_tower_rows, scene_shapes
from trl_scripts.tower_pretraining import SceneTowerForPreTraining, TowerPreTrainingConfig
from trl_scripts.tower_scores import score_tower
from trl_scripts.tower_trainer import TowerTrainer
from trl_scripts.whole_checkpoints import last_whole_checkpoint, make_output_folder, one_line_if_unwritable

# With a budget of minutes, more epochs than any budget holds.
MANY_EPOCHS = 1_000_000
ARGUMENTS_FILE = "tower_arguments.json"
"""In the output folder: what the training was begun with."""

_RANGES = {
    "image_height": AT_LEAST_ONE,
    "image_width": AT_LEAST_ONE,
    "regression_beta": POSITIVE,
    "rgb_unit": POSITIVE,
    "minutes": POSITIVE,
    "ema_decay": DECAY,
}
# What the weights of a tower are for.
_OF_WEIGHTS = (*TOWER_FIELDS, "shapes", "rgb_unit")
# Where the scenes are, how long to train and what to score: of no weight that is there already.
_CHANGEABLE = {"dataset", "minutes", "eval_dataset", "eval_config", "eval_splits"}


@dataclass
class TowerArguments:
    """What the tower is and learns from.

    `dataset` is a folder or Hub repository made by `igllm build`, `tower` the output folder of the run to begin with;
    `max_train_scenes` takes the first ones only, `mirror` adds the mirror image of each (CLEVR's families). The scores
    are of `eval_splits` of `eval_dataset` and `eval_config`, by default those that are learned from.
    `color_supervision` is "name" (palette names and RGB) or "rgb". `regression_beta` and `rgb_unit` are those of
    `TowerPreTrainingConfig`, `minutes` and `ema_decay` are those of `TowerTrainer`.
    """

    dataset: str = field(metadata={"help": "Folder or Hub repository of built scenes."})
    tower: str | None = None
    dataset_config: str = "clevr"
    train_split: str = "train"
    eval_dataset: str | None = None
    eval_config: str | None = None
    eval_splits: list[str] = field(default_factory=lambda: ["val_id"])
    max_train_scenes: int | None = None
    mirror: bool = False
    image_height: int = 120
    image_width: int = 160
    color_supervision: Literal["name", "rgb"] = "name"
    regression_beta: float = 1.0
    rgb_unit: float = 1.0
    augment: bool = True
    minutes: float | None = None
    ema_decay: float = 0.999


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse the arguments, train and print the scores; returns the exit code: 0, or 2 after one line on the error."""
    parser = TrlParser((TowerArguments, TrainingArguments))  # type: ignore[arg-type]  # TRL's own scripts pass classes, too
    arguments, training_arguments = parser.parse_args_and_config(command_line)
    try:
        scores = train(arguments, training_arguments)
    except CommandError as error:
        bar_end = "" if training_arguments.disable_tqdm else "\n"
        print(f"{bar_end}pretrain_tower.py: {error}", file=sys.stderr)
        return 2
    print(json.dumps(scores, indent=2))
    return 0


def train(arguments: TowerArguments, training_arguments: TrainingArguments) -> dict[str, float]:
    """Train, save and score.

    Training goes on from `resume_from_checkpoint`, or else from the last whole checkpoint in the output folder, whose
    arguments must be these.

    Raises:
        CommandError: if there are two limits, an argument is out of range or other than at the beginning, a split
            cannot be loaded or has a shape that is not learned, the loss is NaN or the disk full.
    """
    check_ranges(asdict(arguments), _RANGES)
    if arguments.minutes is not None:
        if training_arguments.max_steps > 0:
            raise CommandError("--minutes and --max_steps both limit the training: leave out one of them")
        training_arguments.num_train_epochs, training_arguments.max_steps = MANY_EPOCHS, -1
        training_arguments.disable_tqdm = True  # of a million epochs; the log says the minutes
    training_arguments.remove_unused_columns = False  # the collator needs them all
    set_seed(training_arguments.seed)  # the weights are drawn before there is a trainer
    rows = load_tower_rows(
        arguments.dataset, arguments.dataset_config, arguments.train_split, arguments.max_train_scenes
    )
    # Before the training: hours later would be late to hear that a split is not there.
    eval_source = (arguments.eval_dataset or arguments.dataset, arguments.eval_config or arguments.dataset_config)
    eval_rows = {split: load_tower_rows(*eval_source, split) for split in arguments.eval_splits}
    shapes = scene_shapes(rows)
    for split, part in eval_rows.items():
        check_shapes(part, shapes, f"split {split!r} of {eval_source[0]!r}")
    output = Path(str(training_arguments.output_dir))
    last = training_arguments.resume_from_checkpoint or last_whole_checkpoint(output)
    model = _begin_model(arguments, shapes, None if last else arguments.tower)
    make_output_folder(output)
    _check_and_note(arguments, training_arguments, rows, last)
    if arguments.mirror:
        rows = with_mirrored(rows)
    size = {"height": arguments.image_height, "width": arguments.image_width}
    image_processor = IGLLMImageProcessor(size=size)
    trainer = _make_trainer(arguments, training_arguments, model, rows, image_processor)
    trainer.train(resume_from_checkpoint=last)
    with one_line_if_unwritable(output):
        trainer.averaged_model.save_pretrained(output)
        trainer.save_state()
        image_processor.save_pretrained(output)
    scores = {
        f"{split}/{name}": value
        for split, part in eval_rows.items()
        for name, value in _score(trainer.averaged_model, part, image_processor).items()
    }
    with one_line_if_unwritable(output):
        (output / "tower_scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    return scores


def _check_and_note(
    arguments: TowerArguments, training_arguments: TrainingArguments, rows: Dataset, last: str | None
) -> None:
    """Compare the arguments with those of the run that `last` is of, if it goes on from there, and write them."""
    used: dict[str, Any] = {**asdict(arguments), **trainer_settings(training_arguments)}
    used |= {"train_scenes": len(rows), "train_rows_sha256": rows_digest(rows, "scene")}
    if last is not None:
        check_begun_with(Path(last).parent / ARGUMENTS_FILE, used, _CHANGEABLE, ("tower",))
    output = Path(str(training_arguments.output_dir))
    with one_line_if_unwritable(output):
        note_arguments(output / ARGUMENTS_FILE, used)


def _begin_model(arguments: TowerArguments, shapes: Sequence[str], tower: str | None) -> SceneTowerForPreTraining:
    """A new tower, or one with the weights of the run that left the folder `tower`."""
    config = TowerPreTrainingConfig(
        image_size=[arguments.image_height, arguments.image_width],
        color_supervision=arguments.color_supervision,
        shapes=tuple(shapes),
        regression_beta=arguments.regression_beta,
        rgb_unit=arguments.rgb_unit,
    )
    model = SceneTowerForPreTraining(config)
    if tower is None:
        return model
    try:
        begun = SceneTowerForPreTraining.from_pretrained(tower)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"cannot begin with {tower!r}: {one_line(error)} (--tower: output of pretrain_tower.py)"
        ) from error
    were, are = (json.loads(one.to_json_string(use_diff=False)) for one in (begun.config, config))
    for name in _OF_WEIGHTS:
        if were[name] != are[name]:
            raise CommandError(
                f"{tower} was trained with {name}={were[name]}, not {are[name]}: begin with another --tower"
            )
    model.load_state_dict(begun.state_dict())
    return model


def _make_trainer(
    arguments: TowerArguments,
    training_arguments: TrainingArguments,
    model: SceneTowerForPreTraining,
    rows: Dataset,
    image_processor: IGLLMImageProcessor,
) -> TowerTrainer:
    config = model.config
    augmentation = family_augmentation(arguments.dataset_config, image_processor.image_mean)
    return TowerTrainer(
        model=model,
        args=training_arguments,
        train_dataset=TowerDataset(rows, config, image_processor, config.shapes),
        data_collator=TowerCollator(
            config, image_processor, augmentation if arguments.augment else None, training_arguments.seed
        ),
        minutes=arguments.minutes,
        ema_decay=arguments.ema_decay,
        callbacks=[RunClock()],
    )


def _score(model: SceneTowerForPreTraining, rows: Dataset, image_processor: IGLLMImageProcessor) -> dict[str, float]:
    return score_tower(model, TowerDataset(rows, model.config, image_processor, model.config.shapes), image_processor)


if __name__ == "__main__":
    sys.exit(main())
