"""`sft.py` in forks of the test process: nothing is imported again, and a fork can be killed or have a small disk."""

import ctypes
import json
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerState

from trl_scripts import sft
from trl_scripts.scene_trainer import SceneSFTTrainer

_FORK = multiprocessing.get_context("fork")
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
SWITCHES = {
    "dataset_config": "clevr",
    "max_steps": 7,
    "per_device_train_batch_size": 2,
    "save_steps": 2,
    "logging_steps": 3,  # no divisor of `save_steps`, nor the other way round
    "learning_rate": 1e-2,
    "max_length": None,
    "bf16": False,
    "use_cpu": True,
    "report_to": "none",
    "activation_checkpointing": False,
    "disable_tqdm": True,
    "shuffle_attributes": True,
    "sample_synonyms": True,
    "feature_copies": 2,
}


def run_sft(folder: Path, out: Path, **switches: Any) -> int:
    """Exit code of `sft.py` on `folder`'s base, scenes and features, in this process."""
    config = out.with_name(out.name + ".yaml")
    places = {"model_name_or_path": str(folder / "base"), "dataset": str(folder / "scenes")}
    places |= {"feature_cache": str(folder / "features"), "output_dir": str(out)}
    config.write_text(json.dumps(SWITCHES | places | switches))  # JSON is YAML
    return sft.main(["--config", str(config)])


def in_fork(task: Callable[[], int]) -> int | None:
    """Exit code of a fork that runs `task`, or minus the signal that has killed it."""

    def run() -> None:
        os._exit(task())  # no clean-up of what belongs to the test process

    process = _FORK.Process(target=run)
    process.start()
    process.join()
    return process.exitcode


def kill_at_micro_batch(number: int) -> None:
    """This process is killed before its training step `number`, counted from 1."""
    step, calls = SceneSFTTrainer.training_step, iter(range(1, 1000))

    def training_step(self: SceneSFTTrainer, *args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            die()
        return step(self, *args, **kwargs)

    SceneSFTTrainer.training_step = training_step  # type: ignore[method-assign]


def kill_before(method: str, step: int) -> None:
    """This process is killed before `Trainer.<method>` while it saves the checkpoint of a step."""
    original = getattr(Trainer, method)

    def save(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == step:
            die()
        return original(self, *args, **kwargs)

    setattr(Trainer, method, save)


def kill_within_state(step: int) -> None:
    """This process is killed when the last file of a checkpoint is half written."""
    original = TrainerState.save_to_json

    def save_to_json(self: TrainerState, path: str) -> None:
        original(self, path)
        if self.global_step == step:
            text = Path(path).read_text()
            Path(path).write_text(text[: len(text) // 2])
            die()

    TrainerState.save_to_json = save_to_json  # type: ignore[method-assign]


def die() -> None:
    """What the kernel does to a process when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def mount_private_disk(folder: Path, mebibytes: int) -> bool:
    """A disk of its own for this process alone, a fork without threads; False where the system does not allow it."""
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
        return False
    for name, text in {"setgroups": "deny", "uid_map": f"0 {user} 1", "gid_map": f"0 {group} 1"}.items():
        Path("/proc/self", name).write_text(text)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    return subprocess.run(mount, check=False).returncode == 0
