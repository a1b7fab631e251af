"""Train IG-LLM on built scenes with TRL's `SFTTrainer`.

```bash
python trl_scripts/sft.py --config trl_scripts/recipes/clevr_tiny.yaml \
    --dataset DATA --tower TOWER --output_dir OUT
```

Start from `--tower` (a folder of `pretrain_tower.py`; the language model begins untrained) or, to fine-tune, from
`--model_name_or_path` (a checkpoint of this project, a folder or a Hub repository).
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from datasets import Dataset, load_dataset
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, TrlParser

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor
from trl_scripts.feature_cache import cache_features
from trl_scripts.image_augmentation import PhotometricAugmentation
from trl_scripts.scene_collator import SceneCollator
from trl_scripts.scene_trainer import SceneSFTTrainer
from trl_scripts.tiny_model import NumberHead, build_tiny_model


@dataclass
class SceneArguments:
    """What is trained on what.

    `feature_cache` is a folder for the frozen tower's features (computed once; `feature_copies` differently augmented
    versions of every image); without it images go through the tower in every step.
    """

    dataset: str = field(metadata={"help": "Folder or Hub repository of built scenes."})
    tower: str | None = None
    model_name_or_path: str | None = None
    model_revision: str | None = None
    dataset_config: str = "clevr"
    train_split: str = "train"
    eval_split: str = "val_id"
    max_train_scenes: int | None = None
    max_eval_scenes: int | None = 200
    number_head: NumberHead = "tanh_mlp_gelu"
    feature_cache: str | None = None
    feature_copies: int = 1
    shuffle_attributes: bool = False
    sample_synonyms: bool = False


def main() -> None:
    """Parse the arguments, train (resuming from the last checkpoint in the output folder) and save."""
    parser = TrlParser((SceneArguments, SFTConfig))  # type: ignore[arg-type]  # TRL's own scripts pass classes, too
    arguments, training_arguments = parser.parse_args_and_config()
    model, processor = _load_model(arguments)
    model.model.vision_tower.requires_grad_(False)
    train_rows = _load_rows(arguments, arguments.train_split, arguments.max_train_scenes)
    eval_rows = _load_rows(arguments, arguments.eval_split, arguments.max_eval_scenes)
    features = None
    if arguments.feature_cache is not None:
        augmentation = PhotometricAugmentation() if arguments.feature_copies > 1 else None
        folder = Path(arguments.feature_cache)
        features = cache_features(train_rows, model, processor, folder, arguments.feature_copies, augmentation)
        # Features take the place of images; each row keeps the number under which its features are stored.
        train_rows = train_rows.remove_columns("image")
    trainer = SceneSFTTrainer(
        model=model,
        args=training_arguments,
        train_dataset=train_rows,
        eval_dataset=eval_rows,
        processing_class=processor,
        data_collator=SceneCollator(
            processor, features, arguments.shuffle_attributes, arguments.sample_synonyms, training_arguments.seed
        ),
    )
    output = Path(training_arguments.output_dir)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(output)) if output.is_dir() else None)
    trainer.save_model()
    trainer.save_state()
    used = {**asdict(arguments), "train_scenes": len(train_rows)}
    (output / "scene_arguments.json").write_text(json.dumps(used, indent=2) + "\n")


def _load_model(arguments: SceneArguments) -> tuple[IGLLMForSceneProgram, IGLLMProcessor]:
    tower, source, revision = arguments.tower, arguments.model_name_or_path, arguments.model_revision or "main"
    if (tower is None) == (source is None):
        raise ValueError(f"give either --tower or --model_name_or_path, got {tower!r} and {source!r}")
    if tower is not None:
        return build_tiny_model(tower, arguments.number_head)
    assert source is not None  # exactly one of the two is given
    model = IGLLMForSceneProgram.from_pretrained(source, revision=revision)
    return model, IGLLMProcessor.from_pretrained(source, revision=revision)


def _load_rows(arguments: SceneArguments, split: str, limit: int | None) -> Dataset:
    rows = load_dataset(arguments.dataset, arguments.dataset_config, split=split)
    rows = rows.select(range(min(limit or len(rows), len(rows)))).remove_columns("scene")
    return rows.add_column("index", list(range(len(rows))))


if __name__ == "__main__":
    main()
