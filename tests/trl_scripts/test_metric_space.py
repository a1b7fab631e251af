"""A staged metric is closed: its main file names every module that it needs, and none of them is this package."""

import ast
from pathlib import Path

import pytest
from evaluate.loading import get_imports

from trl_scripts.errors import CommandError
from trl_scripts.metric_space import metric_content, stage_sources

METRIC = Path(__file__).parents[2] / "metrics" / "scene_program"
CARD = "---\nsdk: gradio\n---\n"


def write_metric(folder: Path, main: str, **others: str) -> Path:
    """A metric folder `m` of the given sources."""
    (folder / "m").mkdir()
    (folder / "m" / "README.md").write_text(CARD)
    for stem, source in {"m": main, **others}.items():
        (folder / "m" / f"{stem}.py").write_text(source)
    return folder / "m"


def modules_named_by(source: str) -> set[str]:
    return {
        str(node.module) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.level
    }


def test_main_file_names_every_module_in_a_way_that_evaluate_reads(tmp_path):
    sources = stage_sources(METRIC, "scene_program")
    main = tmp_path / "scene_program.py"
    main.write_text(sources["scene_program"])
    read = {name for kind, name, _, _ in get_imports(main) if kind == "internal"}
    assert read == sources.keys() - {"scene_program", "app"}
    assert {"programs", "igllm_parsing", "igllm_scene_program", "igllm_errors"} <= read
    for stem, source in sources.items():
        assert modules_named_by(source) <= read, stem
        assert "from modeling_igllm" not in source and "import modeling_igllm" not in source


def test_language_names_keep_their_spelling(tmp_path):
    main = "from modeling_igllm import (\n    NUM_TOKEN as TOKEN,\n    SceneProgram,  # typed\n)\n\nprint(TOKEN)\n"
    staged = stage_sources(write_metric(tmp_path, main), "m")
    lines = staged["m"].splitlines()
    assert lines[:2] == [
        "from .igllm_vocabulary import NUM_TOKEN as TOKEN",
        "from .igllm_scene_program import SceneProgram",
    ]
    assert lines[-1] == "print(TOKEN)"
    assert "igllm_rotations" in staged and "igllm_formatting" not in staged


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from .helper import f\n", r"m\.py imports \.helper, which is not beside it"),
        ("from modeling_igllm import IGLLMConfig\n", r"m\.py imports IGLLMConfig from modeling_igllm, which does not"),
        ("import modeling_igllm\n", r"m\.py imports modeling_igllm: write `from modeling_igllm import NAME`"),
        ("from modeling_igllm.parsing import parse_program\n", r"m\.py imports modeling_igllm\.parsing: write"),
    ],
)
def test_import_that_a_space_could_not_satisfy_is_refused(tmp_path, source, expected):
    with pytest.raises(CommandError, match=expected):
        metric_content(write_metric(tmp_path, source), "user/m")


def test_space_has_the_name_of_the_main_file_and_a_gradio_card(tmp_path):
    folder = write_metric(tmp_path, "x = 1\n")
    with pytest.raises(CommandError, match=r"user/other: evaluate\.load would look for other\.py, .*; push to user/m"):
        metric_content(folder, "user/other")
    (folder / "README.md").write_text("# no head\n")
    with pytest.raises(CommandError, match="put `sdk: gradio`"):
        metric_content(folder, "user/m")
