"""The recipe of an experiment: a YAML file as checked, immutable data."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ..errors import CommandError
from .recipe_checks import RecipeError, check_recipe

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
_EXPERIMENTS = RECIPES / "experiments"
_PUBLISHED = "published"  # the folder of the published sizes, and the beginning of their names

T = TypeVar("T")


@dataclass(frozen=True)
class DataPlan:
    """What `igllm build` renders.

    Args:
        family: of `dataset_builders.families`.
        splits: split -> number of scenes, training split included.
        resolution: `WxH` in pixels; the family's own when None.
        samples, seed, ground_truth: as for `igllm build`.
    """

    family: str
    splits: dict[str, int]
    resolution: str | None = None
    samples: int = 16
    seed: int = 0
    ground_truth: bool = False


@dataclass(frozen=True)
class TowerPlan:
    """Where a frozen tower comes from: a checkpoint of this project, or a pre-training of its own.

    Args:
        checkpoint: folder, relative to the project's root, of a model whose tower is taken.
        size: `WxH` in pixels that the checkpoint's tower is to read; its own when None.
        recipe: file in `recipes/` for `pretrain_tower.py`.
        options: of `pretrain_tower.py`, over those of that file.
        data: what the pre-training learns from; the experiment's own data when None.
        seen: one sentence for the page on what the tower has seen.
    """

    seen: str
    checkpoint: str | None = None
    size: str | None = None
    recipe: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    data: DataPlan | None = None


@dataclass(frozen=True)
class Curve:
    """Scores in the course of training: of the first `scenes` of `splits`, every `every` steps."""

    every: int
    scenes: int
    splits: list[str]
    scores: list[str]


@dataclass(frozen=True)
class Claim:
    """A published claim and the comparison that would show it.

    Args:
        text: the claim in words; `source` says where it is published.
        split: of those where models are scored; `score`: what is compared, a key of the metric without `strict/`.
        better, worse: arms; the claim is that the first scores better.
        worse_split: of the second one, where it is another: `better` and `worse` may then be one arm.
        higher: whether more is better.
        train_scenes: of which training size; needed where a recipe has several.
        gap_closes_from: the claim is that the gap is smaller at `train_scenes` than at this size.
    """

    text: str
    source: str
    split: str
    score: str
    better: str
    worse: str
    worse_split: str | None = None
    higher: bool = False
    train_scenes: int | None = None
    gap_closes_from: int | None = None


@dataclass(frozen=True)
class Gallery:
    """Pictures of truth, prediction and error: the first `scenes` of each split."""

    splits: list[str]
    scenes: int = 5


@dataclass(frozen=True)
class Recipe:
    """An experiment.

    Args:
        title, about: for the page; `about` may hold Markdown.
        training: options of `sft.py` that all arms share; `recipe` in it is a file in `recipes/` they are put over.
        arms: name -> further options of `sft.py`; `tower` names one of `towers`, `seeds` are this arm's own. Or with
            `ns_vqa`: `masks` (predicted, true), `attributes` (composite, own), `recipe` and further options of
            `train_ns_vqa.py`, in which such arms must agree, since they share one training; `score_threshold` (0.9) is
            the least score of a detection.
        train_sizes: the arms are run with each of these numbers of training scenes; with all when empty.
        splits: where the trained models are scored.
        scores: columns of the tables, keys of the metric without `strict/`.
        plots: of `recipe_checks.PLOTS`.
        unreported: claims of the paper that cannot be set beside a figure here, each with the reason.
    """

    title: str
    about: str
    data: DataPlan
    training: dict[str, Any]
    arms: dict[str, dict[str, Any]]
    seeds: list[int]
    splits: list[str]
    scores: list[str]
    towers: dict[str, TowerPlan] = field(default_factory=dict)
    train_sizes: list[int] = field(default_factory=list)
    curve: Curve | None = None
    plots: list[str] = field(default_factory=list)
    gallery: Gallery | None = None
    claims: list[Claim] = field(default_factory=list)
    unreported: dict[str, str] = field(default_factory=dict)
    position_probe: str | None = None
    eval_batch_size: int = 32


def recipe_path(name: str) -> Path:
    """The file of an experiment: `name` is one of `experiment_name` for a recipe of the project, or a .yaml file.

    Raises:
        CommandError: if there is none.
    """
    own = name.removeprefix(f"{_PUBLISHED}_")
    folder = _EXPERIMENTS if own == name else _EXPERIMENTS / _PUBLISHED
    path = Path(name) if name.endswith(".yaml") else folder / f"{own}.yaml"
    if not path.is_file():
        raise CommandError(f"there is no experiment {name!r}: choose one of {', '.join(recipe_names())}, or a .yaml")
    return path


def experiment_name(path: Path) -> str:
    """What the page and the folder of a recipe are called: as its file; `published_…` for those of published sizes."""
    is_published = path.resolve().parent == _EXPERIMENTS / _PUBLISHED
    return f"{_PUBLISHED}_{path.stem}" if is_published else path.stem


def recipe_names() -> list[str]:
    """The project's experiments, without those of the published sizes."""
    return sorted(path.stem for path in _EXPERIMENTS.glob("*.yaml"))


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        CommandError: for what is no recipe; the message names the file and the place in it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"cannot read the recipe {path}: {' '.join(str(error).split())}") from error
    try:
        recipe = _parse(content)
        check_recipe(recipe)
    except RecipeError as error:
        raise CommandError(f"{path}: {error}") from error
    return recipe


