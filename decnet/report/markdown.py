"""The same report as Markdown (CommonMark with tables). Plots are tables there.

Nothing in a text can become markup, HTML or a link: what has a meaning is written as a character reference, which no
renderer takes for anything else. In code a backtick would end it, so code is written as text too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from decnet import __version__
from decnet.hostile import visible
from decnet.report.document import Bars, Block, Columns, Document, Heading, Paragraph, Table, empty
from decnet.report.plots import stamp

_CELL, _TEXT = 400, 4000
_ACTIVE: Final = "\\`*_{}[]<>#|&~@^$"
_REFERENCES: Final = str.maketrans({char: f"&#{ord(char)};" for char in _ACTIVE})
_LINK: Final = re.compile(r"(?i)(www)\.|(mailto|xmpp|[a-z][a-z0-9+-]*(?=:/)):")
"""What renderers of GitHub's kind make a link of by itself."""
_BEGINNING: Final = re.compile(r"(\d{0,9})([-+=.)])")
"""What begins a list, a line or a heading, at the beginning of a text."""


def markdown_page(document: Document) -> str:
    """The page."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    yield f"# {text(document.title)}"
    yield ""
    yield text(document.about)
    for sentence in document.lead:
        yield ""
        yield f"> {text(sentence)}"
    for block in document.blocks:
        if not empty(block):
            yield ""
            yield from _block(block)
    yield ""
    yield text(f"Made by decnet-tui {__version__} at {document.made_at:%Y-%m-%d %H:%M}Z. All times are UTC.")


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield f"## {text(block.text)}"
    elif isinstance(block, Paragraph):
        yield text(block.text)
    elif isinstance(block, Table):
        yield from _table(block.columns, block.rows, block.more)
    else:
        yield text(f"{block.title}, {block.unit}")
        yield ""
        yield from _table(("", block.unit), list(_values(block)), 0)


def _values(plot: Bars | Columns) -> Iterator[tuple[str, str]]:
    """Empty spans at times say nothing in a table."""
    if isinstance(plot, Bars):
        yield from ((name, str(count)) for name, count in plot.values)
    else:
        yield from ((stamp(begin, plot.step_s), str(count)) for begin, count in plot.values if count)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], more: int) -> Iterator[str]:
    yield "| " + " | ".join(text(name, _CELL) for name in columns) + " |"
    yield "|" + " --- |" * len(columns)
    for row in rows:
        yield "| " + " | ".join(text(cell, _CELL) for cell in row) + " |"
    if more:
        yield ""
        yield f"and {more} more"


def text(said: str, most: int = _TEXT) -> str:
    """A text that stays one, wherever it stands; in one line."""
    plain = _LINK.sub(_unlinked, visible(said, most).strip().translate(_REFERENCES))
    return (
        _BEGINNING.sub(lambda found: f"{found[1]}&#{ord(found[2])};", plain, count=1)
        if _BEGINNING.match(plain)
        else plain
    )


def _unlinked(found: re.Match[str]) -> str:
    return f"{found[1]}&#46;" if found[1] else f"{found[2]}&#58;"
