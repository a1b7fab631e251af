"""A whole experiment, from the recipe to its page, and what a second call and a kill do to it."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import experiment_files
import pytest
import torch
from PIL import Image

from trl_scripts.cli import main as igllm
from trl_scripts.errors import CommandError
from trl_scripts.experiments.callbacks import ProgressLines
from trl_scripts.experiments.plan import Folders, choose_runs, plan_runs
from trl_scripts.experiments.recipe import Recipe, load_recipe
from trl_scripts.experiments.results import check_page, check_settings
from trl_scripts.experiments.run import write_json
from trl_scripts.inference import Predictor


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("experiment")
    checkpoint = experiment_files.save_checkpoint(folder / "checkpoint")
    data = experiment_files.save_discs(folder / "data")
    return SimpleNamespace(
        folder=folder,
        data=data,
        recipe=experiment_files.write_recipe(folder, experiment_files.recipe_content(checkpoint)),
    )


def run(files: SimpleNamespace, out: str, *flags: str) -> int:
    folders = [
        "--data",
        str(files.data),
        "--out",
        str(files.folder / out),
        "--pages",
        str(files.folder / out / "pages"),
    ]
    return igllm(["experiment", str(files.recipe), *folders, *flags])


@pytest.fixture(scope="module")
def done(files: SimpleNamespace) -> Path:
    """Both arms with the first of two seeds."""
    assert run(files, "out", "--seeds", "0") == 0
    return files.folder / "out"


def result(out: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((out / "tiny" / "runs" / name / "result.json").read_text()))


def measured(value: Any) -> Any:
    """Without what a clock says."""
    if not isinstance(value, dict):
        return value
    return {name: measured(item) for name, item in value.items() if name not in ("minutes", "seconds_per_image")}


def test_the_page_shows_what_was_run_and_names_what_was_not(done: Path) -> None:
    page = (done / "pages" / "tiny.md").read_text()
    assert "2 of 4 runs, 1 of 2 seeds complete." in page
    assert "Not run: digits (8 scenes, seed 1), head (8 scenes, seed 1)." in page
    assert "nothing at all" in page
    assert "A linear probe" in page
    scores = result(done, "head-8-seed0")["splits"]["val_ood"]["scores"]
    assert scores["strict/mse_lo"] <= scores["strict/mse"] <= scores["strict/mse_hi"]
    for name in ("curve", "scatter", "bars", "gallery_val_ood"):
        assert f"](tiny_{name}.png)" in page
        with Image.open(done / "pages" / f"tiny_{name}.png") as picture:
            assert min(picture.size) > 100
    assert "[tiny](tiny.md)" in (done / "pages" / "README.md").read_text()


def test_runs_are_what_the_recipe_says(done: Path) -> None:
    digits, head = result(done, "digits-8-seed0"), result(done, "head-8-seed0")
    assert head["parameters"] > digits["parameters"]
    for one in (digits, head):
        assert one["steps"] == 4
        assert list(one["curve"]) == ["2", "4"]
        assert list(one["losses"]) == ["1", "2", "3", "4"]
        assert len(one["splits"]["val_ood"]["gallery"]) == 2
    assert {"number_loss"} == set(head["losses"]["4"]) - set(digits["losses"]["4"])


def test_a_finished_run_is_not_made_again(files: SimpleNamespace, done: Path) -> None:
    path = done / "tiny" / "runs" / "head-8-seed0" / "result.json"
    before = path.stat().st_mtime_ns
    assert run(files, "out", "--seeds", "0", "--arms", "head") == 0
    assert path.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_run_without_its_result_is_scored_again_and_not_trained(files: SimpleNamespace, done: Path) -> None:
    before = result(done, "head-8-seed0")
    weights = done / "tiny" / "runs" / "head-8-seed0" / "model" / "checkpoint-4" / "model.safetensors"
    trained = weights.stat().st_mtime_ns
    (done / "tiny" / "runs" / "head-8-seed0" / "result.json").unlink()
    assert run(files, "out", "--seeds", "0", "--arms", "head") == 0
    assert measured(result(done, "head-8-seed0")) == measured(before)
    assert weights.stat().st_mtime_ns == trained


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(
    files: SimpleNamespace, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(self: ProgressLines, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ProgressLines, "on_step_end", kill)
        with pytest.raises(KeyboardInterrupt):
            run(files, "killed", "--seeds", "0", "--arms", "head")
    model = files.folder / "killed" / "tiny" / "runs" / "head-8-seed0" / "model"
    assert (model / "checkpoint-2").is_dir() and not (model.parent / "result.json").exists()
    assert run(files, "killed", "--seeds", "0", "--arms", "head") == 0
    assert measured(result(files.folder / "killed", "head-8-seed0")) == measured(result(done, "head-8-seed0"))


def test_runs_of_another_recipe_are_refused(
    files: SimpleNamespace, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = files.recipe.read_text()
    files.recipe.write_text(text.replace("max_steps: 4", "max_steps: 5"))
    try:
        assert run(files, "out", "--seeds", "0") == 2
    finally:
        files.recipe.write_text(text)
    assert "was run with max_steps=4, the recipe now says 5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("number_head: none", "number_head: linear", "number_head='none', the recipe now says 'linear'"),
        ("val_id: 4", "val_id: 3", "was scored on 4 scenes of 'val_id', the recipe now says 3"),
        ("- val_ood\ntitle", "- val_ood\n- train\ntitle", "was scored on 0 scenes of 'train'"),
    ],
)
def test_a_page_never_mixes_recipes(
    files: SimpleNamespace, done: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, message: str
) -> None:
    """The page shows the other arm, too, which is not asked for here."""
    text = files.recipe.read_text()
    assert before in text
    files.recipe.write_text(text.replace(before, after))
    try:
        assert run(files, "out", "--seeds", "0", "--arms", "head") == 2
    finally:
        files.recipe.write_text(text)
    assert message in capsys.readouterr().err


def test_a_run_with_another_tower_is_refused(
    files: SimpleNamespace, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = files.recipe.read_text()
    files.recipe.write_text(text.replace("tower: random", "tower: other").replace("  random:", "  other:"))
    try:
        assert run(files, "out", "--seeds", "0") == 2
    finally:
        files.recipe.write_text(text)
    assert "was run with tower='random', the recipe now says 'other'" in capsys.readouterr().err


@pytest.mark.parametrize("option", [{"report_to": "tensorboard"}, {"remove_unused_columns": False}])
def test_what_changes_no_weight_does_not_make_a_run_another(
    files: SimpleNamespace, done: Path, option: dict[str, Any]
) -> None:
    recipe = load_recipe(files.recipe)
    recipe = replace(recipe, training={**recipe.training, **option})
    check_settings(plan_runs(recipe), recipe, Folders(files.data, done, "tiny"))


def check_with_data(files: SimpleNamespace, out: Path, **changes: Any) -> None:
    recipe = load_recipe(files.recipe)
    recipe = replace(recipe, data=replace(recipe.data, **changes))
    check_settings(plan_runs(recipe), recipe, Folders(files.data, out, "tiny"))


@pytest.mark.parametrize("changed", [{"seed": 99}, {"resolution": "96x96"}, {"samples": 1}, {"family": "so3"}])
def test_runs_of_other_data_are_refused(files: SimpleNamespace, done: Path, changed: dict[str, Any]) -> None:
    ((name, value),) = changed.items()
    with pytest.raises(CommandError, match=rf"was run with data\.{name}=.*, the recipe now says {value!r}"):
        check_with_data(files, done, **changed)


def test_runs_that_did_not_note_their_data_are_taken(files: SimpleNamespace, done: Path, tmp_path: Path) -> None:
    before = result(done, "head-8-seed0")
    del before["data"]
    write_json(tmp_path / "tiny" / "runs" / "head-8-seed0" / "result.json", before)
    check_with_data(files, tmp_path, seed=99)


def test_a_page_is_not_written_over_by_one_of_fewer_runs(
    files: SimpleNamespace, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = done / "pages" / "tiny.json"
    before = page.read_text()
    flags = ["--seeds", "0", "--arms", "head", "--pages", str(done / "pages")]  # the last --pages counts
    assert run(files, "fresh", *flags) == 2
    assert "tiny.json shows the finished run digits (8 scenes, seed 0), which is not in" in capsys.readouterr().err
    assert page.read_text() == before
    assert not (files.folder / "fresh").exists()


def page_of(files: SimpleNamespace, done: Path, change: Callable[[Recipe], Recipe]) -> None:
    recipe = change(load_recipe(files.recipe))
    check_page(done / "pages" / "tiny.json", plan_runs(recipe), recipe)


def test_a_page_is_not_written_over_by_one_of_another_recipe(files: SimpleNamespace, done: Path) -> None:
    page_of(files, done, lambda recipe: replace(recipe, about="In other words."))
    with pytest.raises(CommandError, match=r"tiny\.json shows .* with max_steps=4, the recipe says 5"):
        page_of(files, done, lambda recipe: replace(recipe, training={**recipe.training, "max_steps": 5}))
    with pytest.raises(CommandError, match=r"tiny\.json shows .* with data\.seed=0, the recipe says 1"):
        page_of(files, done, lambda recipe: replace(recipe, data=replace(recipe.data, seed=1)))


def test_arms_and_seeds_that_no_run_has_together_are_refused(files: SimpleNamespace) -> None:
    recipe = load_recipe(files.recipe)
    recipe = replace(recipe, arms={**recipe.arms, "late": {"seeds": [7]}})
    with pytest.raises(CommandError, match=r"no run has one of the seeds \[0\] .*: late has \[7\]"):
        choose_runs(plan_runs(recipe), ["late"], [0])
    assert {run.group for run in choose_runs(plan_runs(recipe), ["late", "head"], [0])} == {"head"}


def test_an_adapter_is_scored_as_a_whole_model_in_the_precision_of_its_training(
    files: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = experiment_files.recipe_content(files.folder / "checkpoint")
    lora = {
        "model_name_or_path": str(files.folder / "checkpoint"),
        "use_peft": True,
        "lora_r": 2,
        "dtype": "bfloat16",
    }
    content |= {"arms": {"lora": lora}, "towers": {}, "position_probe": None, "claims": [], "seeds": [0]}
    loaded, load = [], Predictor.load

    def remember(source: str, *rest: Any) -> Predictor:
        predictor = load(source, *rest)
        loaded.append((Path(source).name, predictor.model.device.type, predictor.model.dtype))
        return predictor

    monkeypatch.setattr(Predictor, "load", remember)
    lora_files = SimpleNamespace(
        folder=tmp_path, data=files.data, recipe=experiment_files.write_recipe(tmp_path, content)
    )
    assert run(lora_files, "out") == 0
    assert loaded == [("merged", "cpu", torch.bfloat16)]
    assert list(result(tmp_path / "out", "lora-8-seed0")["curve"]) == ["2", "4"]


def test_a_killed_run_does_not_go_on_with_other_settings(
    files: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def kill(self: ProgressLines, *args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ProgressLines, "on_step_end", kill)
        run(files, "other", "--seeds", "0", "--arms", "head")
    text = files.recipe.read_text()
    files.recipe.write_text(text.replace("warmup_steps: 1", "warmup_steps: 2"))
    try:
        assert run(files, "other", "--seeds", "0", "--arms", "head") == 2
    finally:
        files.recipe.write_text(text)
    assert "was run with warmup_steps=1, the recipe now says 2" in capsys.readouterr().err


def test_a_score_that_the_metric_does_not_have_is_refused_before_training(
    files: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    text = files.recipe.read_text()
    files.recipe.write_text(text.replace("- mse_out", "- mse_aut"))
    try:
        assert run(files, "misspelt") == 2
    finally:
        files.recipe.write_text(text)
    assert "names the score 'mse_aut': the metric has count_exact" in capsys.readouterr().err
    assert not (files.folder / "misspelt" / "tiny" / "runs").exists()


def test_an_unknown_arm_or_seed_is_refused(files: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "out", "--arms", "mouth") == 2
    assert "no arm 'mouth': choose from ['digits', 'head']" in capsys.readouterr().err
    assert run(files, "out", "--seeds", "7") == 2
    assert "no seed 7" in capsys.readouterr().err


def test_two_calls_that_write_the_same_file_at_once_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file, own = os.replace, os.getpid()
    path = tmp_path / "preparation.json"

    def replace_after_the_other(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "replace", replace_file)
        monkeypatch.setattr(os, "getpid", lambda: own + 1)
        write_json(path, {"writer": "other"})
        assert json.loads(path.read_text()) == {"writer": "other"}
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", replace_after_the_other)
    write_json(path, {"writer": "this"})
    assert json.loads(path.read_text()) == {"writer": "this"}
    assert [item.name for item in tmp_path.iterdir()] == ["preparation.json"]
