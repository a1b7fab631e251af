"""What plots and galleries show, and what they do where runs are missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from trl_scripts.errors import CommandError
from trl_scripts.experiments import gallery
from trl_scripts.experiments.gallery import draw_galleries, paint
from trl_scripts.experiments.plots import draw_plots, first_seed

POINT = "add(x=0.500, y=0.500)"


def make_run(group: str, seed: int, scenes: int, shown: int = 0) -> dict[str, Any]:
    split = {
        "scores": {"strict/mse": 0.2, "strict/mse_lo": 0.1, "strict/mse_hi": 0.3},
        "details": {"points": [[0.5, 0.5, 0.5, 0.25]]},
        "gallery": shown * [{"true": POINT, "predicted": POINT}],
    }
    return {"group": group, "seed": seed, "train_scenes": scenes, "curve": {}, "splits": {"val_ood": split}}


def make_results(kind: str, *runs: dict[str, Any]) -> dict[str, Any]:
    recipe = {
        "data": {"family": "two_d"},
        "arms": {"digits": {}, "head": {"seeds": [5]}},
        "seeds": [0],
        "train_sizes": [4, 8],
        "splits": ["val_ood"],
        "scores": ["mse"],
        "curve": {"scenes": 2, "splits": ["val_ood"], "scores": ["mse"]},
        "plots": [kind],
    }
    return {"experiment": "tiny", "recipe": recipe, "runs": list(runs)}


def test_the_first_seed_is_shown_at_its_own_largest_size(tmp_path: Path) -> None:
    runs = [make_run("digits", 0, 4), make_run("head", 0, 4), make_run("digits", 1, 8)]
    results = make_results("scatter", *runs)
    assert first_seed(results) == runs[:2]
    assert list(draw_plots(results, tmp_path).values()) == ["tiny_scatter.png"]


def test_there_is_no_curve_before_a_run_has_one(tmp_path: Path) -> None:
    results = make_results("curve", make_run("digits", 0, 8))
    assert draw_plots(results, tmp_path) == {}
    results["runs"][0]["curve"] = {"2": {"val_ood": {"mse": 0.5}}}
    assert list(draw_plots(results, tmp_path).values()) == ["tiny_curve.png"]


@pytest.mark.parametrize(("worst", "scale"), [(0.3, "linear"), (3000.0, "log")])
def test_sizes_show_every_arm_whatever_its_seeds(
    worst: float, scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def note(figure: Figure, *args: Any, **kwargs: Any) -> None:
        shown.extend(figure.axes[0].get_legend_handles_labels()[1])
        assert figure.axes[0].get_yscale() == scale

    monkeypatch.setattr(Figure, "savefig", note)
    wild = make_run("digits", 0, 4)
    wild["splits"]["val_ood"]["scores"]["strict/mse_hi"] = worst
    draw_plots(make_results("sizes", wild, make_run("head", 5, 4)), tmp_path)
    assert shown == ["digits, seed 0", "head, seed 5"]


def test_a_plot_that_the_family_has_nothing_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no plot of shape_by_color can be drawn of the family 'two_d'"):
        draw_plots(make_results("confusion", make_run("digits", 0, 8)), tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_gallery_shows_what_all_runs_have_kept(kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = []
    monkeypatch.setattr(gallery, "_save", lambda rows, path: columns.append({len(row) for row in rows.values()}))
    results = make_results("bars", make_run("digits", 0, 8, shown=3), make_run("head", 0, 8, shown=kept))
    drawn = draw_galleries(results, {"val_ood": 2 * [Image.new("RGB", (16, 16))]}, tmp_path)
    assert columns == ([{min(kept, 2)}] if kept else []) and len(drawn) == bool(kept)


def test_points_are_painted_as_the_family_paints_them() -> None:
    picture = paint(POINT + "\nadd(x=0.100, y=0.100)", "two_d", (336, 336))
    assert picture[168, 168].tolist() == picture[33, 33].tolist() == [255, 0, 0]
    assert np.array_equal(paint("no program", "two_d", (8, 6)), np.full((6, 8, 3), 255))
