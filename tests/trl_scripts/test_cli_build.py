"""`igllm build`: what it passes on, and how it fails."""

from pathlib import Path
from typing import Any

import pytest

from dataset_builders import build
from dataset_builders.shards import SplitPlan, claim_folder
from trl_scripts.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and standard error of `igllm build`; standard output must stay empty."""
    code = main(["build", *arguments])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


def test_arguments_reach_the_builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(build, "build_family", lambda family, out, **rest: calls.append((family, out, rest)))
    flags = "--split val_id --num-scenes 7 --seed 3 --resolution 64x48 --samples 2 --workers 1"
    assert main(["build", "clevr_cogent", *flags.split(), "--out", str(tmp_path)]) == 0
    ((family, out, rest),) = calls
    assert (family, out) == ("clevr_cogent", tmp_path)
    expected = {"splits": ("val_id",), "num_scenes": 7, "seed": 3, "resolution": (64, 48), "samples": 2, "workers": 1}
    assert {name: rest[name] for name in expected} == expected


def test_all_splits_and_the_benchmark_sizes_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[SplitPlan] = []
    monkeypatch.setattr(build, "render_shards", lambda plan, *_, **__: plans.append(plan))
    monkeypatch.setattr(build, "write_dataset_card", lambda out: None)
    monkeypatch.setattr(build, "write_contact_sheet", lambda plan: None, raising=False)
    assert main(["build", "clevr", "--out", str(tmp_path)]) == 0
    assert [(plan.split, plan.num_scenes) for plan in plans] == [("train", 4000), ("val_id", 1000)]
    assert {(plan.width, plan.height) for plan in plans} == {(320, 240)}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["clever"], "igllm build: unknown family 'clever': choose one of clevr, clevr_cogent"),
        (["clevr", "--split", "val_ood"], "no split 'val_ood': choose one of train, val_id"),
        (["clevr", "--seed", "-1"], "seed must be in [0, 2**32), got -1"),
    ],
)
def test_unknown_names_say_which_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    code, error = run(capsys, *arguments, "--out", str(tmp_path / "out"))
    assert code == 2
    assert expected in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flags", [["--num-scenes", "0"], ["--workers", "-1"], ["--samples", "many"], ["--resolution", "320"], []]
)
def test_unreadable_flags_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    out = ["--out", str(tmp_path)] if flags else []  # --out is required
    with pytest.raises(SystemExit) as raised:
        main(["build", "clevr", *flags, *out])
    assert raised.value.code == 2
    assert (flags or ["--out"])[0] in capsys.readouterr().err


def test_an_unwritable_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "data"
    code, error = run(capsys, "clevr", "--out", str(out))
    assert code == 2
    assert f"cannot write to {out}" in error
    assert "choose another --out folder" in error


def test_other_parameters_in_one_folder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = SplitPlan(tmp_path, "clevr", "val_id", 1, 5, 32, 24, 1)
    claim_folder(plan)
    plan.shard_path(0).touch()
    code, error = run(capsys, "clevr", "--split", "val_id", "--out", str(tmp_path))
    assert code == 2
    assert str(plan.parameters_path) in error
    assert '"seed": 5' in error
    assert "another --out folder" in error


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (RuntimeError("a render worker died"), "igllm build: a render worker died"),
        (ModuleNotFoundError("No module named 'bpy'"), 'pip install "ig-llm[render]"'),
        (
            OSError(28, "No space left on device"),
            "device; make room and run the command again: finished shards are kept",
        ),
        (PermissionError(13, "Permission denied"), "Permission denied; choose another --out folder"),
    ],
)
def test_failures_of_workers_are_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    expected: str,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(build, "render_shards", fail)
    code, error = run(capsys, "clevr", "--out", str(tmp_path))
    assert code == 2
    assert expected in error
    assert len(error.splitlines()) == 1
