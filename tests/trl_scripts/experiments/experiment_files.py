"""A whole experiment of a few seconds: discs, a random tower, four steps."""

from pathlib import Path
from typing import Any

import tiny
import yaml

from dataset_builders.dataset_card import write_dataset_card
from dataset_builders.families import find_family
from dataset_builders.painters import PaintRequest
from dataset_builders.shards import SplitPlan, claim_folder, render_shard

SPLITS = {"train": 8, "val_id": 4, "val_ood": 4}
SIDE = 64


def recipe_content(checkpoint: Path) -> dict[str, Any]:
    """A recipe of two arms, whose tower is that of `checkpoint`."""
    return {
        "title": "Tiny",
        "about": "Four steps.",
        "data": {"family": "two_d", "splits": SPLITS, "resolution": f"{SIDE}x{SIDE}"},
        "towers": {"random": {"checkpoint": str(checkpoint), "size": f"{SIDE}x{SIDE}", "seen": "nothing at all"}},
        "training": {
            "recipe": "clevr_tiny.yaml",
            "feature_copies": 1,
            "max_steps": 4,
            "save_steps": 2,
            "logging_steps": 1,
            "warmup_steps": 1,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 1,
        },
        "arms": {
            "digits": {"tower": "random", "number_head": "none"},
            "head": {"tower": "random", "number_head": "tanh_mlp_gelu"},
        },
        "seeds": [0, 1],
        "splits": ["val_id", "val_ood"],
        "scores": ["mse", "mse_out"],
        "curve": {"every": 2, "scenes": 2, "splits": ["val_ood"], "scores": ["mse"]},
        "plots": ["curve", "scatter", "bars"],
        "gallery": {"splits": ["val_ood"], "scenes": 2},
        "position_probe": "val_ood",
        "claims": [
            {
                "text": "The head is better.",
                "source": "figure 5",
                "split": "val_id",
                "score": "mse",
                "better": "head",
                "worse": "digits",
            }
        ],
    }


def write_recipe(folder: Path, content: dict[str, Any]) -> Path:
    """The recipe as `tiny.yaml`."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def save_checkpoint(folder: Path) -> Path:
    """A random model whose tower the experiment takes."""
    processor = tiny.make_processor()
    tiny.make_model(processor).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_discs(folder: Path) -> Path:
    """What `igllm build` would make, drawn in this process: workers take seconds to start."""
    painter = find_family("two_d").make_painter(PaintRequest(SIDE, SIDE, 16))
    for split, scenes in SPLITS.items():
        plan = SplitPlan(folder, "two_d", split, scenes, seed=0, width=SIDE, height=SIDE, samples=16)
        claim_folder(plan)
        for shard in range(plan.num_shards):
            list(render_shard(plan, shard, painter))
    write_dataset_card(folder)
    return folder
