"""Do the parts of a recipe fit together? What does not is refused here, before hours of rendering and training."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .recipe import Claim, Recipe

PLOTS = ("curve", "scatter", "sizes", "distance", "confusion", "bars")
ANSWERING = ("masks", "attributes", "score_threshold")
"""Options of an NS-VQA arm that say how its nets are asked; all others are of their training."""

_SET_BY_THE_EXPERIMENT = {
    "dataset",
    "dataset_config",
    "eval_split",
    "output_dir",
    "max_train_scenes",
    "seed",
    "feature_cache",
}
# What `scoring.plot_details` keeps of a family decides which of these can be drawn of it.
_FAMILIES = {
    "scatter": ("two_d",),
    "confusion": ("clevr", "clevr_cogent"),
    "distance": ("so3", "six_dof"),
}
_WITHOUT_DETAILS = ("shapenet",)
_WORDS = {"masks": ("predicted", "true"), "attributes": ("composite", "own")}


class RecipeError(Exception):
    """A place in a recipe and what is wrong there."""


def check_recipe(recipe: "Recipe") -> None:
    """See that the parts of a recipe fit together.

    Raises:
        RecipeError: with the place that does not.
    """
    if not recipe.arms or not recipe.seeds:
        raise RecipeError("arms and seeds must not be empty: there would be nothing to run")
    if not recipe.splits or not recipe.scores:
        raise RecipeError("splits and scores must not be empty: there would be nothing to measure")
    _check_counts(recipe)
    _check_splits(recipe)
    for name, plan in recipe.towers.items():
        if (plan.checkpoint is None) == (plan.recipe is None):
            raise RecipeError(f"towers.{name} needs either checkpoint or recipe")
    _check_free("training", recipe.training)
    for name, options in recipe.arms.items():
        _check_arm(f"arms.{name}", options, recipe)
    _check_shared_training(recipe)
    for size in recipe.train_sizes:
        if not 0 < size <= recipe.data.splits["train"]:
            raise RecipeError(f"train_sizes has {size}: data.splits.train is {recipe.data.splits['train']}")
    for index, claim in enumerate(recipe.claims):
        _check_claim(f"claims[{index}]", claim, recipe)
    _check_plots(recipe)


def _check_counts(recipe: "Recipe") -> None:
    counts: dict[str, Any] = {"eval_batch_size": recipe.eval_batch_size}
    if recipe.curve is not None:
        counts |= {"curve.every": recipe.curve.every, "curve.scenes": recipe.curve.scenes}
    if recipe.gallery is not None:
        counts["gallery.scenes"] = recipe.gallery.scenes
    towers = {f"towers.{name}.data": plan.data for name, plan in recipe.towers.items() if plan.data is not None}
    for place, data in {"data": recipe.data, **towers}.items():
        if not isinstance(data.splits, Mapping):
            raise RecipeError(f"{place}.splits must be a mapping of splits to numbers of scenes, got {data.splits!r}")
        counts[f"{place}.samples"] = data.samples
        counts |= {f"{place}.splits.{split}": scenes for split, scenes in data.splits.items()}
    for place, count in counts.items():
        if type(count) is not int or count < 1:  # a bool is an int, too
            raise RecipeError(f"{place} must be a whole number of 1 or more, got {count!r}")


def _check_splits(recipe: "Recipe") -> None:
    built, scored = list(recipe.data.splits), recipe.splits
    named = [("splits", scored, "data.splits", built)]
    if recipe.curve is not None:
        named.append(("curve", recipe.curve.splits, "data.splits", built))
    if recipe.position_probe is not None:
        named.append(("position_probe", [recipe.position_probe], "data.splits", built))
    # What is read off the models' scores and answers: of no other split are there any.
    if recipe.gallery is not None:
        named.append(("gallery", recipe.gallery.splits, "splits", scored))
    for index, claim in enumerate(recipe.claims):
        named.append((f"claims[{index}]", [claim.split, claim.worse_split or claim.split], "splits", scored))
    for place, splits, source, known in named:
        for split in splits:
            if split not in known:
                raise RecipeError(f"{place} names the split {split!r}: {source} has {', '.join(known)}")
    if "train" not in built:
        raise RecipeError(f"data.splits lacks the split 'train': it has {', '.join(built)}")


def _check_free(place: str, options: Mapping[str, Any]) -> None:
    for name in sorted(_SET_BY_THE_EXPERIMENT & options.keys()):
        raise RecipeError(f"{place} has {name!r}, which the experiment sets itself, by its data, sizes and seeds")


def _check_arm(place: str, options: Mapping[str, Any], recipe: "Recipe") -> None:
    tower = options.get("tower")
    if tower is not None and tower not in recipe.towers:
        raise RecipeError(f"{place} names the tower {tower!r}: towers has {', '.join(recipe.towers) or 'none'}")
    _check_free(place, options)
    if "ns_vqa" not in options:
        return
    others = sorted(options.keys() - {"ns_vqa", "seeds"})
    if others:
        raise RecipeError(
            f"{place} has {others[0]!r} beside ns_vqa, which knows no such option: put its own into ns_vqa"
        )
    baseline = options["ns_vqa"]
    if not isinstance(baseline, Mapping) or not {"recipe", "masks", "attributes"} <= baseline.keys():
        raise RecipeError(f"{place}.ns_vqa needs recipe, masks and attributes, got {baseline!r}")
    _check_free(f"{place}.ns_vqa", baseline)
    for name, words in _WORDS.items():
        if baseline[name] not in words:
            quoted = " or ".join(f'"{word}"' for word in words)  # in YAML, a bare true is no word
            raise RecipeError(f"{place}.ns_vqa.{name} must be {quoted}, got {baseline[name]!r}")
    threshold = baseline.get("score_threshold", 0.9)
    if not isinstance(threshold, float) or not 0 <= threshold < 1:
        raise RecipeError(f"{place}.ns_vqa.score_threshold must be a number from 0.0 to below 1, got {threshold!r}")


def _check_shared_training(recipe: "Recipe") -> None:
    """All NS-VQA arms of a seed and size ask one pair of nets: what these are trained with must be the same."""
    trainings = {
        name: {option: value for option, value in options["ns_vqa"].items() if option not in ANSWERING}
        for name, options in recipe.arms.items()
        if "ns_vqa" in options
    }
    for name, training in trainings.items():
        first_name, first = next(iter(trainings.items()))
        for option in sorted(first.keys() | training.keys()):
            if first.get(option) != training.get(option):
                raise RecipeError(
                    f"arms.{name}.ns_vqa has {option}={training.get(option)!r}, arms.{first_name}.ns_vqa "
                    f"{first.get(option)!r}: NS-VQA arms share one training, put the other into a recipe of its own"
                )


def _check_claim(place: str, claim: "Claim", recipe: "Recipe") -> None:
    for arm in (claim.better, claim.worse):
        if arm not in recipe.arms:
            raise RecipeError(f"{place} names the arm {arm!r}: arms has {', '.join(recipe.arms)}")
    sizes = recipe.train_sizes or [recipe.data.splits["train"]]
    if claim.train_scenes is None and (len(sizes) > 1 or claim.gap_closes_from is not None):
        raise RecipeError(f"{place} needs train_scenes, one of {', '.join(map(str, sizes))}: which is compared?")
    for name, size in (("train_scenes", claim.train_scenes), ("gap_closes_from", claim.gap_closes_from)):
        if size is not None and size not in sizes:
            raise RecipeError(f"{place}.{name} is {size}: no arm is run with other than {', '.join(map(str, sizes))}")


def _check_plots(recipe: "Recipe") -> None:
    needs = {
        "curve": ("curve", recipe.curve is not None),
        "sizes": ("train_sizes", bool(recipe.train_sizes)),
        "scatter": ("val_ood among splits", "val_ood" in recipe.splits),
    }
    for plot in recipe.plots:
        if plot not in PLOTS:
            raise RecipeError(f"plots names {plot!r}: choose from {', '.join(PLOTS)}")
        what, is_there = needs.get(plot, ("", True))
        if not is_there:
            raise RecipeError(f"plots names {plot!r}, which needs {what}")
        _check_plot_of(recipe.data.family, plot)


def _check_plot_of(family: str, plot: str) -> None:
    """Refuse what none can draw of this family; an installed package's families are its own affair."""
    known = {*_WITHOUT_DETAILS, *(name for names in _FAMILIES.values() for name in names)}
    if plot in _FAMILIES and family in known and family not in _FAMILIES[plot]:
        raise RecipeError(
            f"plots names {plot!r}, which cannot be drawn of the family {family!r}: only of "
            f"{' and '.join(_FAMILIES[plot])}"
        )
