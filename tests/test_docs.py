"""The documentation names what is there: links, files, commands, options and Python names."""

import ast
import re
import shlex
import textwrap
from importlib import import_module
from pathlib import Path

import pytest
from command_lines import check_command, option_names, read_parser
from documents import DOCUMENTS, ROOT, WRITTEN, anchors, commands, links, spans, text_and_code

# Other tests have imported the programs whose parsers are asked here.
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")

PROJECT = ("modeling_igllm", "dataset_builders", "trl_scripts", "metrics", "benchmarks")
# Its excerpts of code are held against the example itself (tests/examples/test_tiles.py).
EXCERPTS = ROOT / "docs" / "adding_a_family.md"
# Options of programs that are not this project's.
FOREIGN_OPTIONS = {"--index-url", "--no-deps"}
LOADS = re.compile(r"from_pretrained\(|\bpipeline\(|load_dataset\(")
PATH = re.compile(r"[\w.-]+(/[\w.*-]+)+/?")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
each_written_document = pytest.mark.parametrize("document", WRITTEN, ids=name_of)


@each_document
def test_every_link_and_picture_leads_somewhere(document: Path) -> None:
    for target, place in links(document):
        if not target.startswith("https://"):
            file, _, anchor = target.partition("#")
            path = (document.parent / file).resolve() if file else document
            assert path.exists() and path.is_relative_to(ROOT), f"{place}: {target}"
            assert not anchor or anchor in anchors(path), f"{place}: {target}"


@each_written_document
def test_every_command_has_the_arguments_that_are_given(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(document):
        try:
            check_command(command.words, command.mention)
        except (AssertionError, OSError, SystemExit) as error:
            if not (isinstance(error, SystemExit) and not error.code):  # 0 is that of --help
                pytest.fail(f"{command.place}: {' '.join(command.words)}: {capsys.readouterr().err or error}")


@each_written_document
def test_every_option_exists(document: Path, every_option: set[str]) -> None:
    for span in spans(document):
        if span.text.startswith("--"):
            option = span.text.split()[0].partition("=")[0]
            assert option in every_option, f"{span.place}: {span.text}"


@pytest.fixture(scope="module")
def every_option() -> set[str]:
    scripts = ("sft", "pretrain_tower", "merge_adapter", "assemble", "baselines.train_ns_vqa")
    programs = ["trl_scripts.cli", *(f"trl_scripts.{name}" for name in scripts), "benchmarks.memory"]
    programs.append("trl_scripts.baselines.evaluate_ns_vqa")
    return FOREIGN_OPTIONS.union(*(option_names(read_parser(program, [], mention=True)) for program in programs))


@each_written_document
def test_every_file_exists(document: Path) -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    for part in [*text_and_code(document), *spans(document)]:
        for word in part.text.split() if part.language in ("bash", "span") else []:
            if PATH.fullmatch(word) and word.split("/")[0] in folders:
                assert list(ROOT.glob(word.rstrip("/"))), f"{part.place}: there is no {word}"


@each_written_document
def test_python_examples_parse_and_import_what_there_is(document: Path) -> None:
    if document == EXCERPTS:
        return
    for part in text_and_code(document):
        for node in ast.walk(ast.parse(textwrap.dedent(part.text))) if part.language == "python" else []:
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PROJECT:
                module = import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{part.place}: no {alias.name} in {node.module}"


@each_written_document
def test_examples_that_load_from_the_hub_say_how_to_pin(document: Path) -> None:
    for part in [*text_and_code(document), *spans(document)]:
        if part.language in ("python", "span") and LOADS.search(part.text):
            assert "revision" in part.text, f"{part.place}: {part.text}"


def test_documents_are_found() -> None:
    assert ROOT / "README.md" in DOCUMENTS
    assert sum(len(list(commands(path))) for path in WRITTEN) > 50


@pytest.mark.parametrize(
    "line",
    [
        "igllm predikt a.png --model m --out out",
        "igllm predict a.png --model m --out out --rendered",
        "igllm predict a.png --out out",
        "igllm cluster local|rai clevr --out data",
        "igllm build clevr --num-scenes none --out data",
        "make dema",
        "make demo PYTHONS=python3",
        "python -m trl_scripts.assembled --out base",
        "python -m trl_scripts.assemble --lava base --out base",
        "python trl_scripts/sft.py --config trl_scripts/recipes/none.yaml --dataset data",
        "python trl_scripts/sft.py --dataset data --output_dir model --towers tower",
        'pip install -e ".[nothing]" -c constraints.txt',
        "unheard-of command",
    ],
)
def test_wrong_commands_are_found(line: str) -> None:
    with pytest.raises((AssertionError, OSError, SystemExit)) as raised:
        check_command(shlex.split(line), mention=False)
    assert not isinstance(raised.value, SystemExit) or raised.value.code == 2


def test_mentions_may_leave_out_what_is_required() -> None:
    check_command(["igllm", "push"], mention=True)
    with pytest.raises(SystemExit):
        check_command(["igllm", "push", "--publicly"], mention=True)
