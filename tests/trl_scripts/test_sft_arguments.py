"""`sft.py` refuses in one line what it cannot do, leaves alone what it does not need, and says what it has done."""

import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest
import tiny
from test_number_training import save_tower
from test_sft_push import SWITCHES, save_base, save_scenes

from modeling_igllm import IGLLMForSceneProgram
from trl_scripts import sft
from trl_scripts.scene_trainer import SceneSFTTrainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, a tower and four scenes."""
    folder = tmp_path_factory.mktemp("sft_arguments")
    save_base(folder / "base")
    save_tower(folder / "tower")
    save_scenes(folder / "scenes")
    return folder


@pytest.fixture(autouse=True)
def own_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """datasets takes folders of one name for the same."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")


def run_sft(folder: Path, out: Path, **switches: Any) -> int:
    """Exit code of one step of `sft.py` on the scenes, of the base unless it is told otherwise."""
    places = {"model_name_or_path": str(folder / "base"), "dataset": str(folder / "scenes"), "output_dir": str(out)}
    out.with_suffix(".yaml").write_text(json.dumps(SWITCHES | {"max_steps": 1} | places | switches))  # JSON is YAML
    return sft.main(["--config", str(out.with_suffix(".yaml"))])


LORA = {"use_peft": True, "lora_r": 2, "feature_cache": "FOLDER/features"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to begin with": ({"model_name_or_path": None}, "give either --tower or --model_name_or_path, got None"),
    "two beginnings": ({"tower": "FOLDER/tower"}, "give either --tower or --model_name_or_path, got '"),
    "no such model": ({"model_name_or_path": "FOLDER/none"}, "FOLDER/none is no checkpoint folder"),
    "no such tower": (
        {"model_name_or_path": None, "tower": "FOLDER/none"},
        "cannot build a model on the tower 'FOLDER/none'",
    ),
    "no scenes to train on": ({"max_train_scenes": 0}, "cannot take the first 0 rows of split 'train'"),
    "no scenes to score": (
        {"max_eval_scenes": 0, "eval_strategy": "steps"},
        "cannot take the first 0 rows of split 'val_id'",
    ),
    "a folder that cannot be made": (
        {"output_dir": "FOLDER/base/config.json/out"},
        "cannot write to FOLDER/base/config.json/out: [Errno 20] Not a directory: ",
    ),
    "a weight below 0": ({"float_w": -1.0}, "--float_w must be 0 or positive, got -1.0"),
    "a weight of rotations below 0": ({"rotation_w": -1.0}, "--rotation_w must be 0 or positive, got -1.0"),
    "a digit weight below 0": (
        {"number_token_loss_weight": -0.5},
        "--number_token_loss_weight must be 0 or positive, got -0.5",
    ),
    "a digit weight that is no number": (
        {"number_token_loss_weight": float("nan")},
        "--number_token_loss_weight must be 0 or positive, got nan",
    ),
    "a digit weight without digits": (
        {"number_token_loss_weight": 0.5},
        "number_token_loss_weight=0.5 is for digit text, but the model has number_head='tanh_mlp_gelu'",
    ),
    "a learning rate below 0": (
        {"number_head_learning_rate": -1e-3},
        "--number_head_learning_rate must be 0 or positive, got -0.001",
    ),
    "no copies": ({"feature_cache": "FOLDER/features", "feature_copies": 0}, "must be at least 1, got 0"),
    "copies without a cache": ({"feature_copies": 2}, "--feature_copies 2 are copies in the cache: give the folder"),
    "pairs by several words": ({"fair_pairs": True, "sample_synonyms": True}, "leave out --sample_synonyms"),
    "an unknown head": (
        {"number_head": "gausian"},
        "--number_head must be one of none, linear, tanh_mlp_gelu, binned, gaussian, mixture, got 'gausian'",
    ),
    "an unknown rotation": ({"rotation": "nope"}, "--rotation must be one of euler_int, euler, aa, quat, 6d, 9d, got"),
    "a token without an adapter": ({"train_number_token": True}, "give --use_peft, too"),
    "an adapter on a tower whose features are cached": (
        LORA | {"lora_target_modules": ["q_proj", "laterals.0"]},
        "LoRA would train the vision tower (model.vision_tower.laterals.0, 1 layers in all): with --feature_cache",
    ),
    "a tower beside the adapter": (
        LORA | {"lora_modules_to_save": ["numeric_head", "multi_modal_projector", "vision_tower.output"]},
        "LoRA would train the vision tower (model.vision_tower.output, 1 layers in all): with --feature_cache",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_one_line(
    case: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    switches, message = REFUSED[case]
    switches = json.loads(json.dumps(switches).replace("FOLDER", str(folder)))
    assert run_sft(folder, tmp_path / "out", **switches) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert ("choose another --output_dir" in line) == ("output_dir" in switches)
    assert line.startswith("sft.py: ") and message.replace("FOLDER", str(folder)) in line
    assert not (tmp_path / "out" / "config.json").exists()


def test_training_goes_on_from_the_checkpoint_that_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_sft(folder, tmp_path / "out", max_steps=2) == 0
    begun: list[int] = []
    step = SceneSFTTrainer.training_step

    def training_step(self: SceneSFTTrainer, *args: Any, **kwargs: Any) -> Any:
        begun.append(self.state.global_step)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(SceneSFTTrainer, "training_step", training_step)
    first = {"max_steps": 2, "resume_from_checkpoint": str(tmp_path / "out" / "checkpoint-1")}
    assert run_sft(folder, tmp_path / "out", **first) == 0
    assert begun == [1]


BEGUN_WITH = {
    "other scenes": ({"dataset": "FOLDER/other"}, "train_rows_sha256='"),
    "fewer scenes": ({"max_train_scenes": 3}, "max_train_scenes=None, now it is 3"),
    "mirror images": ({"mirror": True}, "mirror=False, now it is True"),
    "another loss": ({"float_w": 0.5}, "float_w=None, now it is 0.5"),
    "another base": ({"model_name_or_path": "FOLDER/again"}, "model_name_or_path='FOLDER/base', now it is '"),
    "another seed": ({"seed": 5}, "seed=0, now it is 5"),
    "another schedule": ({"lr_scheduler_type": "cosine"}, "lr_scheduler_type='linear', now it is 'cosine'"),
    "a warm-up": ({"warmup_steps": 1}, "warmup_steps=0, now it is 1"),
    "another momentum": ({"adam_beta2": 0.5}, "adam_beta2=0.999, now it is 0.5"),
    "another clip": ({"max_grad_norm": 0.5}, "max_grad_norm=1.0, now it is 0.5"),
    "another precision": ({"bf16": True}, "bf16=False, now it is True"),
    "another order": (
        {"train_sampling_strategy": "group_by_length"},
        "train_sampling_strategy='random', now it is 'group_by_length'",
    ),
    "an adapter": ({"use_peft": True, "lora_r": 2}, "use_peft=False, now it is True"),
}


@pytest.fixture(scope="module")
def begun(folder: Path) -> Path:
    """The output of one step; beside the base a copy of it, and other scenes."""
    shutil.copytree(folder / "base", folder / "again")
    save_scenes(folder / "other", seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        assert run_sft(folder, folder / "begun", seed=0) == 0
    return folder / "begun"


@pytest.mark.parametrize("case", BEGUN_WITH)
def test_training_goes_on_with_what_it_was_begun_with_alone(
    case: str, folder: Path, begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    switches, message = BEGUN_WITH[case]
    before = (begun / "scene_arguments.json").read_text()
    switches = {"seed": 0} | json.loads(json.dumps(switches).replace("FOLDER", str(folder)))
    assert run_sft(folder, begun, max_steps=2, **switches) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"sft.py: {begun} was begun with {message.replace('FOLDER', str(folder))}" in line
    assert (begun / "scene_arguments.json").read_text() == before


def test_an_adapter_does_not_go_on_as_a_whole_model(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_sft(folder, tmp_path / "out", use_peft=True, lora_r=2) == 0
    assert run_sft(folder, tmp_path / "out", max_steps=2) == 2
    assert "was begun with use_peft=True, now it is False" in capsys.readouterr().err.splitlines()[-1]


def test_scenes_may_be_moved_and_a_base_be_named_in_another_way(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_sft(folder, tmp_path / "out") == 0
    shutil.copytree(folder / "scenes", tmp_path / "moved")
    monkeypatch.chdir(folder)
    places = {"dataset": str(tmp_path / "moved"), "model_name_or_path": "./base"}
    assert run_sft(folder, tmp_path / "out", max_steps=2, **places) == 0
    assert json.loads((tmp_path / "out" / "trainer_state.json").read_text())["global_step"] == 2


def test_where_features_are_kept_may_change(folder: Path, tmp_path: Path) -> None:
    for number, steps in enumerate((1, 2)):
        cache = str(tmp_path / f"features{number}")
        assert run_sft(folder, tmp_path / "out", max_steps=steps, feature_cache=cache) == 0
    assert json.loads((tmp_path / "out" / "trainer_state.json").read_text())["global_step"] == 2


def test_training_does_not_go_on_without_its_schedule(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_sft(folder, tmp_path / "out", save_only_model=True) == 0
    assert run_sft(folder, tmp_path / "out", max_steps=2) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"{tmp_path / 'out' / 'checkpoint-1'} holds no state of optimizer and schedule" in line


def test_a_split_that_nobody_looks_at_may_be_missing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_sft(folder, tmp_path / "out", eval_split="val_ood") == 0
    assert run_sft(folder, tmp_path / "other", eval_split="val_ood", eval_strategy="steps") == 2
    assert "cannot load split 'val_ood'" in capsys.readouterr().err.splitlines()[-1]


def test_the_card_says_how_a_fine_tuned_base_says_numbers(folder: Path, tmp_path: Path) -> None:
    processor = tiny.make_processor(rotation="quat")
    fields = {"number_head": "gaussian", "number_ranges": tiny.NUMBER_RANGES, "feed_numbers_back": True}
    tiny.make_model(processor, **fields).save_pretrained(tmp_path / "base")
    processor.save_pretrained(tmp_path / "base")
    assert run_sft(folder, tmp_path / "out", model_name_or_path=str(tmp_path / "base")) == 0
    used = json.loads((tmp_path / "out" / "scene_arguments.json").read_text())
    settings = {name: used[name] for name in ("number_head", "scale_numbers", "feed_numbers_back", "rotation")}
    expected = {"number_head": "gaussian", "scale_numbers": True, "feed_numbers_back": True, "rotation": "quat"}
    assert settings == expected
    card = (tmp_path / "out" / "README.md").read_text()
    assert all(f"| {name} | `{value}` |" in card for name, value in expected.items())
    assert IGLLMForSceneProgram.from_pretrained(tmp_path / "out").config.feed_numbers_back


def test_layers_of_the_tower_may_be_trained_where_images_go_through_it(folder: Path, tmp_path: Path) -> None:
    switches = {"use_peft": True, "lora_r": 2, "lora_target_modules": ["q_proj", "laterals.0"]}
    assert run_sft(folder, tmp_path / "out", **switches) == 0
