"""The project's recipes can be run, and what is no recipe is refused with the place that is wrong."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import experiment_files
import pytest

from dataset_builders.families import FAMILIES, find_family
from modeling_igllm import format_program
from trl_scripts.baselines.evaluate_ns_vqa import ATTRIBUTE_SOURCES, MASKS
from trl_scripts.errors import CommandError
from trl_scripts.experiments import recipe_checks, towers
from trl_scripts.experiments.ns_vqa_run import ns_vqa_arguments
from trl_scripts.experiments.plan import Folders, plan_runs, sft_arguments
from trl_scripts.experiments.recipe import (
    RECIPES,
    DataPlan,
    TowerPlan,
    experiment_name,
    load_recipe,
    recipe_names,
    recipe_path,
)
from trl_scripts.experiments.run import check_options
from trl_scripts.experiments.scoring import plot_details
from trl_scripts.experiments.smoke import make_smoke
from trl_scripts.experiments.towers import make_tower, parse_size, read_tower_report

PUBLISHED = sorted((RECIPES / "experiments" / "published").glob("*.yaml"))
CURVE = experiment_files.recipe_content(Path("checkpoint"))["curve"]
CLAIM = experiment_files.recipe_content(Path("checkpoint"))["claims"][0]
BASELINE = {"recipe": "ns_vqa.yaml", "masks": "predicted", "attributes": "own"}
CLEVR = DataPlan("clevr", {"train": 8, "val_id": 4})
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
                assert ns_vqa_arguments(run, recipe, FOLDERS).seed == run.seed


def test_there_is_a_published_size_of_every_experiment() -> None:
    assert {path.stem for path in PUBLISHED} == set(recipe_names()) - {"ablations"}


def test_what_an_experiment_is_called_leads_back_to_its_recipe() -> None:
    names = [experiment_name(path) for path in PUBLISHED]
    assert [recipe_path(name) for name in names] == PUBLISHED
    assert not set(names) & set(recipe_names())  # their pages would be written over the others
    assert [experiment_name(recipe_path(name)) for name in recipe_names()] == recipe_names()
    assert experiment_name(Path("mine/two_d.yaml")) == "two_d"


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
        (broken(claims=None), "claims must be a list, got None"),
        (broken(splits="val_id"), "splits must be a list, got 'val_id'"),
        (broken(scores=[]), "splits and scores must not be empty"),
        (
            broken(data={"family": "two_d", "splits": {"val_id": 4, "val_ood": 4}}, claims=[]),
            "data.splits lacks the split 'train'",
        ),
        (
            broken(splits=["val_id"], plots=[], claims=[], gallery={"splits": ["val_ood"]}),
            "gallery names the split 'val_ood': splits has val_id",
        ),
        (
            broken(splits=["val_ood"], gallery=None),
            "claims[0] names the split 'val_id': splits has val_ood",
        ),
        (broken(train_sizes=[4, 800], claims=[]), "train_sizes has 800: data.splits.train is 8"),
        (broken(train_sizes=[4, 8]), "claims[0] needs train_scenes, one of 4, 8"),
        (
            broken(claims=[{**CLAIM, "train_scenes": 5}]),
            "claims[0].train_scenes is 5: no arm is run with other than 8",
        ),
        (broken(curve=None), "plots names 'curve', which needs curve"),
        (
            broken(plots=["confusion"]),
            "plots names 'confusion', which cannot be drawn of the family 'two_d': only of clevr and clevr_cogent",
        ),
        (broken(eval_batch_size=0), "eval_batch_size must be a whole number of 1 or more, got 0"),
        (broken(eval_batch_size=True), "eval_batch_size must be a whole number of 1 or more, got True"),
        (broken(curve={**CURVE, "every": 0}), "curve.every must be a whole number of 1 or more, got 0"),
        (broken(curve={**CURVE, "scenes": "2"}), "curve.scenes must be a whole number of 1 or more, got '2'"),
        (broken(gallery={"splits": ["val_ood"], "scenes": -1}), "gallery.scenes must be a whole number"),
        (
            broken(data={"family": "two_d", "splits": {"train": 8}, "samples": 0}),
            "data.samples must be a whole number",
        ),
        (broken(data={"family": "two_d", "splits": ["train"]}), "data.splits must be a mapping"),
        (broken(data={"family": "two_d", "splits": {"train": 0}}), "data.splits.train must be a whole number"),
        (broken(plots=["sizes"]), "plots names 'sizes', which needs train_sizes"),
        (broken(training={"seed": 3}), "training has 'seed', which the experiment sets itself"),
        (broken(arms={"a": {"max_train_scenes": 3}}), "arms.a has 'max_train_scenes', which the experiment sets"),
        (
            broken(arms={"a": {"ns_vqa": {**BASELINE, "masks": True}}}),  # a bare `true` in YAML
            'arms.a.ns_vqa.masks must be "predicted" or "true", got True',
        ),
        (broken(arms={"a": {"ns_vqa": BASELINE, "number_head": "none"}}), "arms.a has 'number_head' beside ns_vqa"),
        (
            broken(arms={"a": {"ns_vqa": {**BASELINE, "minutes": 1}}, "b": {"ns_vqa": {**BASELINE, "minutes": 60}}}),
            "arms.b.ns_vqa has minutes=60, arms.a.ns_vqa 1: NS-VQA arms share one training",
        ),
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


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"number_head": "gausian"}, "number_head must be one of .*, got 'gausian'"),
        ({"rotation": "nope"}, "rotation must be one of .*, got 'nope'"),
        ({"float_w": -1.0}, "float_w must be 0 or positive, got -1.0"),
        ({"float_w": "much"}, "float_w|much|str"),
    ],
)
def test_a_value_that_sft_refuses_is_refused_before_anything_is_rendered(
    tmp_path: Path, option: dict[str, Any], message: str
) -> None:
    recipe = load_recipe(experiment_files.write_recipe(tmp_path, broken(arms={"odd": option}, claims=[])))
    with pytest.raises(CommandError, match=rf"arm 'odd'.*{message}"):
        check_options(plan_runs(recipe)[0], recipe, FOLDERS)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plot_is_refused_of_the_families_that_have_nothing_for_it(family: str) -> None:
    scenes = [find_family(family).sample(family, "train", 0, index).program for index in range(4)]
    programs = [format_program(scene) for scene in scenes if scene is not None]
    if not programs:
        pytest.skip("no model is trained on scenes without a program")
    details = {"points": "scatter", "shape_by_color": "confusion", "rotations": "distance"}
    drawn = {details[name] for name in plot_details(programs, programs, programs)}
    for plot in details.values():
        if plot in drawn:
            recipe_checks._check_plot_of(family, plot)
        else:
            with pytest.raises(recipe_checks.RecipeError, match="cannot be drawn"):
                recipe_checks._check_plot_of(family, plot)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"segmentation_batch_size": 0}, r"arm 'odd' are not those of train_ns_vqa.*segmentation_batch_size must be"),
        ({"attribute_epoch": 1}, r"arm 'odd' are not those of train_ns_vqa.*attribute_epoch"),
        ({"recipe": "no.yaml"}, r"arms\.odd\.ns_vqa\.recipe is 'no\.yaml': there is no"),
    ],
)
def test_an_option_that_the_baseline_does_not_have_is_refused(
    tmp_path: Path, option: dict[str, Any], message: str
) -> None:
    content = broken(arms={"odd": {"ns_vqa": {**BASELINE, **option}}}, claims=[])
    recipe = load_recipe(experiment_files.write_recipe(tmp_path, content))
    with pytest.raises(CommandError, match=message):
        check_options(plan_runs(recipe)[0], recipe, FOLDERS)


def test_the_baseline_logs_where_the_others_do(tmp_path: Path) -> None:
    content = broken(arms={"a": {"ns_vqa": BASELINE}}, claims=[])
    recipe = load_recipe(experiment_files.write_recipe(tmp_path, content))
    for wanted, used in (({}, None), ({"report_to": "none"}, None), ({"report_to": "tensorboard"}, "tensorboard")):
        logged = replace(recipe, training={**recipe.training, **wanted})
        assert ns_vqa_arguments(plan_runs(logged)[0], logged, FOLDERS).report_to == used


def test_a_smoke_test_is_as_short_for_an_arm_with_steps_of_its_own(tmp_path: Path) -> None:
    content = broken(arms={"long": {"max_steps": 10_000}}, claims=[])
    smoke = make_smoke(load_recipe(experiment_files.write_recipe(tmp_path, content)))
    assert [run.settings["max_steps"] for run in plan_runs(smoke)] == [4]


def test_the_words_of_a_baseline_are_those_of_its_command() -> None:
    assert recipe_checks._WORDS == {"masks": MASKS, "attributes": ATTRIBUTE_SOURCES}


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
    folder = make_tower("tower", first, tmp_path, CLEVR, tmp_path)
    assert make_tower("tower", second, tmp_path, CLEVR, tmp_path) == folder
    assert read_tower_report(folder)["scores"] == {"made": "much"}  # not made again
    same = TowerPlan(seen="much", recipe="tower_a.yaml", options={"remove_unused_columns": False})  # in recipes once
    assert (
        towers._compared(towers._made_from("tower", same, CLEVR))["options"]
        == towers._made_from("tower", first, CLEVR)["options"]
    )
    with pytest.raises(CommandError, match="holds a tower made from another recipe"):
        make_tower("tower", replace(first, recipe="tower_broad.yaml"), tmp_path, CLEVR, tmp_path)
    changed = {**towers.read_options(first.recipe, "tower"), "minutes": 1}
    monkeypatch.setattr(towers, "read_options", lambda name, place: changed)  # the same file, with other options in it
    with pytest.raises(CommandError, match="holds a tower made from another recipe"):
        make_tower("tower", first, tmp_path, CLEVR, tmp_path)


def test_a_tower_of_other_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towers, "_pretrain", lambda plan, dataset, family, folder: folder.mkdir() or {})
    plan = TowerPlan(seen="much", recipe="tower_a.yaml")
    folder = make_tower("tower", plan, tmp_path, CLEVR, tmp_path)
    more_to_score = replace(CLEVR, splits={"train": 8, "val_id": 5})
    assert make_tower("tower", plan, tmp_path, more_to_score, tmp_path) == folder
    others = [
        replace(CLEVR, family="clevr_cogent"),
        replace(CLEVR, seed=99),
        replace(CLEVR, splits={"train": 9, "val_id": 4}),
    ]
    for data in others:
        with pytest.raises(CommandError, match="on other data"):
            make_tower("tower", plan, tmp_path, data, tmp_path)


def test_a_tower_that_did_not_note_its_data_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towers, "_pretrain", lambda plan, dataset, family, folder: folder.mkdir() or {})
    plan = TowerPlan(seen="much", recipe="tower_a.yaml")
    report = make_tower("tower", plan, tmp_path, CLEVR, tmp_path) / "tower.json"
    content = json.loads(report.read_text())
    content["made_from"]["data"] = None
    report.write_text(json.dumps(content))
    assert make_tower("tower", plan, tmp_path, CLEVR, tmp_path) == report.parent
    with pytest.raises(CommandError, match="on other data"):  # data of its own was noted always
        make_tower("tower", replace(plan, data=CLEVR), tmp_path, CLEVR, tmp_path)


def test_a_tower_of_weights_that_have_changed_is_refused(tmp_path: Path) -> None:
    checkpoint = experiment_files.save_checkpoint(tmp_path / "checkpoint")
    plan = TowerPlan(seen="nothing", checkpoint=str(checkpoint))
    folder = make_tower("tower", plan, tmp_path, CLEVR, tmp_path)
    assert make_tower("tower", plan, tmp_path, CLEVR, tmp_path) == folder
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(CommandError, match="from weights that have changed since"):
        make_tower("tower", plan, tmp_path, CLEVR, tmp_path)
    weights.unlink()
    with pytest.raises(CommandError, match="there is no checkpoint"):
        make_tower("tower", plan, tmp_path, CLEVR, tmp_path)
