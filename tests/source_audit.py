"""Finds in Python sources, by their syntax trees, what could run code that a stranger has written."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "modeling_igllm",
    "dataset_builders",
    "trl_scripts",
    "metrics",
    "benchmarks",
    "examples",
    "space",
    "docs",
    "checkpoints",
)

RUNNING = frozenset(("eval", "exec", "compile", "__import__", "execfile"))
MODULES = frozenset(
    (
        "pickle",
        "_pickle",
        "cPickle",
        "dill",
        "cloudpickle",
        "joblib",
        "shelve",
        "marshal",
        "runpy",
        "code",
        "codeop",
        "pty",
    )
)
SHELL = frozenset(
    ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "commands.getoutput")
)
PROCESS_PREFIXES = ("os.exec", "os.spawn", "os.posix_spawn")
YAML = frozenset(("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.unsafe_load_all"))
UNPICKLING = frozenset(("torch.hub.load", "torch.jit.load", "pandas.read_pickle", "numpy.lib.format.read_array"))
DYNAMIC = frozenset(("importlib.import_module", "importlib.util.spec_from_file_location"))
FORBIDDEN = RUNNING | SHELL | YAML | UNPICKLING | DYNAMIC


def source_files() -> list[Path]:
    """Every Python file of the project but its tests."""
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def tracked_files() -> list[Path]:
    """Every file under version control: what a clone holds."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def find_foreign_code(source: str) -> list[str]:
    """The findings in one source, each by its name, e.g. `eval` or `torch.load without weights_only=True`."""
    tree = ast.parse(source)
    names = imported_names(tree)
    return [finding for node in ast.walk(tree) for finding in _findings(node, names)]


def imported_names(tree: ast.Module) -> dict[str, str]:
    """What the names of a module stand for, wherever they are imported: `np` -> `numpy`, `load` -> `torch.load`."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                names[item.asname or item.name.partition(".")[0]] = (
                    item.name if item.asname else item.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {item.asname or item.name: f"{node.module}.{item.name}" for item in node.names}
    return names


def dotted_name(node: ast.expr, names: dict[str, str]) -> str:
    """`np.load` as `numpy.load`; empty for what is no name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = dotted_name(node.value, names)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def imported_modules(tree: ast.Module) -> Iterator[str]:
    """Absolute modules that are imported anywhere in a module, in functions, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def _findings(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Name | ast.Attribute):
        name = dotted_name(node, names).removeprefix("builtins.")
        # Not only where they are called: `run = eval` would hide it.
        if name in FORBIDDEN or name.startswith(PROCESS_PREFIXES):
            yield name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        modules = [item.name for item in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        yield from (f"import {module}" for module in modules if module.partition(".")[0] in MODULES)
    elif isinstance(node, ast.Call):
        yield from _call_findings(node, dotted_name(node.func, names))


def _call_findings(call: ast.Call, name: str) -> Iterator[str]:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if "shell" in keywords and not _is_constant(keywords["shell"], False):
        yield "shell=True"
    if name == "torch.load" and not _is_constant(keywords.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if "weights_only" in keywords and not _is_constant(keywords["weights_only"], True):
        yield "weights_only=False"
    if "allow_pickle" in keywords and not _is_constant(keywords["allow_pickle"], False):
        yield "allow_pickle=True"
    if "trust_remote_code" in keywords and not _is_constant(keywords["trust_remote_code"], False):
        yield "trust_remote_code=True"
    if None in keywords and name in ("torch.load", "subprocess.run", "subprocess.Popen"):
        yield f"{name} with hidden keywords"


def _is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
