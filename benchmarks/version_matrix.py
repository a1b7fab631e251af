"""Do the tests of what touches transformers, TRL and datasets pass with their oldest and newest allowed versions?

```bash
python -m benchmarks.version_matrix --combinations minimum latest --out benchmarks/results/version_matrix.json
```

`minimum` takes the lower bounds of pyproject.toml, `pinned` constraints.txt, `latest` what the package index has now
(all of the Hugging Face stack moves with them). Each gets a virtual environment of its own in a temporary folder,
without Blender; everything else is as in constraints.txt. The exit code is 1 if a combination fails.
"""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

from benchmarks.reports import write_report

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("transformers", "trl", "datasets")
# What their newer versions may need newer versions of.
STACK = (*PACKAGES, "huggingface_hub", "tokenizers", "safetensors", "accelerate", "peft", "evaluate", "pillow")
EXTRAS = ("train", "metric")
TEST_PACKAGES = ("pytest", "hypothesis", "mistral-common", "sentencepiece")
TESTS = (
    "tests/modeling_igllm/test_remote_code.py",
    "tests/modeling_igllm/test_pipeline.py",
    "tests/modeling_igllm/test_processing.py",
    "tests/modeling_igllm/test_image_processing.py",
    "tests/modeling_igllm/test_generate_scene.py",
    "tests/modeling_igllm/common/test_save_load.py",
    "tests/trl_scripts/test_scene_trainer.py",
    "tests/trl_scripts/test_broken_checkpoints.py",
    "tests/trl_scripts/test_broken_datasets.py",
    "tests/metrics/test_metric_module.py",
)


def requirements() -> list[str]:
    """What the package, training and the metric need, as pyproject.toml says it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(item for extra in EXTRAS for item in project["optional-dependencies"][extra]),
    ]
    return [item for item in dict.fromkeys(wanted) if not item.startswith("torch>")]


def lower_bounds() -> dict[str, str]:
    """Package -> its lower bound in pyproject.toml, e.g. `"transformers": "5.20"`."""
    found = (re.match(r"([a-z]+)>=([\d.]+)", item) for item in requirements())
    return {match[1]: match[2] for match in found if match and match[1] in PACKAGES}


def constraints(combination: str) -> list[str]:
    """The lines of a constraints file."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    if combination == "pinned":
        return lines
    others = [line for line in lines if re.split("[=<>]", line)[0].lower().replace("-", "_") not in STACK]
    if combination == "latest":
        return others
    return [*others, *(f"{name}=={bound}.*" for name, bound in lower_bounds().items())]


def try_combination(combination: str, folder: Path, torch_index_url: str | None) -> dict[str, Any]:
    """Install and test one combination.

    Returns:
        `versions` of the stack, `passed`, and the last lines of what pip or pytest said.
    """
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    constraint_file = folder / "constraints.txt"
    constraint_file.write_text("\n".join(constraints(combination)) + "\n")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(constraint_file)]
    index = ["--index-url", torch_index_url] if torch_index_url else []
    commands = [
        [*install, *index, "torch"],
        [*install, *requirements(), *TEST_PACKAGES],
        [python, "-m", "pytest", "-p", "no:cacheprovider", *TESTS],
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for command in commands:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            break
    said = (done.stdout + done.stderr).strip().splitlines()
    return {
        "date": datetime.date.today().isoformat(),
        "versions": _versions(python),
        "passed": done.returncode == 0,
        "summary": [line for line in said if re.search(r"passed|failed|^FAILED|^ERROR|conflict", line)][-20:],
        "seconds": round(time.monotonic() - started),
    }


def _versions(python: str) -> dict[str, str]:
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True)
    there = {item["name"].replace("-", "_"): item["version"] for item in json.loads(listed.stdout)}
    return {name: there[name] for name in (*STACK, "torch", "numpy", "pyarrow") if name in there}


def main() -> int:
    """Try the combinations one after another, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("minimum", "pinned", "latest")
    parser.add_argument("--combinations", nargs="+", choices=names, default=["minimum", "latest"])
    parser.add_argument("--torch-index-url", help="for torch alone, e.g. that of its CPU builds")
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    report: dict[str, Any] = {}
    for combination in parsed.combinations:
        with tempfile.TemporaryDirectory() as folder:
            report[combination] = try_combination(combination, Path(folder), parsed.torch_index_url or None)
        print(combination, json.dumps(report[combination], indent=2))
        write_report(report, parsed.out)
    return 0 if all(result["passed"] for result in report.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
