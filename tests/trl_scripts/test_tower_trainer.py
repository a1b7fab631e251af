"""Training by the clock, averaged weights, and runs that were killed."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest
import tiny
import torch
from datasets import Dataset
from safetensors.torch import load_file
from test_tower_dataset import family_row
from towers import make_tower
from transformers import TrainingArguments, set_seed
from trl import TrlParser

from dataset_builders.schema import FEATURES
from modeling_igllm import SHAPES
from trl_scripts import pretrain_tower
from trl_scripts.image_augmentation import PhotometricAugmentation
from trl_scripts.tower_dataset import TowerCollator, TowerDataset
from trl_scripts.tower_pretraining import SceneTowerForPreTraining
from trl_scripts.tower_trainer import TowerTrainer
from trl_scripts.whole_checkpoints import last_whole_checkpoint

SCENES, STEPS_PER_EPOCH = 6, 3
RECIPES = Path(pretrain_tower.__file__).parent / "recipes"


def make_dataset() -> TowerDataset:
    rows = [family_row("clevr", index=index) for index in range(SCENES)]
    image_processor = tiny.make_processor().image_processor
    return TowerDataset(Dataset.from_list(rows, features=FEATURES), tiny.tower_config(), image_processor)


class StepClock:
    """A minute goes by with every step."""

    trainer: TowerTrainer

    def __call__(self) -> float:
        return 60.0 * self.trainer.state.global_step


def make_trainer(out: Path, minutes: float | None = None, ema_decay: float = 0.9, **arguments: Any) -> TowerTrainer:
    set_seed(0)
    clock = StepClock()
    options: dict[str, Any] = {"num_train_epochs": 1000, "save_steps": 1, "logging_steps": 1, "learning_rate": 1e-2}
    dataset = make_dataset()
    trainer = TowerTrainer(
        model=make_tower(),
        args=TrainingArguments(
            output_dir=str(out),
            per_device_train_batch_size=SCENES // STEPS_PER_EPOCH,
            remove_unused_columns=False,
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            **options | arguments,
        ),
        train_dataset=dataset,
        data_collator=TowerCollator(
            dataset.config, tiny.make_processor().image_processor, PhotometricAugmentation(), seed=0
        ),
        minutes=minutes,
        ema_decay=ema_decay,
        clock=clock,
    )
    clock.trainer = trainer
    return trainer


def weights(model: SceneTowerForPreTraining) -> dict[str, torch.Tensor]:
    return {name: values.clone() for name, values in model.state_dict().items()}


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_the_schedule_is_a_cosine_of_the_time(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, minutes=8, warmup_steps=2, save_strategy="no")
    trainer.train()
    assert trainer.state.global_step == 8
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    # What the step before the logged one has left: the clock is read between the two.
    warmup = [1 / 3, 2 / 3, *[1.0] * 6]
    expected = [
        1e-2 * factor * (1 + math.cos(math.pi * max(0, step - 1) / 8)) / 2 for step, factor in enumerate(warmup)
    ]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("killed_after", [2, 3])  # within an epoch, and at its end
def test_a_resumed_run_equals_an_undisturbed_one(tmp_path: Path, killed_after: int) -> None:
    whole = make_trainer(tmp_path / "whole", minutes=5, save_strategy="no")
    whole.train()
    first = make_trainer(tmp_path / "parts", minutes=5)
    first.args.max_steps = killed_after
    first.train()
    for step, state in {9: None, 10: "", 11: '{"global_step": 11, "log_history": ['}.items():
        (tmp_path / "parts" / f"checkpoint-{step}").mkdir()  # of a run that was killed while it saved
        if state is not None:
            (tmp_path / "parts" / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    checkpoint = last_whole_checkpoint(tmp_path / "parts")
    assert checkpoint == str(tmp_path / "parts" / f"checkpoint-{killed_after}")
    resumed = make_trainer(tmp_path / "parts", minutes=5, save_strategy="no")
    resumed.train(resume_from_checkpoint=checkpoint)
    assert resumed.state.global_step == whole.state.global_step == 5
    assert_equal(weights(whole.model), weights(resumed.model))
    assert_equal(weights(whole.averaged_model), weights(resumed.averaged_model))


def test_the_average_is_an_exponential_moving_one(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=4, ema_decay=0.15)
    trainer.train()
    name = "heads.weight"
    steps = [load_file(tmp_path / f"checkpoint-{step}" / "model.safetensors")[name] for step in range(1, 5)]
    expected = steps[0]
    for count, step in enumerate(steps[1:], start=1):
        decay = min(0.15, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * step
    torch.testing.assert_close(trainer.averaged_model.heads.weight, expected)
    assert not torch.equal(trainer.averaged_model.heads.weight, trainer.model.heads.weight)
    assert trainer.averaged_model.scene_tower.stem[1].num_batches_tracked == 4


def test_without_decay_the_last_weights_are_kept(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=3, save_strategy="no", ema_decay=0.0)
    trainer.train()
    assert_equal(weights(trainer.model), weights(trainer.averaged_model))


def test_every_target_s_loss_is_logged(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=2, save_strategy="no")
    trainer.train()
    entry = trainer.state.log_history[0]
    parts = {name: value for name, value in entry.items() if name.startswith("loss_")}
    assert {"loss_heatmap", "loss_shape", "loss_position", "loss_yaw"} <= set(parts)
    assert sum(parts.values()) == pytest.approx(entry["loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"minutes": 0}, "got 0"), ({"minutes": math.nan}, "got nan"), ({"ema_decay": 1.0}, "got 1.0")],
)
def test_settings_out_of_range_are_refused(tmp_path: Path, change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_trainer(tmp_path, **change)


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("tower_*.yaml")), ids=lambda recipe: recipe.stem)
def test_recipes_have_known_settings_alone(tmp_path: Path, recipe: Path) -> None:
    parser = TrlParser((pretrain_tower.TowerArguments, TrainingArguments))
    command_line = ["--config", str(recipe), "--dataset", "data", "--output_dir", str(tmp_path)]
    arguments, training = parser.parse_args_and_config(command_line)
    assert arguments.color_supervision == ("rgb" if recipe.stem == "tower_broad" else "name")
    assert training.learning_rate == 2e-3


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training with its checkpoints."""
    out = tmp_path_factory.mktemp("begun") / "out"
    with pytest.MonkeyPatch.context() as patch:
        assert run_script(patch, out) == 0
    return out


