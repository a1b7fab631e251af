"""Clients of a local Hub: this process, and a Python that has never seen the project."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from .server import TOKEN, LocalHub, serve_hub

_BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("modeling_igllm", "metrics", "trl_scripts", "dataset_builders"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import json
"""


@contextmanager
def logged_in_hub(cache: Path) -> Iterator[LocalHub]:
    """A running, empty Hub that this process is logged in to; downloads go below `cache`."""
    with serve_hub() as served, pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "ENDPOINT", served.url)
        files = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache / "hub"))
        patch.setattr("transformers.utils.hub._hf_api", None)  # made once, for the Hub of its time
        patch.setattr("datasets.config.HF_ENDPOINT", served.url)
        patch.setattr("datasets.config.HF_DATASETS_CACHE", cache / "datasets")
        patch.setenv("HF_TOKEN", TOKEN)
        yield served


def run_fresh(hub: LocalHub, folder: Path, script: str) -> Any:
    """Run a script elsewhere, in a Python with nothing cached and no project; returns the JSON it prints last."""
    addresses = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(folder / "hf_home")}
    switches = {"HF_HUB_DISABLE_XET": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-I", "-c", _BLOCKER + script]
    environment = {**os.environ, **addresses, **switches}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
