"""A recipe in its smallest form: everything that it does once, on a handful of scenes."""

from dataclasses import replace
from typing import Any

from .recipe import DataPlan, Recipe, TowerPlan

_TRAIN_SCENES = 8
_EVAL_SCENES = 4
_TRAINING = {
    "max_steps": 4,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "warmup_steps": 1,
    "logging_steps": 1,
    "save_steps": 2,
    "feature_copies": 1,
}
_BASELINE = {"minutes": 0.02, "segmentation_batch_size": 2, "attribute_batch_size": 2}
_TOWER = {"minutes": 0.02, "per_device_train_batch_size": 2, "warmup_steps": 1}


def make_smoke(recipe: Recipe) -> Recipe:
    """The same arms with one seed, four steps and few scenes: it shows that everything runs, and no more."""
    sizes = [_TRAIN_SCENES // 2, _TRAIN_SCENES][: len(recipe.train_sizes)]
    curve, gallery = recipe.curve, recipe.gallery
    return replace(
        recipe,
        title=f"{recipe.title} (smoke test: its figures mean nothing)",
        data=_few_scenes(recipe.data),
        towers={name: _short_tower(plan) for name, plan in recipe.towers.items()},
        training={**recipe.training, **_TRAINING},
        seeds=recipe.seeds[:1],
        train_sizes=sizes,
        curve=curve and replace(curve, every=2, scenes=_EVAL_SCENES),
        gallery=gallery and replace(gallery, scenes=2),
        arms={name: _one_seed(options, recipe) for name, options in recipe.arms.items()},
        claims=[],  # nothing can be read off such figures
    )


def _one_seed(options: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    own = {**options, **{name: _TRAINING[name] for name in options if name in _TRAINING}, "seeds": recipe.seeds[:1]}
    if "ns_vqa" in options:
        own["ns_vqa"] = {**options["ns_vqa"], **_BASELINE}
    return own


def _few_scenes(plan: DataPlan) -> DataPlan:
    splits = {split: _TRAIN_SCENES if split == "train" else _EVAL_SCENES for split in plan.splits}
    return replace(plan, splits=splits, samples=1)


def _short_tower(plan: TowerPlan) -> TowerPlan:
    if plan.recipe is None:
        return plan
    return replace(plan, options={**plan.options, **_TOWER}, data=plan.data and _few_scenes(plan.data))
