"""A model that writes its numbers as digits (`number_head="none"`) goes through the commands as any other."""

import json
from pathlib import Path

import pytest
import tiny
import torch
from datasets import Dataset, Features, Image, Value
from PIL import Image as PillowImage

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor, format_program
from trl_scripts.cli import main

SCENE = tiny.LONG_SCENE
PROGRAM = format_program(SCENE)


@pytest.fixture(scope="module")
def processor() -> IGLLMProcessor:
    return tiny.make_processor(numbers="char")


@pytest.fixture(scope="module")
def checkpoint(processor: IGLLMProcessor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has learned one scene by heart."""
    model = tiny.make_model(processor, number_head="none").train()
    batch = processor.encode_training(tiny.make_images(2), [SCENE, SCENE])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return save(model, processor, tmp_path_factory.mktemp("digits"))


def save(model: IGLLMForSceneProgram, processor: IGLLMProcessor, folder: Path) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_images(folder: Path) -> list[str]:
    paths = [folder / f"{index}.png" for index in range(2)]
    for path, pixels in zip(paths, tiny.make_images(2), strict=True):
        PillowImage.fromarray(pixels).save(path)
    return list(map(str, paths))


def test_predict_reads_numbers_from_the_text(checkpoint: Path, tmp_path: Path) -> None:
    images = save_images(tmp_path)
    assert main(["predict", *images, "--model", str(checkpoint), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "1.txt").read_text() == PROGRAM
    objects = json.loads((tmp_path / "out" / "1.json").read_text())["objects"]
    assert objects == SCENE.to_json()["objects"]


def test_evaluate_scores_it(checkpoint: Path, tmp_path: Path) -> None:
    images = [PillowImage.fromarray(pixels) for pixels in tiny.make_images(2)]
    features = Features({"image": Image(), "program": Value("string")})
    rows = Dataset.from_dict({"image": images, "program": [PROGRAM] * 2}, features=features)
    (tmp_path / "data").mkdir()
    rows.to_parquet(tmp_path / "data" / "val_id.parquet")
    report = tmp_path / "scores.json"
    flags = ["--model", str(checkpoint), "--split", "val_id", "--out", str(report)]
    (tmp_path / "data" / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: val_id\n    path: val_id.parquet\n---\n"
    )
    assert main(["evaluate", "--dataset", str(tmp_path / "data"), *flags]) == 0
    scores = json.loads(report.read_text())["scores"]
    assert scores["strict/invalid_rate"] == 0
    assert scores["strict/l2"] == 0
