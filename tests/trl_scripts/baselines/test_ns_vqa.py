"""NS-VQA learns painted scenes by heart, says only what it may, and refuses what it cannot read."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from painted_scenes import HEIGHT, WIDTH, painted_rows, write_dataset

from benchmarks.training_memory import RECIPES
from modeling_igllm import ClevrObject, SceneProgram, format_program, parse_program
from trl_scripts.baselines import evaluate_ns_vqa, train_ns_vqa
from trl_scripts.baselines.attribute_net import AttributeNet, AttributeNetConfig
from trl_scripts.baselines.instance_scenes import InstanceScenes, instance_scenes, load_instance_scenes
from trl_scripts.baselines.ns_vqa import NSVQA
from trl_scripts.baselines.segmentation_loss import composite_class, composite_classes
from trl_scripts.baselines.segmentation_net import SegmentationNet, SegmentationNetConfig
from trl_scripts.baselines.train_ns_vqa import NSVQAArguments, train
from trl_scripts.errors import CommandError

LEARNED = [2, 4]  # three objects each
SMALL = {
    "image_size": [HEIGHT, WIDTH],
    "segmentation_channels": [8, 16, 24],
    "segmentation_blocks": 1,
    "segmentation_decoder_channels": 24,
    "segmentation_epochs": 400,
    "segmentation_learning_rate": 1e-2,
    "attribute_image_size": [HEIGHT, WIDTH],
    "attribute_embedding_size": 8,
    "attribute_hidden_sizes": [8, 16, 32, 64],
    "attribute_depths": [1, 1, 1, 1],
    "attribute_epochs": 120,
    "attribute_learning_rate": 1e-2,
    "precision": "no",
}


def load_small(rows: Dataset, masks: bool = True) -> InstanceScenes:
    return instance_scenes(rows, (HEIGHT, WIDTH), masks, "painted")


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No rows of an earlier folder of the same name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of condition A as a dataset folder."""
    return write_dataset(painted_rows(LEARNED), tmp_path_factory.mktemp("data") / "painted")


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both nets, trained on the two scenes by the function that the command calls."""
    output = tmp_path_factory.mktemp("models") / "ns_vqa"
    train(NSVQAArguments(dataset=str(dataset), output_dir=str(output), **SMALL))
    return output


@pytest.mark.parametrize("masks", ["true", "predicted"])
@pytest.mark.parametrize("attributes", ["composite", "own"])
def test_two_scenes_are_learned_by_heart(trained: Path, masks: str, attributes: str) -> None:
    model, scenes = NSVQA.load(trained), load_small(painted_rows(LEARNED))
    found = model.find_instances(scenes.images, scenes.masks if masks == "true" else None)
    for image, instances, objects in zip(scenes.images, found, scenes.objects, strict=True):
        scene = model.describe(image, instances, attributes)
        assert parse_program(format_program(scene)) == scene.rounded(3)
        assert len(scene) == len(objects)
        for item in objects:
            nearest = min(scene, key=lambda other: sum((a - b) ** 2 for a, b in zip(other.loc, item.loc, strict=True)))
            assert (nearest.size, composite_class(nearest)) == (item.size, composite_class(item))
            assert nearest.loc == pytest.approx(item.loc, abs=0.25)
            if item.rotation is not None:
                assert abs((nearest.rotation - item.rotation + 0.785) % 1.571 - 0.785) < 0.2


def test_composite_classes_never_say_an_unseen_combination() -> None:
    seen = composite_classes(load_small(painted_rows(list(range(8)))).objects)
    other = load_small(painted_rows(list(range(8)), "val_ood"))
    assert not {composite_class(item) for objects in other.objects for item in objects} <= set(seen)
    torch.manual_seed(0)
    segmentation = SegmentationNet(SegmentationNetConfig(image_size=[HEIGHT, WIDTH], classes=seen)).eval()
    torch.nn.init.normal_(segmentation.heads.weight)  # it says something else of every object
    attributes = AttributeNet(AttributeNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1])).eval()
    model = NSVQA(segmentation, attributes)
    said = set()
    for image, instances in zip(other.images, model.find_instances(other.images, other.masks), strict=True):
        said |= {composite_class(item) for item in model.describe(image, instances) if isinstance(item, ClevrObject)}
    assert len(said) > 1 and said <= set(seen)


def test_no_instances_are_an_empty_program() -> None:
    segmentation = SegmentationNet(SegmentationNetConfig(image_size=[HEIGHT, WIDTH], classes=["red metal cube"]))
    attributes = AttributeNet(AttributeNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1]))
    model, image = NSVQA(segmentation.eval(), attributes.eval()), torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
    (instances,) = model.find_instances(image[None])  # an untrained net sees no centre
    assert model.describe(image, instances) == SceneProgram(())
    with pytest.raises(ValueError, match="'both'"):
        model.describe(image, instances, "both")


def test_the_command_scores_and_writes(
    trained: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--out", str(tmp_path / "scores.json"), "--programs", str(tmp_path / "programs.json")]
    arguments = ["--model", str(trained), "--dataset", str(dataset), "--split", "train", "--masks", "true", *files]
    assert evaluate_ns_vqa.main(arguments) == 0
    report = json.loads((tmp_path / "scores.json").read_text())
    assert report["scores"]["strict/f1@0.5m"] == 1
    assert (report["scenes"], report["masks"], report["attributes"]) == (2, "true", "composite")
    assert report["score_threshold"] is None
    assert "strict/f1@0.5m" in capsys.readouterr().out
    programs = json.loads((tmp_path / "programs.json").read_text())["programs"]
    assert [len(parse_program(text)) for text in programs] == [3, 3]


def test_a_finished_training_is_not_repeated_and_not_mixed(trained: Path, dataset: Path) -> None:
    weights = trained / "attribute_net" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    train(NSVQAArguments(dataset=str(dataset), output_dir=str(trained), minutes=1.0, **SMALL))
    assert weights.stat().st_mtime_ns == before
    with pytest.raises(CommandError, match="begun with seed=0, now it is 1"):
        train(NSVQAArguments(dataset=str(dataset), output_dir=str(trained), seed=1, **SMALL))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--minutes", "0"], "--minutes must be finite and above 0, got 0.0"),
        (["--minutes", "nan"], "--minutes must be finite and above 0, got nan"),
        (["--segmentation_share", "1.5"], "--segmentation_share must be above 0 and below 1, got 1.5"),
        (["--segmentation_batch_size", "0"], "--segmentation_batch_size must be at least 1, got 0"),
        (["--attribute_epochs", "-1"], "--attribute_epochs must be finite and above 0, got -1.0"),
        (["--attribute_learning_rate", "nan"], "--attribute_learning_rate must be finite and above 0, got nan"),
        (["--segmentation_channels", "8", "0"], "--segmentation_channels must be at least 1, got [8, 0]"),
        (["--image_size", "40"], "--image_size must be height and width in pixels, got [40]"),
        (["--config", "bare_no.yaml"], '--precision must be "bf16" or "no", with its quotes in YAML, got False'),
        (["--seed", "-1"], "--seed must be at least 0 and below 2**32, got -1"),
    ],
)
def test_an_argument_out_of_range_is_one_line(
    flags: list[str],
    message: str,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bare_no.yaml").write_text("precision: no\n")
    monkeypatch.chdir(tmp_path)
    command = ["train_ns_vqa", "--dataset", str(dataset), "--output_dir", str(tmp_path / "out"), *flags]
    monkeypatch.setattr(sys, "argv", command)
    assert train_ns_vqa.main() == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"train_ns_vqa: {message}"
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_no_number_stops_the_command(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = SMALL | {
        "dataset": str(dataset),
        "output_dir": str(tmp_path / "out"),
        "segmentation_learning_rate": 1e30,
    }
    (tmp_path / "options.yaml").write_text(json.dumps(options))  # JSON is YAML
    monkeypatch.setattr(sys, "argv", ["train_ns_vqa", "--config", str(tmp_path / "options.yaml")])
    assert train_ns_vqa.main() == 2
    folder = tmp_path / "out" / "segmentation_net"
    (report,) = folder.glob("non_finite_step_*.json")
    step = json.loads(report.read_text())["step"]
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.match(rf"train_ns_vqa: the (loss|gradient) of step {step} is (nan|inf): ", line) and str(report) in line
    assert not (folder / "model.safetensors").exists()


def test_a_dataset_without_masks_says_how_to_build_them(tmp_path: Path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    rows = painted_rows([0], masks=False)
    empty = write_dataset(rows, tmp_path / "no_masks")
    arguments = [
        "--config",
        str(RECIPES / "ns_vqa.yaml"),
        "--dataset",
        str(empty),
        "--output_dir",
        str(tmp_path / "out"),
    ]
    monkeypatch.setattr(sys, "argv", ["train_ns_vqa", *arguments])
    assert train_ns_vqa.main() == 2
    assert "--ground-truth" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    absent = write_dataset(rows.remove_columns("instance_mask"), tmp_path / "no_column")
    with pytest.raises(CommandError, match="--ground-truth"):
        load_instance_scenes(str(absent), None, "train", (HEIGHT, WIDTH), with_masks=True)
    assert load_instance_scenes(str(absent), None, "train", (HEIGHT, WIDTH), with_masks=False).instance_masks is None


def test_other_families_are_refused() -> None:
    for program, message in (("add(x=0.100, y=0.200)", "Point2D"), (None, "without a program")):
        rows = painted_rows([0]).remove_columns("program").add_column("program", [program])
        with pytest.raises(CommandError, match=message):
            load_small(rows)


def test_an_unfinished_model_and_a_missing_split_are_named(
    trained: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate_ns_vqa.main(["--model", str(tmp_path), "--dataset", str(dataset)]) == 2
    assert "holds no finished NS-VQA" in capsys.readouterr().err
    assert evaluate_ns_vqa.main(["--model", str(trained), "--dataset", str(dataset), "--split", "val_no"]) == 2
    assert "'val_no'" in capsys.readouterr().err
    for flag, value in (("--batch_size", "0"), ("--device", "abacus")):
        assert evaluate_ns_vqa.main(["--model", str(trained), "--dataset", str(dataset), flag, value]) == 2
        assert f"{flag}" in (said := capsys.readouterr().err) and value in said


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    folder = write_dataset(painted_rows([0]), tmp_path / "damaged")
    (shard,) = folder.rglob("*.parquet")
    content = bytearray(shard.read_bytes())
    content[4:60] = bytes(56)  # the head of the first page
    shard.write_bytes(content)
    with pytest.raises(CommandError, match=rf"{shard.name} is damaged"):
        load_instance_scenes(str(folder), None, "train", (HEIGHT, WIDTH), with_masks=True)


def test_pictures_of_another_size_are_stretched() -> None:
    scenes = instance_scenes(painted_rows([0]), (HEIGHT // 2, WIDTH // 2), True, "painted")
    assert scenes.images.shape == (1, 3, HEIGHT // 2, WIDTH // 2)
    assert scenes.masks.unique().tolist() == load_small(painted_rows([0])).masks.unique().tolist()


@pytest.mark.parametrize("recipe", ["ns_vqa.yaml", "ns_vqa_published.yaml"])
def test_the_recipes_have_known_settings_alone(recipe: str) -> None:
    arguments = ["--config", str(RECIPES / recipe), "--dataset", "data", "--output_dir", "out", "--minutes", "3"]
    (parsed,) = train_ns_vqa.TrlParser((NSVQAArguments,)).parse_args_and_config(arguments)
    assert parsed.dataset_config == "clevr_cogent" and parsed.minutes == 3
    assert parsed.attribute_learning_rate == 2e-3 and parsed.attribute_batch_size == 50
