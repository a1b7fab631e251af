"""Write docs/api/*.md, the API reference, from the docstrings: `make docs`.

All of it is read from the source by griffe, nothing is imported. `python docs/make_api.py --check` writes nothing and
fails when a page is not what it would write. A public name without a docstring is an error.
"""

import argparse
import re
import sys
import textwrap
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parents[1]
API = ROOT / "docs" / "api"
# Page -> the modules whose public functions and classes are on it; a package stands for its `__all__`.
PAGES = {
    "modeling_igllm": ("modeling_igllm",),
    "dataset_builders": tuple(
        f"dataset_builders.{name}"
        for name in (
            "build",
            "render_pool",
            "families",
            "sampled_scene",
            "camera",
            "random_streams",
            "painters",
            "schema",
            "scene_builder",
            "dataset_card",
            "import_clevr",
            "mesh_folder",
            "render_program",
        )
    ),
    "metric": ("metrics.scene_program.scoring", "metrics.scene_program.scene_program"),
}
HEAD = "<!-- Written by `make docs` from the docstrings: edit those. -->\n\n"
LINE_WIDTH = 100
# [`name`] is how docstrings of this ecosystem point to another name.
REFERENCE = re.compile(r"\[(`[^`\]]+`)\](?!\()")


class UndocumentedError(ValueError):
    """A public name has no docstring."""


def write_page(page: str) -> str:
    """The Markdown text of one of `PAGES`.

    Raises:
        UndocumentedError: if a public name on it has no docstring.
    """
    modules = [load(name) for name in PAGES[page]]
    names = [name for module in modules for name in public_names(module)]
    links = " · ".join(f"[`{name}`](#{name.lower()})" for name in names)
    lines = [f"# `{page}`", "", links, ""]
    for module in modules:
        lines += [f"From `{module.path}`:", "", *text_of(module)] if len(modules) > 1 else text_of(module)
        for name, item in public_names(module).items():
            lines += describe(name, item)
    return HEAD + "\n".join(lines).rstrip() + "\n"


def load(module: str) -> griffe.Object:
    """A module of this project, as griffe reads it from the source."""
    loader = griffe.GriffeLoader(
        search_paths=[ROOT],
        allow_inspection=False,
        docstring_parser="google",
        docstring_options={"warnings": False, "returns_named_value": False, "returns_multiple_items": False},
    )
    loaded = loader.load(module)
    loader.resolve_aliases()
    return target(loaded)


def public_names(module: griffe.Object) -> dict[str, griffe.Object]:
    """What a package has in `__all__`, or a module's own functions, classes and documented values."""
    if module.is_package and module.exports:
        return {str(name): target(module.members[str(name)]) for name in module.exports}
    return {
        name: target(item)
        for name, item in module.members.items()
        if not (name.startswith("_") or item.is_alias)
        and (item.is_function or item.is_class or (item.is_attribute and item.has_docstring))
    }


def target(item: griffe.Object | griffe.Alias) -> griffe.Object:
    """What a name stands for, wherever it is defined."""
    return item.final_target if isinstance(item, griffe.Alias) else item


def describe(name: str, item: griffe.Object, level: int = 2) -> list[str]:
    """Heading, signature and docstring of a name; of a class also its public methods and properties."""
    lines = [f"{'#' * level} `{name}`", "", *code_of(item), *text_of(item)]
    if isinstance(item, griffe.Class):
        for member_name, alias in sorted(item.all_members.items()):
            member = target(alias)
            is_property = member.is_attribute and "property" in member.labels
            if not member_name.startswith("_") and (member.is_function or is_property):
                lines += describe(f"{name}.{member_name}", member, level + 1)
    return lines


def code_of(item: griffe.Object) -> list[str]:
    """The signature as a block of Python; nothing for properties."""
    if isinstance(item, griffe.Attribute):
        if "property" in item.labels:
            return []
        text = f"{item.name} = {item.value}"
    elif isinstance(item, griffe.Class):
        bases = ", ".join(str(base).rpartition(".")[2] for base in item.bases)
        text = f"class {item.name}({bases})" if bases else f"class {item.name}"
        if "__init__" in item.members:  # dataclasses, too
            text = item.members["__init__"].signature(name=item.name, return_type=False)  # type: ignore[union-attr]
    else:
        assert isinstance(item, griffe.Function)
        text = f"def {item.signature()}"
    return ["```python", text if len(text) <= LINE_WIDTH else one_argument_a_line(text), "```", ""]


def one_argument_a_line(signature: str) -> str:
    """Break a signature behind the commas that are inside its outermost brackets alone."""
    start = signature.index("(") + 1
    text, depth = signature[:start] + "\n    ", 1
    for place, character in enumerate(signature[start:], start):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return f"{text},\n{signature[place:]}"
        is_break = depth == 1 and character == " " and signature[place - 1] == ","
        text += "\n    " if is_break else character
    raise ValueError(f"no closing bracket in {signature!r}")


def text_of(item: griffe.Object) -> list[str]:
    """The docstring as Markdown lines: sections such as `Args:` and `Raises:` become lists."""
    if item.docstring is None:
        raise UndocumentedError(f"{item.path} has no docstring ({item.filepath}, line {item.lineno})")
    lines: list[str] = []
    for section in item.docstring.parsed:
        if section.kind is griffe.DocstringSectionKind.text:
            lines += [section.value, ""]
        elif isinstance(section.value, list):
            lines += [f"**{section.kind.value.capitalize()}**", "", *(list_item(part) for part in section.value), ""]
        else:
            lines += [f"**{section.title or section.kind.value}**", "", section.value.contents, ""]
    return [REFERENCE.sub(r"\1", line) for line in lines]


def list_item(part: griffe.DocstringElement) -> str:
    """One argument, attribute, exception or result as an item of a list."""
    kind = "" if part.annotation is None else str(part.annotation)
    kind = f"`{kind}`" if kind and "`" not in kind else kind
    name = f"`{part.name}`" if isinstance(part, griffe.DocstringNamedElement) and part.name else ""
    head = f"{name} ({kind})" if name and kind else name or kind
    description = textwrap.indent(part.description.strip(), "  ").strip()
    return f"- {head}: {description}" if head else f"- {description}"


def main() -> int:
    """Write or check the pages; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is not up to date")
    check = parser.parse_args().check
    stale = []
    for page in PAGES:
        path, text = API / f"{page}.md", write_page(page)
        if check and not (path.exists() and path.read_text(encoding="utf-8") == text):
            stale.append(path.name)
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"docs/api: {', '.join(stale)} not up to date: run `make docs`", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
