"""The code of README.md, docs/ and the chart's README.md: blocks, and spans within sentences."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.controller import ROOT

_PARSER = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Code:
    """A block or a span; `language` is that of a fence, "" for an indented block, a plain fence and a span."""

    file: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def files() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "deploy/helm/netstacks/README.md"]


def blocks() -> Iterator[Code]:
    for file, token in _tokens():
        if token.type in ("fence", "code_block") and token.map is not None:
            yield Code(file, token.map[0] + 1, token.info, token.content)


def spans() -> Iterator[Code]:
    for file, token in _tokens():
        for child in token.children or []:
            if child.type == "code_inline" and token.map is not None:
                yield Code(file, token.map[0] + 1, "", child.content)


def _tokens() -> Iterator[tuple[str, Token]]:
    for path in files():
        for token in _PARSER.parse(path.read_text()):
            yield str(path.relative_to(ROOT)), token
