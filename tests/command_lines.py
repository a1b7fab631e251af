"""Checks command lines by the parsers of the programs themselves, which then do not run."""

import argparse
import re
import runpy
import sys
from importlib.util import find_spec
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
Parser = argparse.ArgumentParser


class Parsed(BaseException):
    """A program has parsed its command line, and is stopped."""

    def __init__(self, parser: Parser) -> None:
        self.parser = parser


def read_parser(program: str, arguments: list[str], mention: bool = False) -> Parser:
    """Let a module, or a script (`*.py`), parse `arguments`, and return its parser.

    Args:
        mention: whether arguments that the program requires may be left out.

    Raises:
        SystemExit: if the parser refuses them (or shows its help).
        OSError: if there is no such recipe.
    """

    depth = 0
    original = Parser.parse_known_args

    # All ways lead through this one, of `igllm`'s commands and of the parsers that read dataclasses, too.
    def parse_and_stop(self: Parser, args: Any = None, namespace: Any = None) -> Any:
        nonlocal depth
        if mention:
            _require_nothing(self)
        depth += 1
        parsed = original(self, args, namespace)
        depth -= 1
        if depth:
            return parsed
        if parsed[1]:
            self.error(f"unrecognized arguments: {' '.join(parsed[1])}")
        raise Parsed(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(Parser, "parse_known_args", parse_and_stop)
        patch.setattr(sys, "argv", [program, *arguments])
        try:
            if program.endswith(".py"):
                runpy.run_path(str(ROOT / program), run_name="__main__")
            else:
                runpy.run_module(program, run_name="__main__", alter_sys=True)
        except Parsed as parsed:
            return parsed.parser
    raise AssertionError(f"{program} has parsed nothing")


def _require_nothing(parser: Parser) -> None:
    for action in parser._actions:
        action.required = False
        if isinstance(action, argparse._SubParsersAction):
            for choice in action.choices.values():
                _require_nothing(choice)


def option_names(parser: Parser) -> set[str]:
    """All `--options` of a parser and of its commands."""
    names = {name for name in parser._option_string_actions if name.startswith("--")}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            names = names.union(*(option_names(choice) for choice in action.choices.values()))
    return names


def check_command(words: list[str], mention: bool) -> None:
    """Check a command; `a|b` in the place of a word stands for either.

    Raises:
        AssertionError, OSError, SystemExit: if there is no such program, file, target, command or option.
    """
    for program, *arguments in product(*(word.split("|") for word in words if word != "…")):
        if program == "accelerate":
            assert arguments[0] == "launch", arguments
            arguments = arguments[next(i for i, word in enumerate(arguments) if word.endswith(".py")) :]
            program = "python"
        if program == "igllm":
            read_parser("trl_scripts.cli", ["build" if word == "COMMAND" else word for word in arguments], mention)
        elif program == "python":
            is_module = arguments[0] == "-m"
            _check_python(arguments[is_module], arguments[1 + is_module :], mention)
        elif program.endswith(".py"):
            _check_python(f"trl_scripts/{program}", arguments, mention)
        elif program == "make":
            _check_make(arguments)
        elif program == "pip":
            _check_pip(arguments)
        else:
            assert program in ("ray", "source"), f"{program}: say in tests/command_lines.py how this is checked"


def _check_python(program: str, arguments: list[str], mention: bool) -> None:
    source = ROOT / program
    if not program.endswith(".py"):
        spec = find_spec(program)
        assert spec is not None and spec.origin is not None, f"there is no module {program}"
        source = Path(spec.origin)
    assert source.is_file(), f"there is no {program}"
    # What parses no arguments would run.
    if "Parser(" in source.read_text(encoding="utf-8") and (arguments or not mention):
        read_parser(program, arguments, mention)
    else:
        assert not arguments, f"{program} takes no arguments"


def _check_make(arguments: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in arguments:
        name, is_variable, _ = word.partition("=")
        assert re.search(rf"^{name} \?=" if is_variable else rf"^{name}:", makefile, re.MULTILINE), f"no {word}"


def _check_pip(arguments: list[str]) -> None:
    assert arguments[0] == "install", arguments
    for word, following in pairwise(arguments):
        if word == "-c":
            assert (ROOT / following).is_file(), following
        if word == "-e":
            folder, _, extras = following.rstrip("]").partition("[")
            project = (ROOT / folder / "pyproject.toml").read_text(encoding="utf-8")
            for extra in filter(None, extras.split(",")):
                assert f"\n{extra} = [" in project, f"no extra {extra!r}"