def read_options(name: object, place: str) -> dict[str, Any]:
    """The options in a file of `recipes/`.

    Raises:
        CommandError: if there is no such file; the message names the `place` in a recipe that asks for it.
    """
    path = RECIPES / str(name)
    if not path.is_file():
        raise CommandError(f"{place} is {name!r}: there is no {path}")
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def _parse(content: Any) -> Recipe:
    values = _fields(Recipe, content, "the recipe")
    for name in ("seeds", "splits", "scores", "train_sizes", "plots", "claims"):
        if not isinstance(values.get(name, []), list):
            raise RecipeError(f"{name} must be a list, got {values[name]!r}")
    values["data"] = _make(DataPlan, values["data"], "data")
    values["towers"] = {
        name: _tower(plan, f"towers.{name}") for name, plan in _mapping(values.get("towers", {}), "towers").items()
    }
    values["arms"] = {
        name: dict(_mapping(options or {}, f"arms.{name}"))
        for name, options in _mapping(values["arms"], "arms").items()
    }
    claims = enumerate(values.get("claims", []))
    values["claims"] = [_make(Claim, claim, f"claims[{index}]") for index, claim in claims]
    for name, kind in (("curve", Curve), ("gallery", Gallery)):
        if values.get(name) is not None:
            values[name] = _make(kind, values[name], name)
    return Recipe(**values)


def _tower(content: Any, place: str) -> TowerPlan:
    values = _fields(TowerPlan, content, place)
    if values.get("data") is not None:
        values["data"] = _make(DataPlan, values["data"], f"{place}.data")
    return TowerPlan(**values)


def _make(kind: type[T], content: Any, place: str) -> T:
    return kind(**_fields(kind, content, place))


def _mapping(content: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise RecipeError(f"{place} must be a mapping of names to values, got {content!r}")
    return content


def _fields(kind: type, content: Any, place: str) -> dict[str, Any]:
    """The mapping `content` with the names of `kind`'s fields, all that have no default included."""
    known = {item.name: item for item in fields(kind)}
    unknown = [name for name in _mapping(content, place) if name not in known]
    if unknown:
        raise RecipeError(f"{place} has an unknown entry {unknown[0]!r}: it may have {', '.join(known)}")
    for name, item in known.items():
        if item.default is MISSING and item.default_factory is MISSING and name not in content:
            raise RecipeError(f"{place} lacks the entry {name!r}")
    return dict(content)
