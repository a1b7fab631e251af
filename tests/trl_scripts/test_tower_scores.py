"""Scores of towers whose heads say the truth, or are off by a known amount."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from scipy.spatial.transform import Rotation as RotationOracle
from test_tower_dataset import family_row
from towers import make_tower

from dataset_builders.schema import FEATURES
from modeling_igllm import SHAPES
from trl_scripts import tower_scores
from trl_scripts.tower_dataset import TowerDataset
from trl_scripts.tower_pretraining import SceneTowerForPreTraining, SceneTowerPreTrainingOutput
from trl_scripts.tower_scores import rotation_degrees, score_tower
from trl_scripts.tower_targets import CLASSES, TowerObject, object_targets


def make_dataset(families: list[str], **options: Any) -> TowerDataset:
    rows = Dataset.from_list([family_row(family, **options) for family in families], features=FEATURES)
    shapes = (*SHAPES, "airplane")
    return TowerDataset(rows, tiny.tower_config(), tiny.make_processor().image_processor, shapes)


class Oracle(SceneTowerForPreTraining):
    """Predicts the targets of a dataset, whatever the image; objects as it is told."""

    answers: list[dict[str, torch.Tensor]]

    def forward(self, pixel_values: torch.Tensor, targets: None = None) -> SceneTowerPreTrainingOutput:
        empty = super().forward(pixel_values).predictions
        predictions = {name: torch.zeros_like(maps) for name, maps in empty.items()}
        for row, answer in enumerate(self.answers):
            for name, maps in answer.items():
                if name in CLASSES:
                    one_hot = torch.nn.functional.one_hot(maps.long().clamp(min=0), predictions[name].shape[1])
                    maps = one_hot.permute(2, 0, 1)
                elif name in ("heatmap", "silhouette"):
                    maps = torch.where(maps == 1, 5.0, -5.0)
                predictions[name][row] = maps.nan_to_num(0).float()
        return SceneTowerPreTrainingOutput(predictions=predictions)


def make_oracle(dataset: TowerDataset, **changes: Any) -> Oracle:
    """A tower that knows everything, but for what is changed of every object."""
    oracle = Oracle(make_tower(shapes=[*SHAPES, "airplane"]).config)
    oracle.answers = [
        targets | object_targets([change(item, changes) for item in objects], dataset.config, oracle.config.shapes)
        for targets, objects in zip(dataset.targets, dataset.objects, strict=True)
    ]
    return oracle


def score(dataset: TowerDataset, **changes: Any) -> dict[str, float]:
    return score_tower(make_oracle(dataset, **changes), dataset, tiny.make_processor().image_processor)


def change(item: TowerObject, changes: dict[str, Any]) -> TowerObject:
    return replace(item, **{name: changed(getattr(item, name)) for name, changed in changes.items()})


def test_a_tower_that_knows_everything_makes_no_error() -> None:
    scores = score(make_dataset(["clevr", "so3", "clevr_rgb", "two_d"], with_truth=False))
    perfect = dict.fromkeys(("size", "color", "material", "shape", "nearest_color", "count_exact"), 100)
    errors = dict.fromkeys(("rgb", "l2", "yaw_deg", "rotation_deg", "rotation_deg_median", "center_px"), 0)
    assert scores.pop("objects") == sum(
        len(objects) for objects in make_dataset(["clevr", "so3", "clevr_rgb", "two_d"]).objects
    )
    assert scores == pytest.approx(perfect | errors, abs=1e-3)


@pytest.mark.parametrize(
    ("family", "changes", "expected"),
    [
        ("clevr", {"yaw": lambda yaw: None if yaw is None else yaw + math.radians(80)}, {"yaw_deg": 10}),
        ("clevr", {"position": lambda loc: (loc[0] + 0.3, loc[1] - 0.4, loc[2])}, {"l2": 0.5}),
        ("clevr", {"size": {"small": "large", "large": "small"}.get}, {"size": 0, "shape": 100}),
        ("clevr_rgb", {"rgb": lambda rgb: (rgb[0], rgb[1] + 0.1, rgb[2])}, {"rgb": 0.1}),
    ],
)
def test_errors_are_what_they_are(family: str, changes: dict[str, Any], expected: dict[str, float]) -> None:
    scores = score(make_dataset([family]), **changes)
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("degrees", [0.0, 1e-3, 30.0, 179.0])
def test_rotation_error_is_the_angle_between(degrees: float) -> None:
    true = RotationOracle.random(random_state=np.random.default_rng(1)).as_matrix()
    turned = RotationOracle.from_rotvec(np.radians(degrees) * np.array([0.6, 0.0, 0.8])).as_matrix() @ true
    assert rotation_degrees(2 * turned[:2].flatten(), true[:2].flatten()) == pytest.approx(degrees, abs=1e-4)


def test_only_what_the_rows_have_is_scored() -> None:
    assert set(score(make_dataset(["two_d"]))) == {"rgb", "center_px", "count_exact", "objects"}


def test_maps_are_scored_where_they_were_built() -> None:
    dataset = make_dataset(["clevr", "clevr"], with_truth=True)
    dataset.targets[1] = {"heatmap": dataset.targets[1]["heatmap"]}
    silhouette = dataset.targets[0]["silhouette"]
    silhouette[:, 2, 2] = 1  # an object of one cell
    dataset.targets[0]["to_center"][:, 2, 2] = 1.0
    oracle = make_oracle(dataset)
    answer = oracle.answers[0] = {name: maps.clone() for name, maps in oracle.answers[0].items()}
    answer["silhouette"][:, 2, 3] = 1  # it looks twice as large
    answer["depth"] += math.log(1.1)
    answer["to_center"][:, 2, 2] += torch.tensor([3.0, 4.0])
    scores = score_tower(oracle, dataset, tiny.make_processor().image_processor)
    assert scores["silhouette_iou"] == pytest.approx(50)
    assert scores["depth"] == pytest.approx(10, abs=0.1)
    assert scores["to_center_px"] == pytest.approx(8 * 5)


def test_an_image_that_shows_nothing_has_no_depth() -> None:
    dataset = make_dataset(["clevr", "clevr"], with_truth=True)
    for name in ("depth", "to_center"):
        dataset.targets[1][name] = torch.full_like(dataset.targets[1][name], torch.nan)
    dataset.targets[1]["silhouette"].zero_()
    oracle = make_oracle(dataset)
    oracle.answers[0] = oracle.answers[0] | {"depth": oracle.answers[0]["depth"] + math.log(1.1)}
    scores = score_tower(oracle, dataset, tiny.make_processor().image_processor)
    assert scores["depth"] == pytest.approx(10, abs=0.1)


def test_objects_beside_the_map_are_not_read() -> None:
    dataset = make_dataset(["clevr"])
    count = len(dataset.objects[0])
    dataset.objects[0][0] = replace(dataset.objects[0][0], center=(-3.0, 10.0))
    assert score(dataset)["objects"] == count - 1


def test_a_shape_that_the_tower_has_not_learned_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_tower().save_pretrained(tmp_path)
    tiny.make_processor().image_processor.save_pretrained(tmp_path)
    rows = Dataset.from_list([family_row("so3")], features=FEATURES)
    monkeypatch.setattr(tower_scores, "load_tower_rows", lambda *_: rows)
    assert tower_scores.main([str(tmp_path), "--dataset", "data", "--dataset_config", "so3"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("tower_scores: split 'val_id' of 'data' has the shape 'airplane', the tower knows ")


def test_an_rgb_tower_is_not_asked_for_names() -> None:
    dataset = make_dataset(["clevr"])
    model = make_tower(color_supervision="rgb")
    scores = score_tower(model, dataset, tiny.make_processor().image_processor)
    assert "color" not in scores and "nearest_color" in scores
