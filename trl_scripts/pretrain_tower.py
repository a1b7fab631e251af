"""Pre-train the scene tower on the builder's ground truth (centres, attributes, positions); it is frozen afterwards.

```bash
python trl_scripts/pretrain_tower.py --config trl_scripts/recipes/tower_clevr.yaml \
    --dataset DATA --output_dir OUT
```
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from datasets import load_dataset
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint
from trl import TrlParser

from modeling_igllm.configuration_igllm import SceneTowerConfig
from modeling_igllm.image_processing_igllm import IGLLMImageProcessor
from modeling_igllm.pretraining_scene_tower import SceneTowerForPreTraining
from trl_scripts.image_augmentation import PhotometricAugmentation
from trl_scripts.tower_dataset import TowerCollator, TowerDataset
from trl_scripts.tower_scores import score_tower


@dataclass
class TowerArguments:
    """What the tower is and learns from.

    `dataset` is a folder or Hub repository made by `igllm build`; `max_train_scenes` takes the first ones only.
    """

    dataset: str = field(metadata={"help": "Folder or Hub repository of built scenes."})
    dataset_config: str = "clevr"
    train_split: str = "train"
    eval_split: str = "val_id"
    max_train_scenes: int | None = None
    image_height: int = 120
    image_width: int = 160
    color_supervision: str = "name"
    augment: bool = True


def main() -> None:
    """Parse the arguments, train (resuming from the last checkpoint in the output folder) and print the scores."""
    parser = TrlParser((TowerArguments, TrainingArguments))  # type: ignore[arg-type]  # TRL's own scripts pass classes, too
    arguments, training_arguments = parser.parse_args_and_config()
    config = SceneTowerConfig(
        image_size=[arguments.image_height, arguments.image_width], color_supervision=arguments.color_supervision
    )
    image_processor = IGLLMImageProcessor(size={"height": arguments.image_height, "width": arguments.image_width})
    train_rows, eval_rows = (
        load_dataset(arguments.dataset, arguments.dataset_config, split=split)
        for split in (arguments.train_split, arguments.eval_split)
    )
    if arguments.max_train_scenes is not None:
        train_rows = train_rows.select(range(arguments.max_train_scenes))
    model = SceneTowerForPreTraining(config)
    trainer = Trainer(
        model=model,
        args=training_arguments,
        train_dataset=TowerDataset(train_rows, config, image_processor),
        data_collator=TowerCollator(image_processor, PhotometricAugmentation() if arguments.augment else None),
    )
    output = Path(training_arguments.output_dir)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(output)) if output.is_dir() else None)
    trainer.save_model()
    trainer.save_state()
    image_processor.save_pretrained(output)
    scores = score_tower(model, TowerDataset(eval_rows, config, image_processor), image_processor)
    (output / "tower_scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()
