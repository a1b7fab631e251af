"""What the project's Markdown says: links, code and commands, each with the file and line that it stands in."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ROOT / "docs" / "api"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WRITTEN = [path for path in DOCUMENTS if GENERATED not in path.parents]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`]+)`")
FENCE = re.compile(r"^\s*```(\w*)")


@dataclass(frozen=True)
class Code:
    """A block of code, or a span in running text (`language` is "span" then)."""

    language: str
    text: str
    place: str


@dataclass(frozen=True)
class Command:
    """The words of a shell command; a `mention` in running text may leave out what is required."""

    words: list[str]
    place: str
    mention: bool


def text_and_code(path: Path) -> Iterator[Code]:
    """The parts of a document in order; running text has the language "text"."""
    name = path.relative_to(ROOT)
    language, lines, start = "text", [], 1
    for number, line in enumerate([*path.read_text(encoding="utf-8").splitlines(), "```"], 1):
        fence = FENCE.match(line)
        if fence is None:
            lines.append(line)
            continue
        yield Code(language, "\n".join(lines), f"{name}:{start}")
        language = (fence[1] or "plain") if language == "text" else "text"
        lines, start = [], number + 1


def links(path: Path) -> Iterator[tuple[str, str]]:
    """Target and place of every link and picture."""
    for part in text_and_code(path):
        if part.language == "text":
            yield from ((match[1], part.place) for match in LINK.finditer(part.text))


def spans(path: Path) -> Iterator[Code]:
    """The code in running text."""
    for part in text_and_code(path):
        if part.language == "text":
            yield from (Code("span", " ".join(match[1].split()), part.place) for match in SPAN.finditer(part.text))


def commands(path: Path) -> Iterator[Command]:
    """The commands of all shell blocks, and those mentioned in running text."""
    for part in text_and_code(path):
        if part.language == "bash":
            for line in part.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line.strip().removeprefix("/usr/bin/time -v "), comments=True)
                if words and words[0] not in ("for", "done"):
                    yield Command(_before_redirection(words), part.place, mention=False)
    for span in spans(path):
        text = span.text.removeprefix("/usr/bin/time -v ")
        if re.match(r"(igllm|make|python|accelerate|[a-z_]+\.py) ", text):
            yield Command(_before_redirection(shlex.split(text)), span.place, mention=True)


def _before_redirection(words: list[str]) -> list[str]:
    return words[: words.index(">")] if ">" in words else words


def anchors(path: Path) -> set[str]:
    """What may stand behind `#` in a link to a document, as GitHub makes it of the headings."""
    headings = (
        line.lstrip("#")
        for part in text_and_code(path)
        if part.language == "text"
        for line in part.text.splitlines()
        if line.startswith("#")
    )
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
