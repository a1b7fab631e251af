"""Which runs a recipe asks for, and the options of `sft.py` of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser
from trl import ModelConfig, SFTConfig

from ..errors import CommandError
from ..sft import ARGUMENT_CLASSES
from ..sft_arguments import SceneArguments
from .recipe import Recipe, read_options

Arguments = tuple[SceneArguments, SFTConfig, ModelConfig]


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        group: name of its arm in the recipe.
        train_scenes: how many of the training split it learns from.
        settings: options of `sft.py`, without folders; or `ns_vqa`, those of the baseline.
        tower: name of its tower; None for an arm that begins with a whole model, or without one.
    """

    group: str
    train_scenes: int
    seed: int
    settings: dict[str, Any]
    tower: str | None

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.group}-{self.train_scenes}-seed{self.seed}"

    @property
    def ns_vqa(self) -> dict[str, Any] | None:
        """Options of the baseline, `ANSWERING` beside those of `train_ns_vqa.py`; None for `sft.py`."""
        return self.settings.get("ns_vqa")

    @property
    def training_name(self) -> str:
        """The same for runs that share a training, which must not run side by side."""
        return self.name if self.ns_vqa is None else f"ns_vqa-{self.train_scenes}-seed{self.seed}"


@dataclass(frozen=True)
class Folders:
    """Where an experiment keeps what.

    Args:
        data: dataset folder, of one or several families.
        out: the --out of the command: `features` and `towers` are shared by the experiments in it.
        experiment: name of the experiment, and of its folder in `out`.
    """

    data: Path
    out: Path
    experiment: str

    @property
    def features(self) -> Path:
        """The cached features of all towers."""
        return self.out / "features"

    @property
    def towers(self) -> Path:
        """One folder for each tower."""
        return self.out / "towers"

    @property
    def runs(self) -> Path:
        """One folder for each run."""
        return self.out / self.experiment / "runs"


def plan_runs(recipe: Recipe) -> list[Run]:
    """All runs of a recipe, first those of the first seed."""
    shared = _shared_settings(recipe)
    sizes = recipe.train_sizes or [recipe.data.splits["train"]]
    seeds = sorted({seed for options in recipe.arms.values() for seed in options.get("seeds", recipe.seeds)})
    return [
        Run(
            group=group,
            train_scenes=size,
            seed=seed,
            settings=_settings(shared, options),
            tower=options.get("tower"),
        )
        for seed in seeds
        for size in sizes
        for group, options in recipe.arms.items()
        if seed in options.get("seeds", recipe.seeds)
    ]


def choose_runs(runs: Sequence[Run], arms: Sequence[str] | None, seeds: Sequence[int] | None) -> list[Run]:
    """Those of the given arms and seeds; of all when None.

    Raises:
        CommandError: for an arm or seed that no run has, or for arms that have other seeds than these.
    """
    for title, wanted, known in (
        ("arm", arms, {run.group for run in runs}),
        ("seed", seeds, {run.seed for run in runs}),
    ):
        for value in wanted or ():
            if value not in known:
                raise CommandError(f"the recipe has no {title} {value!r}: choose from {sorted(known)}")
    of_arms = [run for run in runs if not arms or run.group in arms]
    chosen = [run for run in of_arms if not seeds or run.seed in seeds]
    if not chosen:
        own_seeds = {arm: sorted({run.seed for run in of_arms if run.group == arm}) for arm in arms or ()}
        found = ", ".join(f"{arm} has {of_arm}" for arm, of_arm in own_seeds.items())
        raise CommandError(f"no run has one of the seeds {list(seeds or ())} and one of these arms: {found}")
    return chosen


def sft_arguments(run: Run, recipe: Recipe, folders: Folders) -> Arguments:
    """What `sft.py` is called with.

    Raises:
        CommandError: for an option that it does not have, or a value that it refuses.
    """
    folder = folders.runs / run.name
    options = {
        **run.settings,
        "dataset": str(folders.data),
        "dataset_config": recipe.data.family,
        "eval_split": recipe.splits[0],
        "output_dir": str(folder / "model"),
        "max_train_scenes": run.train_scenes,
        "seed": run.seed,
    }
    if run.tower is not None:
        options["tower"] = str(folders.towers / run.tower)
        options["feature_cache"] = str(folders.features)
    try:
        parsed: Any = HfArgumentParser(ARGUMENT_CLASSES).parse_dict(options)  # type: ignore[arg-type]  # as in sft.py
        parsed[0].check()
    except (CommandError, TypeError, ValueError) as error:
        raise CommandError(f"the options of arm {run.group!r} are not those of sft.py: {error}") from error
    return parsed[0], parsed[1], parsed[2]


def _settings(shared: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in options.items() if name not in ("tower", "seeds")}
    return own if "ns_vqa" in own else {**shared, **own}


def _shared_settings(recipe: Recipe) -> dict[str, Any]:
    shared = dict(recipe.training)
    base = shared.pop("recipe", None)
    return shared if base is None else {**read_options(base, "training.recipe"), **shared}
