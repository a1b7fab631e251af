"""What is fetched and published: remote code that keeps to itself, pinned examples, weights without pickles."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_audit import ROOT, dotted_name, imported_modules, imported_names, tracked_files

from trl_scripts.errors import CommandError
from trl_scripts.hub_content import model_content, pushed_files

REMOTE_CODE = sorted((ROOT / "modeling_igllm").glob("*.py"))
# Every module that the code of a checkpoint may import. `os`: PathLike and path; `sys`: stderr.
IMPORTS = {
    *("base64", "collections", "collections.abc", "contextlib", "copy", "dataclasses", "functools", "graphlib"),
    *("io", "json", "math", "numbers", "os", "pathlib", "re", "sys", "types", "typing"),
    *("numpy", "PIL", "torch", "torch.nn", "torch.nn.functional"),
    *("safetensors", "huggingface_hub.dataclasses"),
}
IMPORTS_FROM = ("transformers",)  # with its submodules
# Imports of single files: the package's table of its own modules, what fetches a picture's address, and Blender behind
# `prediction.render()`.
MORE_IMPORTS = {
    "__init__.py": {"importlib"},
    "image_files.py": {"huggingface_hub.utils"},
    "scene_prediction.py": {"dataset_builders", "dataset_builders.rendering", "modeling_igllm"},
}
FILES_AND_NETWORK = re.compile(
    r"(^|\.)(open|open_code|FileIO|safe_open|fdopen|read_text|read_bytes|write_text|write_bytes|mkdir|touch|unlink|rmdir"
    r"|rename|symlink_to|glob|rglob|iterdir|listdir|walk|scandir|remove|removedirs|makedirs|system|popen|isfile|urlopen"
    r"|urlretrieve|get_json|get_session|get_async_session|http_backoff|http_stream_backoff|paginate|send_telemetry"
    r"|get_token|run_subprocess|load_image|load_file|save_file|hf_hub_download|snapshot_download|cached_file"
    r"|from_pretrained|save_pretrained|push_to_hub|load_dataset|tofile|fromfile|memmap|loadtxt|savetxt|socket|connect)$"
    r"|^torch\.(load|save)$"
    r"|^numpy\.(load|save|savez)$"
)
# (file, call) -> whose wish it is. Each reads or writes only what its caller has named.
CALLS = {
    ("image_files.py", "PIL.Image.open"): "the picture that the caller names",
    ("image_files.py", "huggingface_hub.utils.get_session"): "the address that the caller names, as all pipelines",
    ("pipeline_igllm.py", "os.path.isfile"): "the picture that the caller names",
    ("pipeline_igllm.py", "self.model.save_pretrained"): "the folder that the caller names",
    ("pipeline_igllm.py", "self.processor.save_pretrained"): "the folder that the caller names",
    ("modeling_igllm.py", "save_pretrained"): "the folder that the caller names",
    ("modeling_igllm.py", "cls.from_pretrained"): "the LLaVA checkpoint that the caller names",
    ("grammar_generation.py", "path.parent.mkdir"): "custom_generate/ in the folder that is saved",
    ("grammar_generation.py", "path.write_text"): "custom_generate/generate.py in the folder that is saved",
    ("grammar_generation.py", "path.read_text"): "whether custom_generate/generate.py there is its own",
    ("grammar_generation.py", "path.unlink"): "custom_generate/generate.py of the model that was saved there before",
    ("complete_loading.py", "from_pretrained"): "transformers' own loading",
    ("complete_loading.py", "glob"): "which file of the checkpoint is damaged",
    ("complete_loading.py", "safetensors.safe_open"): "which file of the checkpoint is damaged",
    ("processing_igllm.py", "IGLLMImageProcessor.from_pretrained"): "the checkpoint that is being loaded",
    ("backbones.py", "SceneTowerModel.from_pretrained"): "the backbone that the caller names",
    ("backbones.py", "transformers.AutoConfig.from_pretrained"): "the backbone that the caller names",
    ("backbones.py", "auto_class.from_pretrained"): "the backbone that the caller names",
    ("llava_checkpoints.py", "transformers.AutoConfig.from_pretrained"): "the LLaVA checkpoint that the caller names",
    ("llava_checkpoints.py", "torch.load"): "mm_projector.bin that the caller names, weights_only",
    ("scene_prediction.py", "path.write_text"): "the file that the caller names",
}
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".h5", ".msgpack", ".onnx")
DOCUMENTS = [
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "model_cards/**/*.md",
        "checkpoints/**/*.md",
        "metrics/**/*.md",
        "space/**/*.md",
    )
    for path in sorted(ROOT.glob(pattern))
] + [ROOT / "dataset_builders" / "dataset_card.py"]


def outside_calls(source: str) -> set[str]:
    """Calls of a source that touch files or the network, by name."""
    tree = ast.parse(source)
    names = imported_names(tree)
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    called = {dotted_name(func, names) or (func.attr if isinstance(func, ast.Attribute) else "") for func in calls}
    return {name for name in called if FILES_AND_NETWORK.search(name)}


def foreign_imports(source: str, more: set[str] = frozenset()) -> set[str]:  # type: ignore[assignment]
    modules = set(imported_modules(ast.parse(source))) - IMPORTS - more
    return {module for module in modules if module.partition(".")[0] not in IMPORTS_FROM}


@pytest.mark.parametrize("path", REMOTE_CODE, ids=lambda path: path.name)
def test_remote_code_imports_what_is_listed(path: Path) -> None:
    assert foreign_imports(path.read_text(), MORE_IMPORTS.get(path.name, set())) == set()


def test_remote_code_touches_no_file_and_no_network_but_what_is_listed() -> None:
    found = {(path.name, name) for path in REMOTE_CODE for name in outside_calls(path.read_text())}
    assert found - CALLS.keys() == set()
    assert CALLS.keys() - found == set(), "no longer there: take them out of CALLS"


@pytest.mark.parametrize(
    "source",
    [
        "from urllib.request import urlopen\nurlopen('http://a')",
        "def f(path):\n    return open(path).read()",
        "from pathlib import Path\nPath('a').write_text('b')",
        "import huggingface_hub as hub\nhub.hf_hub_download('a/b', 'c')",
        "import socket\nsocket.socket().connect(('a', 80))",
        "from huggingface_hub.utils import get_session\nget_session().get('http://a')",
        "from huggingface_hub import utils\nutils.http_backoff('GET', 'http://a')",
        "(folder / 'a').unlink()",
        "import torch\ntorch.save({}, 'a')",
    ],
)
def test_a_call_that_is_not_listed_is_found(source: str) -> None:
    assert outside_calls(source)


@pytest.mark.parametrize(
    "module", ["requests", "socket", "urllib.request", "subprocess", "shutil", "tempfile", "ctypes"]
)
def test_an_import_that_is_not_listed_is_found(module: str) -> None:
    assert foreign_imports(f"def f():\n    import {module}") == {module}


def test_remote_code_is_small() -> None:
    """What a reader of a pinned commit has to read."""
    lines = sum(len(path.read_text().splitlines()) for path in REMOTE_CODE)
    assert len(REMOTE_CODE) < 45
    assert lines < 6500


REMOTE_USE = re.compile(r"trust_remote_code=True")
# A repository in a command or call: USER/NAME, or what a template fills in; not a path that is there.
REPOSITORY = re.compile(r"(?:--model|--model_name_or_path|--dataset) +(\S+)")


def unpinned(text: str) -> Iterator[str]:
    """Examples that take code or weights from a repository without saying which commit."""
    for block in re.findall(r"```[a-z]*\n(.*?)```|`([^`\n]+)`", text, re.DOTALL):
        example = block[0] or block[1]
        lines = example.replace("\\\n", " ").splitlines()
        # Prose that names the flag alone is no example.
        if REMOTE_USE.search(example) and "(" in example and "revision" not in example:
            yield example
        for line in lines:
            for source in REPOSITORY.findall(line):
                is_repository = "{{ repository }}" in line or re.fullmatch(r"[\w-]+/[\w.-]+", source)
                is_folder = (ROOT / source).exists() or source.startswith("checkpoints/")
                # `push` makes commits; of the model of a space it writes down the commit by itself.
                if is_repository and not is_folder and "revision" not in line and "igllm push" not in line:
                    yield line


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_example_with_remote_code_is_pinned(path: Path) -> None:
    assert list(unpinned(path.read_text())) == []


@pytest.mark.parametrize(
    "text",
    [
        '```python\npipeline(model="a/b", trust_remote_code=True)\n```',
        "Use `AutoModel.from_pretrained(name, trust_remote_code=True)`.",
        "```bash\nigllm predict a.png --model USER/NAME --out out\n```",
        "`igllm predict a.png --model {{ repository }} --out out`",
    ],
)
def test_an_example_that_is_not_pinned_is_found(text: str) -> None:
    assert list(unpinned(text))


def test_the_tree_holds_no_pickled_weights() -> None:
    files = tracked_files()
    assert [path for path in files if path.suffix in PICKLES] == []
    assert any(path.suffix == ".safetensors" for path in files)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "optimizer.pt", "rng_state.pth", "a.pkl", "b.pickle", "c.ckpt", "d.npy"]
)
def test_a_push_leaves_pickles_behind(name: str, tmp_path: Path) -> None:
    for file in ("config.json", "model.safetensors", name):
        (tmp_path / file).write_bytes(b"{}")
    assert set(model_content(tmp_path).files) == {"config.json", "model.safetensors"}
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).write_bytes(b"")
    assert set(pushed_files(tmp_path)) == {"config.json", "model.safetensors"}


def test_a_model_with_pickled_weights_alone_is_not_pushed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CommandError, match=r"no \*\.safetensors; save the model again"):
        model_content(tmp_path)


def test_every_test_that_security_md_names_is_there() -> None:
    named = set(re.findall(r"`((?:tests|benchmarks)/[^`]+\.(?:py|json))`", (ROOT / "SECURITY.md").read_text()))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_versions_are_bounded_and_pinned() -> None:
    """`make test-matrix` tries the bounds themselves (benchmarks/version_matrix.py)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    pinned = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    for name in ("transformers", "trl", "datasets"):
        bounds = {item for item in wanted if re.match(rf"{name}\b", item)}
        assert len(bounds) == 1 and bounds.pop().startswith(f"{name}>=")
        assert name in pinned
