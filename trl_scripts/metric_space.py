"""The metric as a Space from which `evaluate.load("user/scene_program")` works without this package.

`evaluate` fetches the main file and the files that it imports relatively, all flat, but not what those import in turn.
So the Space holds, beside the metric's own files, the files of the scene-program language that they need, and the main
file imports every one of them. The language's files get a prefix: it has a scene_program.py of its own.
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import modeling_igllm

from .errors import CommandError
from .hub_content import HubContent, pushed_files, read_card_head

PACKAGE = modeling_igllm.__name__
PREFIX = "igllm_"
_PACKAGE_FOLDER = Path(modeling_igllm.__file__).parent


def metric_content(folder: Path, repo_id: str) -> HubContent:
    """A metric folder with the language beside it.

    Args:
        folder: the main file has the folder's name.
        repo_id: must end in that name, by which `evaluate` looks for the main file.

    Raises:
        CommandError: if the folder is no metric or does not fit `repo_id`, its card is not that of a gradio Space, or
            an import cannot be satisfied from its files and the language's.
    """
    main = folder.resolve().name
    if not (folder / f"{main}.py").is_file():
        raise CommandError(f"{folder} is no metric: it has no {main}.py; push metrics/scene_program")
    user, _, name = repo_id.partition("/")
    if name != main:
        raise CommandError(f"{repo_id}: evaluate.load would look for {name}.py, not {main}.py; push to {user}/{main}")
    card = folder / "README.md"
    if read_card_head(card).get("sdk") != "gradio":
        raise CommandError(f"{card} is not the card of a Space: put `sdk: gradio` into its YAML head")
    files = pushed_files(folder)
    files |= {f"{stem}.py": source.encode() for stem, source in stage_sources(folder, main).items()}
    return HubContent("space", files, ("*.py",))


def stage_sources(folder: Path, main: str) -> dict[str, str]:
    """Sources by file stem: the metric's, with its imports turned to the files beside it, and the language's.

    Args:
        main: stem of the main file; the result's imports every other module that it needs, directly or not.

    Raises:
        CommandError: if a module is imported that is in neither place.
    """
    sources = {path.stem: _metric_source(path) for path in sorted(folder.glob("*.py"))}
    needed = {main: ""}  # module -> a name that is imported from it
    for module in (queue := [main]):
        for node in _relative_imports(sources[module]):
            imported = str(node.module)
            if imported not in sources:
                sources[imported] = _language_source(imported, f"{folder / module}.py")
            if imported not in needed:
                needed[imported] = node.names[0].name
                queue.append(imported)
    named = {main, *(str(node.module) for node in _relative_imports(sources[main]))}
    missing = [_statement(module, needed[module]) for module in sorted(needed.keys() - named)]
    sources[main] = _insert_imports(sources[main], missing)
    return sources


def _metric_source(path: Path) -> str:
    """Its source, with `from modeling_igllm import a, b` replaced by imports from the language's files."""

    def beside(node: ast.ImportFrom) -> list[str]:
        if node.module != PACKAGE:
            return []
        return [_statement(PREFIX + _module_of(name.name, path), *_spelled([name])) for name in node.names]

    source = _rewrite_imports(path.read_text(encoding="utf-8"), beside)
    for node in ast.walk(ast.parse(source)):
        modules = [node.module] if isinstance(node, ast.ImportFrom) else []
        modules += [name.name for name in node.names] if isinstance(node, ast.Import) else []
        if any(str(module).partition(".")[0] == PACKAGE for module in modules):
            raise CommandError(
                f"{path} imports {modules[0]}: write `from {PACKAGE} import NAME`, a push follows only that"
            )
    return source


def _language_source(module: str, importer: str) -> str:
    """Source of a prefixed module, its relative imports prefixed as well."""
    path = _PACKAGE_FOLDER / f"{module.removeprefix(PREFIX)}.py"
    if not (module.startswith(PREFIX) and path.is_file()):
        raise CommandError(f"{importer} imports .{module}, which is not beside it: add the file or drop the import")

    def prefixed(node: ast.ImportFrom) -> list[str]:
        return [_statement(f"{PREFIX}{node.module}", *_spelled(node.names))] if node.level == 1 else []

    return _rewrite_imports(path.read_text(encoding="utf-8"), prefixed)


def _module_of(name: str, importer: Path) -> str:
    """The module of the language that defines what the package offers as `name`."""
    for node in _relative_imports((_PACKAGE_FOLDER / "__init__.py").read_text(encoding="utf-8")):
        if any(alias.name == name for alias in node.names):
            return str(node.module)
    raise CommandError(f"{importer} imports {name} from {PACKAGE}, which does not offer it: correct the import")


def _relative_imports(source: str) -> Iterator[ast.ImportFrom]:
    """The `from .x import y` at the top of a module; those under a condition are not run when it is loaded."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            yield node


def _rewrite_imports(source: str, replace: Callable[[ast.ImportFrom], list[str]]) -> str:
    """Put the statements that `replace` returns in the place of each `from ... import`; an empty list keeps it."""
    lines = source.splitlines()
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    for node in sorted(imports, key=lambda node: node.lineno, reverse=True):
        if statements := replace(node):
            indent = " " * node.col_offset
            lines[node.lineno - 1 : node.end_lineno] = [indent + statement for statement in statements]
    return "\n".join(lines) + "\n"


def _insert_imports(source: str, statements: list[str]) -> str:
    """Add statements behind the last import at the top of a module."""
    lines = source.splitlines()
    last = max(
        node.end_lineno or 0 for node in ast.parse(source).body if isinstance(node, (ast.Import, ast.ImportFrom))
    )
    lines[last:last] = statements
    return "\n".join(lines) + "\n"


def _spelled(names: list[ast.alias]) -> list[str]:
    return [name.name if name.asname is None else f"{name.name} as {name.asname}" for name in names]


def _statement(module: str, *names: str) -> str:
    """One line without a comment, all that `evaluate` understands."""
    return f"from .{module} import {', '.join(names)}"
