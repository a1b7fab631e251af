"""Train IG-LLM on built scenes with TRL's `SFTTrainer`.

```bash
python trl_scripts/sft.py --config trl_scripts/recipes/clevr_tiny.yaml \
    --dataset DATA --tower TOWER --output_dir OUT
```

Start from `--tower` (a folder of `pretrain_tower.py`; the language model begins untrained) or, to fine-tune, from
`--model_name_or_path` (a checkpoint of this project, a folder or a Hub repository; `assemble.py` makes one out of
pretrained backbones). TRL's model arguments apply: `--use_peft --lora_r 128` trains an adapter (lora.py), with
`--dtype bfloat16` or `--load_in_4bit` beside a smaller base.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from datasets import Dataset
from torch import nn
from transformers import TrainerCallback, set_seed
from trl import ModelConfig, SFTConfig, TrlParser

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor
from trl_scripts.errors import CommandError, one_line
from trl_scripts.fair_pairs import FairPairs
from trl_scripts.feature_cache import CachedFeatures, cache_features
from trl_scripts.fit_number_ranges import fit_number_ranges
from trl_scripts.hub_trainer import prepare_push
from trl_scripts.image_augmentation import family_augmentation
from trl_scripts.inference import load_checkpoint
from trl_scripts.lora import (
    check_tower_is_frozen,
    lora_config,
    quantization_config,
    write_grammar,
)
from trl_scripts.mirrored_rows import with_mirrored
from trl_scripts.recolored_rows import with_recolored
from trl_scripts.run_clock import RunClock
from trl_scripts.scene_collator import SceneCollator, answer_lengths, row_scenes
from trl_scripts.scene_rows import load_scene_rows
from trl_scripts.scene_trainer import SceneSFTTrainer
from trl_scripts.sft_arguments import SceneArguments, check_and_note, used_settings
from trl_scripts.tiny_model import build_tiny_model
from trl_scripts.training_card import read_origin
from trl_scripts.whole_checkpoints import last_whole_checkpoint, make_output_folder, one_line_if_unwritable

ARGUMENT_CLASSES = (SceneArguments, SFTConfig, ModelConfig)


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse the arguments and train; returns the exit code: 0, or 2 after one line on what cannot be gone on with."""
    parser = TrlParser(ARGUMENT_CLASSES)  # type: ignore[arg-type]  # TRL's own scripts pass classes, too
    arguments, training_arguments, model_arguments = parser.parse_args_and_config(command_line)
    try:
        if training_arguments.push_to_hub:
            prepare_push(training_arguments, model_arguments.use_peft)  # the trainer would find out hours later
        train(arguments, training_arguments, model_arguments, [RunClock()])
    except CommandError as error:
        bar_end = "" if training_arguments.disable_tqdm else "\n"
        print(f"{bar_end}sft.py: {error}", file=sys.stderr)
        return 2
    return 0


