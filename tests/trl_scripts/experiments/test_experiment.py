"""A whole experiment, from the recipe to its page, and what a second call and a kill do to it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import experiment_files
import pytest
from PIL import Image

from trl_scripts.cli import main as igllm
from trl_scripts.experiments.callbacks import ProgressLines


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


def test_an_unknown_arm_or_seed_is_refused(files: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "out", "--arms", "mouth") == 2
    assert "no arm 'mouth': choose from ['digits', 'head']" in capsys.readouterr().err
    assert run(files, "out", "--seeds", "7") == 2
    assert "no seed 7" in capsys.readouterr().err
