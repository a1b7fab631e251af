"""Other renderings: each changes the picture, none the scene, and scores are compared with the right sign."""

from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest

from benchmarks import robustness
from benchmarks.robustness import PLAIN, SHARES, VARIANTS, differences, render_variant
from dataset_builders.build import build_family
from dataset_builders.clevr_sampler import sample_clevr_scene
from modeling_igllm import ScenePrediction
from trl_scripts.errors import CommandError
from trl_scripts.scene_rows import load_scene_rows

SCENE = sample_clevr_scene("clevr", "val_id", 1, 0)


@pytest.fixture(scope="module", autouse=True)
def small() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness, "WIDTH", 48)
        patch.setattr(robustness, "HEIGHT", 36)
        yield


@pytest.fixture(scope="module")
def plain(small: None) -> np.ndarray:
    return render(PLAIN)


def render(name: str) -> np.ndarray:
    (picture,) = render_variant(VARIANTS[name], [SCENE], samples=2)
    return np.asarray(picture).astype(float)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in (PLAIN, "samples", "480x320")])
def test_every_variant_is_another_picture_of_the_same_scene(name: str, plain: np.ndarray) -> None:
    other = render(name)
    assert other.shape == plain.shape
    assert np.abs(other - plain).max() > 5
    brightness = [picture - picture.mean() for picture in (plain, other)]
    likeness = np.corrcoef(*(picture.ravel() for picture in brightness))[0, 1]
    assert likeness > 0.6


def test_exposure_brightens_and_darkens(plain: np.ndarray) -> None:
    assert render("exposure_up").mean() > plain.mean() + 8
    assert render("exposure_down").mean() < plain.mean() - 8


def test_a_variant_is_rendered_the_same_every_time() -> None:
    assert (render("lamps_moved") == render("lamps_moved")).all()


def test_sizes_and_samples_are_those_that_they_say() -> None:
    assert VARIANTS["480x320"].quality == {"width": 480, "height": 320}
    assert VARIANTS["samples"].quality == {"samples": 128}
    assert VARIANTS[PLAIN] == robustness.Variant(VARIANTS[PLAIN].what)


def test_scenes_of_another_blender_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    build_family("clevr", tmp_path / "data", splits=("val_id",), num_scenes=2, seed=1, resolution=(48, 36), samples=1)
    rows = load_scene_rows(str(tmp_path / "data"), "clevr", "val_id")
    answers = [ScenePrediction.from_text(text) for text in (rows[0]["program"], rows[0]["program"])]
    predictor: Any = SimpleNamespace(predict=lambda images, batch_size: answers)
    scores = {**dict.fromkeys(SHARES, 0.75), "l2": 0.1}
    report = {"family": "clevr", "split": "val_id", "seed": 1, "scenes": 2, "bpy_version": "0.1", "plain": scores}
    report["variants"] = {"rough": {"what": "rougher", "difference": scores}}
    added = robustness.add_built(report, predictor, str(tmp_path / "data"))
    here = version("bpy")
    (name,) = added["variants"].keys() - {"rough"}
    assert name.startswith(f"Blender {here}") and added["variants"]["rough"] == report["variants"]["rough"]
    assert added["variants"][name]["difference"]["exact"] == pytest.approx(100 * (0.5 - 0.75))
    for other, named in (({"scenes": 3}, "3 scenes of clevr, val_id, seed 1"), ({"seed": 2}, "2 scenes of .* seed 2")):
        with pytest.raises(CommandError, match=f"has not the {named}"):
            robustness.add_built({**report, **other}, predictor, str(tmp_path / "data"))
    with pytest.raises(CommandError, match=f"was built by Blender {here}, as the others: build it by another"):
        robustness.add_built({**report, "bpy_version": here}, predictor, str(tmp_path / "data"))


def test_differences_are_points_above_the_plain_pictures() -> None:
    plain = {**dict.fromkeys(SHARES, 0.9), "l2": 0.2}
    worse = {**dict.fromkeys(SHARES, 0.87), "l2": 0.25}
    assert differences(worse, plain) == pytest.approx({**dict.fromkeys(SHARES, -3.0), "l2": 0.05})