def run_script(monkeypatch: pytest.MonkeyPatch, out: Path, *flags: str) -> int:
    """Exit code of `pretrain_tower.py` on four scenes, three steps."""

    def load(dataset: str, config: str, split: str, limit: int | None = None) -> Dataset:
        family, first = "so3" if split == "val_posed" else "clevr", 4 if dataset == "other" else 0
        return Dataset.from_list([family_row(family, index=first + index) for index in range(4)], features=FEATURES)

    monkeypatch.setattr(pretrain_tower, "load_tower_rows", load)
    arguments = "--dataset data --image_height 40 --image_width 64 --max_steps 3 --save_steps 2 --use_cpu true"
    arguments += f" --report_to none --output_dir {out} --eval_splits train val_id"
    return pretrain_tower.main([*arguments.split(), *flags])


def test_a_loss_that_is_no_number_stops_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--learning_rate", "1e38", "--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "2"]
    assert run_script(monkeypatch, tmp_path / "out", *flags) == 2
    (report,) = (tmp_path / "out").glob("non_finite_step_*.json")
    message = capsys.readouterr().err.splitlines()[-1]
    content = json.loads(report.read_text())
    assert re.match(rf"pretrain_tower.py: the (loss|gradient) of step {content['step']} is (nan|inf)", message)
    assert str(report) in message and "in another --output_dir" in message
    for row in content["rows"]:
        expected = family_row("clevr", index=row["index"])["scene"]["objects"]
        assert [item["loc"] for item in row["scene"]["objects"]] == [pytest.approx(item["loc"]) for item in expected]
    assert len(content["rows"]) == (2 if "loss" in content else 4)
    assert len(load_file(report.with_suffix(".safetensors"))["pixel_values"]) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--eval_splits", "val_id", "val_ood"], "cannot load split 'val_ood' of"),
        (["--dataset", "/nowhere"], "cannot load split 'train' of '/nowhere'"),
        (["--minutes", "1"], "--minutes and --max_steps both limit the training"),
        (["--output_dir", "/dev/null/out"], "cannot write to /dev/null/out: "),
        (["--max_train_scenes", "0"], "cannot take the first 0 rows of split 'train'"),
        (["--minutes", "nan", "--max_steps", "-1"], "--minutes must be finite and above 0, got nan"),
        (["--minutes", "0", "--max_steps", "-1"], "--minutes must be finite and above 0, got 0.0"),
        (["--ema_decay", "1"], "--ema_decay must be at least 0 and below 1, got 1.0"),
        (["--regression_beta", "-1"], "--regression_beta must be finite and above 0, got -1.0"),
        (["--rgb_unit", "0"], "--rgb_unit must be finite and above 0, got 0.0"),
        (["--rgb_unit", "inf"], "--rgb_unit must be finite and above 0, got inf"),
        (["--image_height", "0"], "--image_height must be at least 1, got 0"),
        (["--tower", "/nowhere"], "cannot begin with '/nowhere': "),
        (["--dataset_config", "pictures"], "has no column 'scene', only image: a tower learns from scenes of"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_training(
    flags: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = Dataset.from_list([family_row("clevr", index=index) for index in range(2)], features=FEATURES)
    for config, part in (("clevr", rows), ("pictures", rows.select_columns("image"))):
        for split in ("train", "val_id"):
            part.to_parquet(tmp_path / "data" / config / f"{split}.parquet")
    files = "data_files: [{split: train, path: NAME/train.parquet}, {split: val_id, path: NAME/val_id.parquet}]"
    configs = [f"- config_name: {name}\n  {files.replace('NAME', name)}\n" for name in ("clevr", "pictures")]
    (tmp_path / "data" / "README.md").write_text(f"---\nconfigs:\n{''.join(configs)}---\n")
    command = f"--dataset {tmp_path / 'data'} --max_steps 1 --use_cpu true --output_dir {tmp_path / 'out'}"
    assert pretrain_tower.main([*command.split(), *flags]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("pretrain_tower.py: ") and message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--dataset", "other", "train_rows_sha256='"),
        ("--dataset_config", "clevr_cogent", "dataset_config='clevr', now it is 'clevr_cogent'"),
        ("--image_height", "64", "image_height=40, now it is 64"),
        ("--color_supervision", "rgb", "color_supervision='name', now it is 'rgb'"),
        ("--regression_beta", "0.1", "regression_beta=1.0, now it is 0.1"),
        ("--rgb_unit", "0.1", "rgb_unit=1.0, now it is 0.1"),
        ("--ema_decay", "0.5", "ema_decay=0.999, now it is 0.5"),
        ("--learning_rate", "0.5", "learning_rate=5e-05, now it is 0.5"),
        ("--lr_scheduler_type", "cosine", "lr_scheduler_type='linear', now it is 'cosine'"),
        ("--adam_beta2", "0.5", "adam_beta2=0.999, now it is 0.5"),
        ("--max_grad_norm", "5", "max_grad_norm=1.0, now it is 5.0"),
        ("--bf16", "true", "bf16=False, now it is True"),
    ],
)
def test_a_training_goes_on_with_its_own_arguments_alone(
    flag: str,
    value: str,
    message: str,
    begun: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    noted = (begun / "tower_arguments.json").read_text()
    assert run_script(monkeypatch, begun, flag, value) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"pretrain_tower.py: {begun} was begun with {message}" in line and "another --output_dir" in line
    assert (begun / "tower_arguments.json").read_text() == noted


def test_how_long_and_on_what_it_is_scored_and_where_scenes_lie_may_change(
    begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_script(monkeypatch, begun, "--max_steps", "4", "--eval_splits", "val_id", "--dataset", "moved") == 0
    assert json.loads((begun / "trainer_state.json").read_text())["global_step"] == 4
    assert json.loads((begun / "tower_arguments.json").read_text())["eval_splits"] == ["val_id"]


def test_a_split_with_a_shape_that_is_not_learned_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(monkeypatch, tmp_path / "out", "--eval_splits", "val_id", "val_posed") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    known = f"the tower knows {', '.join(SHAPES)} alone"
    assert f"pretrain_tower.py: split 'val_posed' of 'data' has the shape 'airplane', {known}" in line
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_checkpoint_may_be_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_script(monkeypatch, tmp_path / "out", "--save_strategy", "no") == 0
    assert run_script(monkeypatch, tmp_path / "out", "--rgb_unit", "0.1") == 0
    assert json.loads((tmp_path / "out" / "tower_arguments.json").read_text())["rgb_unit"] == 0.1


def test_a_run_begins_with_the_weights_of_another(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert run_script(monkeypatch, out, "--tower", str(begun), "--learning_rate", "0", "--ema_decay", "0") == 0
    before, after = (
        dict(SceneTowerForPreTraining.from_pretrained(place).named_parameters()) for place in (begun, out)
    )
    assert all(torch.equal(weights, before[name]) for name, weights in after.items())
    assert json.loads((out / "tower_arguments.json").read_text())["tower"] == str(begun)


def test_a_tower_of_other_colors_or_layers_is_no_beginning(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(monkeypatch, tmp_path / "out", "--tower", str(begun), "--color_supervision", "rgb") == 2
    message = f"{begun} was trained with color_supervision=name, not rgb: begin with another --tower"
    assert message in capsys.readouterr().err
    make_tower(image_size=[40, 64], stem_channels=2, shapes=list(SHAPES)).save_pretrained(tmp_path / "narrow")
    assert run_script(monkeypatch, tmp_path / "out", "--tower", str(tmp_path / "narrow")) == 2
    assert "narrow was trained with stem_channels=2, not 48" in capsys.readouterr().err


def test_a_run_goes_on_without_the_one_that_it_began_with(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, out = tmp_path / "first", tmp_path / "out"
    shutil.copytree(begun, first)
    assert run_script(monkeypatch, out, "--tower", str(first)) == 0
    shutil.rmtree(first)
    assert run_script(monkeypatch, out, "--tower", str(first), "--max_steps", "4") == 0


def test_the_script_trains_scores_and_exports_the_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    assert run_script(monkeypatch, out) == 0
    model = SceneTowerForPreTraining.from_pretrained(out)
    assert "train/shape" in (out / "tower_scores.json").read_text()
    averaged = load_file(out / "checkpoint-2" / "averaged.safetensors")
    assert averaged["module.heads.weight"].shape == model.heads.weight.shape