def train(
    arguments: SceneArguments,
    training_arguments: SFTConfig,
    model_arguments: ModelConfig,
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Train, save and, if asked for, push.

    Training goes on from `resume_from_checkpoint`, or else from the last whole checkpoint in the output folder, whose
    arguments must be these.

    Args:
        callbacks: of the trainer, beside its own.

    Raises:
        CommandError: if the dataset or the model is broken, arguments are out of range, contradict each other or are
            other than at the beginning, the loss is NaN, the disk full, or the Hub out of reach or refusing.
    """
    arguments.check()
    _leave_rows_to_collator(training_arguments)
    set_seed(training_arguments.seed)  # a new model's weights are drawn before there is a trainer
    train_rows = _load_train_rows(arguments, training_arguments.seed)
    eval_rows = _load_eval_rows(arguments, training_arguments)
    output = Path(str(training_arguments.output_dir))
    make_output_folder(output)
    model, processor = _load_model(arguments, model_arguments, train_rows)
    used = used_settings(arguments, model_arguments, model, processor, len(train_rows))
    last = training_arguments.resume_from_checkpoint or last_whole_checkpoint(output)
    check_and_note(used, train_rows, training_arguments, last)
    _prepare_model(model, processor, arguments, model_arguments, train_rows)
    fair_pairs = _fair_pairs(train_rows, model, processor) if arguments.fair_pairs else None
    train_rows, features = _what_is_read(arguments, training_arguments, train_rows, model, processor)
    origin = read_origin(used)
    trainer = SceneSFTTrainer(
        origin=origin,
        model=model,
        args=training_arguments,
        peft_config=lora_config(model, model_arguments, arguments.train_number_token, origin.base_commit),
        number_head_learning_rate=arguments.number_head_learning_rate,
        number_token_loss_weight=arguments.number_token_loss_weight,
        fair_pairs=fair_pairs,
        train_dataset=train_rows,
        eval_dataset=eval_rows,
        processing_class=processor,
        data_collator=_make_collator(arguments, training_arguments.seed, processor, features, fair_pairs),
        callbacks=list(callbacks),
    )
    if features is not None:
        check_tower_is_frozen(cast(nn.Module, trainer.model))
    trainer.train(resume_from_checkpoint=last)
    _save(trainer, model if model_arguments.use_peft else None)


def _save(trainer: SceneSFTTrainer, base: IGLLMForSceneProgram | None) -> None:
    """Save all that `train` leaves behind, and push it; `base` is what an adapter was trained on."""
    output = trainer.output_folder
    with one_line_if_unwritable(output):
        trainer.save_state()
        if base is not None:
            write_grammar(base, output)
        trainer.create_model_card()
        trainer.save_model()


def _load_model(
    arguments: SceneArguments, model_arguments: ModelConfig, train_rows: Dataset
) -> tuple[IGLLMForSceneProgram, IGLLMProcessor]:
    tower, source, revision = arguments.tower, model_arguments.model_name_or_path, model_arguments.model_revision
    if (tower is None) == (source is None):
        raise CommandError(f"give either --tower or --model_name_or_path, got {tower!r} and {source!r}")
    if tower is not None:
        return _new_model(arguments, tower, train_rows)
    assert source is not None  # exactly one of the two is given
    if arguments.scale_numbers or arguments.feed_numbers_back or arguments.rotation != "6d":
        raise CommandError(
            f"{source} has its own ways with numbers and rotations: leave out --scale_numbers, --feed_numbers_back "
            "and --rotation"
        )
    quantization = quantization_config(model_arguments)
    return load_checkpoint(source, revision, dtype=model_arguments.dtype, quantization_config=quantization)


def _new_model(
    arguments: SceneArguments, tower: str, train_rows: Dataset
) -> tuple[IGLLMForSceneProgram, IGLLMProcessor]:
    try:
        ranges = fit_number_ranges(row_scenes(train_rows), arguments.rotation) if arguments.scale_numbers else None
        return build_tiny_model(tower, arguments.number_head, ranges, arguments.feed_numbers_back, arguments.rotation)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"cannot build a model on the tower {tower!r}: {one_line(error)} (--tower: output of pretrain_tower.py)"
        ) from error


def _prepare_model(
    model: IGLLMForSceneProgram,
    processor: IGLLMProcessor,
    arguments: SceneArguments,
    model_arguments: ModelConfig,
    train_rows: Dataset,
) -> None:
    """Weights of the number loss, grammar of the training scenes, a frozen tower, and the way of attention.

    Raises:
        CommandError: for weights of the numeric head's loss where there is no such head.
    """
    weights = {"float_w": arguments.float_w, "rotation_w": arguments.rotation_w}
    for name, weight in weights.items():
        if weight is not None and model.config.number_head == "none":
            raise CommandError(f"--{name} {weight} is for a numeric head, but the model writes digits: leave it out")
    if arguments.float_w is not None:
        model.config.float_w = arguments.float_w
    if arguments.rotation_w is not None:
        model.config.rotation_w = arguments.rotation_w
    model.set_grammar(processor.make_grammar(row_scenes(train_rows)))
    model.model.vision_tower.requires_grad_(False)
    model.set_attn_implementation({"text_config": model_arguments.attn_implementation or "sdpa"})


def _leave_rows_to_collator(training_arguments: SFTConfig) -> None:
    """`SceneCollator` reads rows as they are, with all of their columns."""
    training_arguments.remove_unused_columns = False
    training_arguments.dataset_kwargs = {"skip_prepare_dataset": True}


def _fair_pairs(rows: Dataset, model: IGLLMForSceneProgram, processor: IGLLMProcessor) -> FairPairs:
    """Of what goes together in the rows as they were built: recoloured ones name any colour."""
    if "recolored" in rows.column_names:
        rows = rows.select([index for index, recolored in enumerate(rows["recolored"]) if not recolored])
    return FairPairs(row_scenes(rows), processor.tokenizer, model.config.text_config.vocab_size)


def _make_collator(
    arguments: SceneArguments,
    seed: int,
    processor: IGLLMProcessor,
    features: CachedFeatures | None,
    fair_pairs: FairPairs | None,
) -> SceneCollator:
    augmentation = (arguments.shuffle_attributes, arguments.sample_synonyms)
    return SceneCollator(processor, features, *augmentation, seed, fair_pairs)


def _what_is_read(
    arguments: SceneArguments,
    training_arguments: SFTConfig,
    rows: Dataset,
    model: IGLLMForSceneProgram,
    processor: IGLLMProcessor,
) -> tuple[Dataset, CachedFeatures | None]:
    """The rows, with the lengths that a sampler asks for; with a cache, features take the place of images."""
    if training_arguments.train_sampling_strategy in ("group_by_length", "batch_rebalance"):
        rows = rows.add_column(training_arguments.length_column_name, answer_lengths(rows, processor))
    if arguments.feature_cache is None:
        return rows, None
    features = _cache_features(arguments, training_arguments, rows, model, processor)
    return rows.remove_columns("image"), features  # each row keeps the number under which its features are stored


def _cache_features(
    arguments: SceneArguments,
    training_arguments: SFTConfig,
    rows: Dataset,
    model: IGLLMForSceneProgram,
    processor: IGLLMProcessor,
) -> CachedFeatures:
    copies = arguments.feature_copies
    image_mean = processor.image_processor.image_mean
    augmentation = family_augmentation(arguments.dataset_config, image_mean) if copies > 1 else None
    # Of several processes the first one computes, the others then find the files.
    with training_arguments.main_process_first(desc="tower features"):
        folder = Path(str(arguments.feature_cache))
        return cache_features(rows, model, processor, folder, copies, augmentation, training_arguments.device)


def _load_train_rows(arguments: SceneArguments, seed: int) -> Dataset:
    limit, recolor = arguments.max_train_scenes, arguments.recolor
    rows = load_scene_rows(arguments.dataset, arguments.dataset_config, arguments.train_split, limit, masks=recolor)
    rows = with_recolored(rows, seed) if recolor else rows
    return _with_index(with_mirrored(rows) if arguments.mirror else rows)


def _load_eval_rows(arguments: SceneArguments, training_arguments: SFTConfig) -> Dataset | None:
    """None where nothing looks at them."""
    if training_arguments.eval_strategy == "no" and not training_arguments.eval_on_start:
        return None
    limit = arguments.max_eval_scenes
    return _with_index(load_scene_rows(arguments.dataset, arguments.dataset_config, arguments.eval_split, limit))


def _with_index(rows: Dataset) -> Dataset:
    """With a column that says which row it is, whatever the order that a sampler draws."""
    return rows.add_column("index", list(range(len(rows))))


if __name__ == "__main__":
    sys.exit(main())
