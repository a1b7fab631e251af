"""docs/api is what the docstrings say, and every public name has one."""

import importlib.util
from types import ModuleType

import griffe
import pytest
from documents import GENERATED, ROOT


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_api = load_generator()


@pytest.mark.parametrize("page", make_api.PAGES)
def test_reference_is_up_to_date(page: str) -> None:
    written = (GENERATED / f"{page}.md").read_text(encoding="utf-8")
    assert written == make_api.write_page(page), "run `make docs`"


@pytest.mark.parametrize("package", ["modeling_igllm", "dataset_builders", "metrics.scene_program"])
def test_every_public_name_has_a_docstring(package: str) -> None:
    root = make_api.load(package)
    modules = [root, *(make_api.target(item) for item in root.modules.values())]
    undocumented = [
        f"{item.path}.{member.name}" if member is not item else item.path
        for module in modules
        for item in make_api.public_names(module).values()
        for member in [item, *public_members(item)]
        if not member.has_docstring
    ]
    assert not undocumented


def public_members(item: griffe.Object) -> list[griffe.Object]:
    """Methods and properties of a class that have no underscore."""
    members = [make_api.target(member) for name, member in item.members.items() if not name.startswith("_")]
    return [member for member in members if member.is_function or "property" in member.labels]


def test_a_name_without_a_docstring_is_an_error() -> None:
    module = griffe.visit("bare", filepath=ROOT / "bare.py", code="def bare() -> None: ...")
    with pytest.raises(make_api.UndocumentedError, match=r"bare\.bare has no docstring"):
        make_api.describe("bare", module["bare"])


def test_long_signatures_have_one_argument_a_line() -> None:
    text = make_api.one_argument_a_line("f(a: dict[str, int], b: tuple = (1, 2)) -> None")
    assert text == "f(\n    a: dict[str, int],\n    b: tuple = (1, 2),\n) -> None"
