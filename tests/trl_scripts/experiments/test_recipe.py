"""The project's recipes can be run, and what is no recipe is refused with the place that is wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import experiment_files
import pytest

from trl_scripts.errors import CommandError
from trl_scripts.experiments import towers
from trl_scripts.experiments.ns_vqa_run import ns_vqa_arguments
from trl_scripts.experiments.plan import Folders, plan_runs, sft_arguments
from trl_scripts.experiments.recipe import RECIPES, TowerPlan, load_recipe, recipe_names, recipe_path
from trl_scripts.experiments.smoke import make_smoke
from trl_scripts.experiments.towers import make_tower, parse_size, read_tower_report

PUBLISHED = sorted((RECIPES / "experiments" / "published").glob("*.yaml"))
ANSWERING = {"masks", "attributes", "score_threshold"}
BASELINE = {"recipe": "ns_vqa.yaml", "masks": "predicted", "attributes": "own"}
FOLDERS = Folders(Path("data"), Path("out"), "name")


@pytest.mark.parametrize("path", [*map(recipe_path, recipe_names()), *PUBLISHED], ids=lambda path: str(path.stem))
def test_every_option_of_the_projects_recipes_is_known(path: Path) -> None:
    whole = load_recipe(path)
    if path in PUBLISHED:  # transformers refuses TF32 without a GPU
        whole = replace(whole, training={**whole.training, "tf32": None})
    for recipe in (whole, make_smoke(whole)):
        runs = plan_runs(recipe)
        assert len({run.name for run in runs}) == len(runs)
        for run in runs:
            if run.ns_vqa is None:
                arguments, training, _ = sft_arguments(run, recipe, FOLDERS)
                assert (arguments.dataset_config, training.seed) == (recipe.data.family, run.seed)
            else:
                options = {name: run.ns_vqa[name] for name in run.ns_vqa if name not in ANSWERING}
                assert ns_vqa_arguments(options, run, recipe, FOLDERS, Path("out")).seed == run.seed


def test_there_is_a_published_size_of_every_experiment() -> None:
    assert {path.stem for path in PUBLISHED} == set(recipe_names()) - {"ablations"}


def broken(**changes: Any) -> dict[str, Any]:
    return {**experiment_files.recipe_content(Path("checkpoint")), **changes}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (broken(arm={}), "the recipe has an unknown entry 'arm'"),
        (broken(arms={}), "arms and seeds must not be empty"),
        (broken(arms={"a": {"tower": "babel"}}), "arms.a names the tower 'babel': towers has random"),
        (broken(data={"family": "two_d"}), "data lacks the entry 'splits'"),
        (broken(splits=["test"]), "splits names the split 'test': data.splits has train, val_id, val_ood"),
        (broken(plots=["pie"]), "plots names 'pie'"),
        (broken(towers={"random": {"seen": "much"}}), "towers.random needs either checkpoint or recipe"),
        (broken(towers=["random"]), "towers must be a mapping"),
        (broken(arms={"a": {"ns_vqa": {"masks": "true"}}}), "arms.a.ns_vqa needs recipe, masks and attributes"),
        (
            broken(arms={"a": {"ns_vqa": {**BASELINE, "score_threshold": 1.5}}}),
            "arms.a.ns_vqa.score_threshold must be a number from 0.0 to below 1, got 1.5",
        ),
        (["no", "mapping"], "the recipe must be a mapping"),
    ],
)
def test_a_broken_recipe_is_refused_with_the_place(tmp_path: Path, content: Any, message: str) -> None:
    path = experiment_files.write_recipe(tmp_path, content)
    with pytest.raises(CommandError, match=r"tiny\.yaml: ") as refused:
        load_recipe(path)
    assert message in str(refused.value)


def test_what_is_no_yaml_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text("a: [1\nb: }")
    with pytest.raises(CommandError, match="cannot read the recipe") as refused:
        load_recipe(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("option", [{"number_hat": "none"}, {"per_device_batch": 3}])
def test_an_option_that_sft_does_not_have_is_refused(tmp_path: Path, option: dict[str, Any]) -> None:
    recipe = load_recipe(experiment_files.write_recipe(tmp_path, broken(arms={"odd": option}, claims=[])))
    with pytest.raises(CommandError, match=rf"arm 'odd' are not those of sft\.py.*{next(iter(option))}"):
        sft_arguments(plan_runs(recipe)[0], recipe, FOLDERS)


def test_an_unknown_experiment_names_the_known_ones() -> None:
    with pytest.raises(CommandError, match=r"no experiment 'three_d': choose one of .*two_d"):
        recipe_path("three_d")


def test_a_size_is_two_numbers() -> None:
    assert parse_size("160x120") == (160, 120)
    with pytest.raises(CommandError, match="'160' is no size"):
        parse_size("160")


def test_a_tower_is_shared_whatever_is_said_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pretrain(plan: TowerPlan, dataset: Path, family: str, folder: Path) -> dict[str, Any]:
        folder.mkdir()
        return {"made": plan.seen}

    monkeypatch.setattr(towers, "_pretrain", pretrain)
    first, second = (TowerPlan(seen=seen, recipe="tower_a.yaml") for seen in ("much", "a lot"))
    folder = make_tower("tower", first, tmp_path, "clevr", tmp_path)
    assert make_tower("tower", second, tmp_path, "clevr", tmp_path) == folder
    assert read_tower_report(folder)["scores"] == {"made": "much"}  # not made again
    with pytest.raises(CommandError, match="holds a tower made from another recipe"):
        make_tower("tower", replace(first, recipe="tower_broad.yaml"), tmp_path, "clevr", tmp_path)
