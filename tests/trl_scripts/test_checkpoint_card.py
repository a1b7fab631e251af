"""The card of a checkpoint says what was measured, in formats that huggingface_hub reads, or nothing is written."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from huggingface_hub import ModelCard, metadata_load
from PIL import Image

from modeling_igllm import IGLLMForSceneProgram
from trl_scripts import checkpoint_card
from trl_scripts.checkpoint_card import (
    PLACEHOLDER,
    PUBLISHED,
    ROBUSTNESS,
    STRICT,
    index_entries,
    main,
    make_card,
    read_results,
    result_entries,
    write_card,
)
from trl_scripts.errors import CommandError
from trl_scripts.measured_files import MEASURED_BY, read_measured

SHOWN = ("size", "color", "material", "shape", "objects")


def split_report(split: str, first: float) -> dict[str, Any]:
    """Scores that all differ: a figure in the wrong place is seen."""
    names = [f"strict/{name}{end}" for name in (*STRICT, "rotation_deg") for end in ("", "_lo", "_hi")]
    names += [f"published/{name}" for name in PUBLISHED]
    names += [f"camera/{name}" for name in ("reprojection_px", "floor_l2", "floor_reprojection_px")]
    scores = {name: round(first + 0.013 * index, 3) for index, name in enumerate(names)}
    return {
        "config": "clevr_cogent",
        "split": split,
        "date": "2026-01-02",
        "seeds": [1],
        "resolution": [160, 120],
        "bpy_versions": ["4.5.15 LTS"],
        "scenes": 500,
        "scores": scores,
    }


def measured_files() -> dict[str, Any]:
    """What the measuring commands write."""
    run = {"what": "tower", "minutes": 61.0, "epochs": 12.5, "steps": 4321, "peak_memory_mb": None}
    image = {"predicted": 6, "true": 5, **{name: index for index, name in enumerate(SHOWN)}}
    differences = {**dict.fromkeys(ROBUSTNESS, 0.5), "count_exact": -1.25, "l2": -0.004}
    return {
        "training": {
            "summary": "It reads.",
            "machine": "2 CPU cores",
            "scenes": 20000,
            "runs": [run, {**run, "what": "language model and head", "peak_memory_mb": 1234.0}],
            "commands": "igllm build clevr --out data",
        },
        "scenes": {"splits": [split_report("val_id", 0.11), split_report("val_ood", 3.11)]},
        "reading": {
            "pictures": 16,
            "median_seconds": 0.0512,
            "slowest_seconds": 0.0934,
            "median_cpu_seconds": 0.0498,
            "seconds_in_batch": 0.0321,
            "peak_memory_mb": 467.0,
            "cores": 2,
            "threads": 1,
            "system": "Linux x86_64",
            "load_average": 0.1,
        },
        "real_images": {"images": {"clevr_1.png": image, "clevr_2.png": image}, "total": {**image, "true": 10}},
        "robustness": {
            "family": "clevr_cogent",
            "split": "val_id",
            "seed": 0,
            "scenes": 100,
            "samples": 16,
            "plain": dict.fromkeys(ROBUSTNESS, 0.9),
            "variants": {
                "jpeg_40": {"what": "JPEG, quality 40", "difference": differences},
                "rough": {"what": "rougher materials", "difference": dict.fromkeys(differences, 0.0)},
            },
        },
    }


def write_files(checkpoint: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        (checkpoint / "evaluation" / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def checkpoint(tmp_path: Path, model: IGLLMForSceneProgram, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as make_checkpoint and the measuring commands leave it; its model is loaded already."""
    folder = tmp_path / "ig-llm-test"
    (folder / "evaluation").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(1_250_000))
    Image.new("RGB", (8, 6)).save(folder / "example.png")
    write_files(folder, measured_files())
    monkeypatch.setattr(checkpoint_card.IGLLMForSceneProgram, "from_pretrained", lambda *_: model)
    return folder


def test_the_index_of_the_card_comes_back_as_it_was(checkpoint: Path) -> None:
    write_card(checkpoint, "user/scenes")
    loaded = ModelCard.load(checkpoint / "README.md")
    entries = index_entries(read_measured(checkpoint), "user/scenes")
    assert loaded.data.eval_results == entries
    assert len(entries) == 2 * len(STRICT)
    head = metadata_load(checkpoint / "README.md")
    assert head is not None
    assert head["license"] == "apache-2.0" and head["pipeline_tag"] == "image-text-to-text"
    index = head["model-index"]
    assert index[0]["name"] == "ig-llm-test"
    assert [result["dataset"]["split"] for result in index[0]["results"]] == ["val_id", "val_ood"]


