"""No eval, exec, pickle, unsafe load or shell string: in no source of the project, and in no run on hostile input."""

import ast
import os
import subprocess
import sys

import pytest
from source_audit import ROOT, find_foreign_code, imported_modules, source_files, tracked_files

# (file, finding) -> why it is no way in. Nothing here takes its argument from a user.
ALLOWED = {
    ("modeling_igllm/__init__.py", "importlib.import_module"): "a fixed table of the package's own modules",
    ("trl_scripts/tower_dataset.py", "import runpy"): "runs the metric's own symmetry.py",
}
# What the language is made of. A checkpoint's answer, a program file and a metric's text go through nothing else.
LANGUAGE = ("errors", "parsing", "scene_program", "rotations", "vocabulary", "terminals", "formatting")
LANGUAGE_IMPORTS = {"collections.abc", "dataclasses", "functools", "numbers", "numpy", "re", "transformers", "typing"}

# A source with each fault, and one that only looks like it.
BROKEN = {
    "eval": "eval('1')",
    "exec": "def f(text):\n    exec(text)",
    "compile": "compile('1', '', 'eval')",
    "__import__": "__import__('os')",
    "import pickle": "def f():\n    import pickle",
    "import cloudpickle": "from cloudpickle import loads",
    "import marshal": "import marshal as m",
    "import runpy": "import runpy",
    "os.system": "from os import system as run\nrun('ls')",
    "os.popen": "import os\nos.popen('ls')",
    "os.execv": "import os\nos.execv('/bin/sh', [])",
    "shell=True": "import subprocess\nsubprocess.run('ls', shell=True)",
    "subprocess.getoutput": "import subprocess\nsubprocess.getoutput('ls')",
    "torch.load without weights_only=True": "import torch as t\nt.load('x.pt')",
    "weights_only=False": "from torch import load\nload('x.pt', weights_only=False)",
    "allow_pickle=True": "import numpy as np\nnp.load('x.npy', allow_pickle=True)",
    "yaml.load": "import yaml\nyaml.load(text, Loader=yaml.Loader)",
    "yaml.unsafe_load": "from yaml import unsafe_load\nunsafe_load(text)",
    "torch.hub.load": "import torch\ntorch.hub.load('a/b', 'c')",
    "importlib.import_module": "from importlib import import_module\nimport_module(name)",
    "trust_remote_code=True": "load('a/b', trust_remote_code=True)",
}
HIDDEN = {
    "eval": "run = eval",
    "exec": "import builtins\nbuiltins.exec('1')",
    "os.system": "import os\ncommands = [os.system]",
    "shell=True": "import subprocess\nsubprocess.Popen('ls', shell=ask())",
}
HARMLESS = """
import re, subprocess, numpy as np, torch, yaml
model.eval()
re.compile("eval")
text = "eval('1'); import pickle; os.system('ls')"
subprocess.run(["ls"], shell=False, check=True)
torch.load("x.pt", weights_only=True)
np.load("x.npy", allow_pickle=False)
yaml.safe_load("a: 1")
"""


@pytest.mark.parametrize(("finding", "source"), [*BROKEN.items(), *HIDDEN.items()])
def test_the_audit_finds_every_fault(finding: str, source: str) -> None:
    assert finding in find_foreign_code(source)


def test_the_audit_is_not_misled_by_names_and_texts() -> None:
    assert find_foreign_code(HARMLESS) == []


def test_no_source_of_the_project_runs_foreign_code() -> None:
    files = source_files()
    assert len(files) > 150
    found = {
        (path.relative_to(ROOT).as_posix(), finding)
        for path in files
        for finding in find_foreign_code(path.read_text(encoding="utf-8"))
    }
    assert found - ALLOWED.keys() == set()
    assert ALLOWED.keys() - found == set(), "no longer there: take them out of ALLOWED"


def test_the_language_reaches_nothing_but_itself_and_numpy() -> None:
    trees = {name: ast.parse((ROOT / "modeling_igllm" / f"{name}.py").read_text()) for name in LANGUAGE}
    relative = {
        node.module
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    }
    assert relative <= set(LANGUAGE)
    # transformers for the types of terminals.py alone: see the next test.
    assert {module for tree in trees.values() for module in imported_modules(tree)} <= LANGUAGE_IMPORTS


RUN = """
import random, sys
from benchmarks.fuzz_targets import SEEDS, TARGETS

EVENTS = ("exec", "compile", "import", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile",
          "subprocess.Popen", "pickle.find_class", "marshal.loads", "code.__new__", "socket.connect",
          "socket.getaddrinfo", "ctypes.dlopen", "os.remove", "os.rename", "shutil.rmtree")
found = []
watching = False

def watch(event, arguments):
    if watching and (event in EVENTS or (event == "open" and set(str(arguments[1])) & set("wax+"))):
        found.append((event, str(arguments)[:200]))

def feed(count):
    rng = random.Random(0)
    for name, target in TARGETS.items():
        for _ in range(count if name in ("parser", "json") else count // 10):
            data = bytearray(rng.choice(SEEDS[name]) if rng.random() < 0.5 else rng.randbytes(60))
            for _ in range(3):
                data[rng.randrange(len(data))] = rng.randrange(256)
            target(bytes(data))
        for code in (b"__import__('os').system('true')", b"add(x=eval('1'), y=1)", b'{"objects": [{"x": "exec"}]}'):
            target(b"\\x04\\x00" + code)

sys.addaudithook(watch)
feed(40)  # the same twice: what libraries import and compile on first use is no answer to the input
watching = True
feed(40)
{fault}
watching = False
print(found)
sys.exit(bool(found))
"""


def run_watched(fault: str = "", feed: bool = True) -> subprocess.CompletedProcess[str]:
    """Feed hostile input to all readers in a fresh Python that reports what it is made to do."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    script = RUN.replace("{fault}", fault)
    command = [sys.executable, "-c", script if feed else script.replace("feed(40)", "pass")]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_hostile_input_starts_no_code_process_connection_or_writing() -> None:
    done = run_watched()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.parametrize(
    ("fault", "event"),
    [("eval('1 + 1')", "exec"), ("open('/dev/null', 'w').close()", "open")],
)
def test_the_watch_sees_a_fault(fault: str, event: str) -> None:
    done = run_watched(fault, feed=False)
    assert done.returncode == 1 and f"('{event}'" in done.stdout, done.stderr[-2000:]


def test_no_folder_of_sources_is_left_out() -> None:
    """A new top-level folder with Python in it must be audited too."""
    audited = {path.relative_to(ROOT).parts[0] for path in source_files()}
    there = {path.relative_to(ROOT).parts[0] for path in tracked_files() if path.suffix == ".py"}
    assert there - {"tests"} <= audited