def test_the_card_says_how_often_a_picture_is_read(
    checkpoint: Path, model: IGLLMForSceneProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_card(checkpoint)
    assert "views" not in (checkpoint / "README.md").read_text()
    monkeypatch.setattr(model.config, "view_shift", 3)
    write_card(checkpoint)
    assert "five views of the picture: as it is, and shifted by 3 pixels" in (checkpoint / "README.md").read_text()


def test_the_card_says_which_blenders_were_tried(checkpoint: Path) -> None:
    write_card(checkpoint)
    assert "Other versions of Blender were not tried" in (checkpoint / "README.md").read_text()
    files = measured_files()
    variants = files["robustness"]["variants"]
    variants["Blender 4.2.1"] = {**next(iter(variants.values())), "what": "Blender 4.2.1"}
    write_files(checkpoint, files)
    write_card(checkpoint)
    card = (checkpoint / "README.md").read_text()
    assert "| Blender 4.2.1 |" in card and "Other versions of Blender" not in card
    assert "robustness checkpoints/ig-llm-test --built other_1" in card


def test_results_come_back_as_they_were(checkpoint: Path) -> None:
    write_card(checkpoint, "user/scenes")
    entries = read_results(checkpoint / ".eval_results" / "ig_llm.yaml")
    assert entries == result_entries(read_measured(checkpoint), "user/scenes")
    first = measured_files()["scenes"]["splits"][0]["scores"]
    assert entries[0].value == first["strict/count_exact"]
    assert entries[0].dataset_id == "user/scenes" and entries[0].task_id == "clevr_cogent_val_id_count_exact"
    assert len({entry.task_id for entry in entries}) == len(entries)  # the Hub keeps one value of a task
    assert entries[6].task_id == "clevr_cogent_val_id_precision_at_0.5m"
    assert entries[0].notes is not None
    assert entries[0].notes.startswith("strict protocol, 500 scenes of seed 1, 95 % interval 0.1")


def test_a_placeholder_is_said_to_be_one_and_a_dataset_is_not(checkpoint: Path) -> None:
    for benchmark, is_said in ((PLACEHOLDER, True), ("user/scenes", False)):
        write_card(checkpoint, benchmark)
        text = " ".join((checkpoint / "README.md").read_text().split())
        assert (f"both as results on `{benchmark}`. That name is a placeholder" in text) == is_said
        assert (f"both as results on `{benchmark}`, the scenes on the Hub." in text) != is_said
        notes = [str(entry.notes) for entry in read_results(checkpoint / ".eval_results" / "ig_llm.yaml")]
        assert all(("not published" in note and "placeholder" in note) == is_said for note in notes)


def test_the_results_are_in_the_layout_of_the_hub(checkpoint: Path) -> None:
    write_card(checkpoint, "user/scenes")
    raw = yaml.safe_load((checkpoint / ".eval_results" / "ig_llm.yaml").read_text())
    assert set(raw[0]) == {"dataset", "value", "date", "notes"}
    assert raw[0]["date"] == "2026-01-02" and isinstance(raw[0]["value"], float)


def test_every_score_of_every_split_is_in_the_card(checkpoint: Path) -> None:
    write_card(checkpoint)
    card = (checkpoint / "README.md").read_text()
    for report in measured_files()["scenes"]["splits"]:
        for name in STRICT:
            value, low, high = (report["scores"][f"strict/{name}{end}"] for end in ("", "_lo", "_hi"))
            assert f"| `strict/{name}` | {value:.3f} | {low:.3f} to {high:.3f} |" in card
        for name in PUBLISHED:
            assert f"| `published/{name}` | {report['scores'][f'published/{name}']:.3f} | none |" in card
        assert f"{report['scores']['camera/floor_l2']:.3f} m off" in card
    assert "| tower | 61 | 12.5 | 4,321 | not noted |" in card
    assert "| language model and head | 61 | 12.5 | 4,321 | 1,234 MB |" in card
    assert "| all | 6 / 10 | 0 | 1 | 2 | 3 | 4 |" in card
    assert "| JPEG, quality 40 | -1.2 | +0.5 | +0.5 | +0.5 | +0.5 | +0.5 | +0.5 | -0.004 |" in card
    assert (
        "20,000 scenes" in card and "(1.2 MB)" in card and "| 0.05 s, of which 0.05 s on" in card and "467 MB" in card
    )


def test_the_card_has_no_empty_cell_and_no_leftover_of_its_template(checkpoint: Path) -> None:
    write_card(checkpoint)
    card = (checkpoint / "README.md").read_text()
    assert not re.search(r"\|[ \t]*\|", card)
    assert "{{" not in card and "{%" not in card and "None" not in card and "nan" not in card.split()


def leaves(content: dict[str, Any], path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every figure; a list of figures is one."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        elif isinstance(value, list) and isinstance(value[0], dict):
            for index, item in enumerate(value):
                yield from leaves(item, (*path, key, index))
        else:
            yield (*path, key)


def spoilt(files: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy in which a value is another one, or gone."""
    files = copy.deepcopy(files)
    place = files
    for key in path[:-1]:
        place = place[key]
    if value is None:
        place.pop(path[-1])
    else:
        place[path[-1]] = value
    return files


def refused_without(checkpoint: Path, whole: dict[str, Any], path: tuple[Any, ...], value: object) -> None:
    name = path[0]
    write_files(checkpoint, {name: spoilt(whole, path, value)[name]})
    with pytest.raises(CommandError, match=f"evaluation/{name}.json has no figure .*{MEASURED_BY[name]}"):
        make_card(checkpoint, read_measured(checkpoint), "user/scenes")
    write_files(checkpoint, {name: whole[name]})


def test_a_card_without_one_of_its_figures_is_refused(checkpoint: Path) -> None:
    """Every figure in turn is taken away."""
    whole = measured_files()
    del whole["scenes"]["splits"][1]
    write_files(checkpoint, whole)
    for path in leaves(whole):
        if path[-1] not in ("peak_memory_mb", "strict/rotation_deg_lo") or path[0] == "reading":
            refused_without(checkpoint, whole, path, None)


@pytest.mark.parametrize("value", ["", float("nan"), True])
def test_a_figure_that_is_none_is_refused(checkpoint: Path, value: object) -> None:
    whole = measured_files()
    for path in (
        ("training", "scenes"),
        ("training", "runs", 0, "minutes"),
        ("scenes", "splits", 1, "scores", "strict/l2"),
        ("scenes", "splits", 0, "bpy_versions"),
        ("real_images", "total", "color"),
        ("robustness", "variants", "rough", "what"),
    ):
        refused_without(checkpoint, whole, path, value)


@pytest.mark.parametrize("name", MEASURED_BY)
def test_a_file_that_was_not_measured_is_named_with_its_command(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (checkpoint / "evaluation" / f"{name}.json").unlink()
    assert main([str(checkpoint)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"checkpoint_card: there is no {checkpoint}/evaluation/{name}.json")
    assert MEASURED_BY[name] in line
    assert not (checkpoint / "README.md").exists() and not (checkpoint / ".eval_results").exists()


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[1]", "holds no JSON object")])
def test_a_damaged_file_is_named(checkpoint: Path, text: str, message: str) -> None:
    (checkpoint / "evaluation" / "reading.json").write_text(text)
    with pytest.raises(CommandError, match=rf"reading.json {message}.*trl_scripts.measure_checkpoint"):
        write_card(checkpoint)


def test_a_card_without_its_picture_is_refused(checkpoint: Path) -> None:
    (checkpoint / "example.png").unlink()
    with pytest.raises(CommandError, match=r"example.png: .*measure_checkpoint"):
        write_card(checkpoint)
    assert not (checkpoint / "README.md").exists()


def test_the_verdict_on_yaw_is_measured(checkpoint: Path) -> None:
    files = measured_files()
    for high, verdict in ((14.9, "is learned"), (15.1, "is not learned")):
        files["scenes"]["splits"][0]["scores"]["strict/rotation_deg_hi"] = high
        write_files(checkpoint, files)
        assert f"The yaw of cubes {verdict}:" in str(make_card(checkpoint, read_measured(checkpoint), "a/b"))


def test_tiny_model_is_described_by_its_configuration(checkpoint: Path, model: IGLLMForSceneProgram) -> None:
    card = str(make_card(checkpoint, read_measured(checkpoint), "a/b"))
    assert f"{model.num_parameters():,} parameters" in card
    assert f"resized to {tiny.WIDTH}x{tiny.HEIGHT} pixels" in card
    assert f"numeric head `{model.config.number_head}`" in " ".join(card.split())
