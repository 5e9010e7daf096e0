"""One self-contained HTML page: its style is inside, there is no script and no link, and a policy forbids both.

Every text goes through :func:`~decnet.hostile.visible` and is escaped, ours too: nobody has to know which is whose.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from decnet import __version__
from decnet.hostile import visible
from decnet.report.document import Bars, Block, Columns, Document, Heading, Paragraph, Table, empty
from decnet.report.plots import bars_svg, columns_svg

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Nothing is fetched and nothing runs, whatever else went wrong."""
_CELL, _TEXT = 400, 4000
_STYLE: Final = """
body { font: 15px/1.5 sans-serif; color: #222; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ccc }
.about { color: #666; margin-top: .2rem } .lead { font-size: 1.1em; background: #f3f6f9; padding: .8rem 1rem }
table { border-collapse: collapse; width: 100%; margin: .8rem 0; font-size: .9em }
th, td { text-align: left; vertical-align: top; padding: .25rem .5rem; border-bottom: 1px solid #ddd }
code { font: .95em monospace; overflow-wrap: anywhere } figure { margin: 1rem 0 } figcaption { color: #666 }
svg { max-width: 100%; height: auto } footer { margin-top: 3rem; color: #666; font-size: .85em }
@media print { body { margin: 0; max-width: none } tr, figure { break-inside: avoid } }
"""


def html_page(document: Document) -> str:
    """The page."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    title = _text(document.title)
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>{title}</title>"
    yield f"<style>{_STYLE}</style>"
    yield "</head>"
    yield "<body>"
    yield f"<h1>{title}</h1>"
    yield f'<p class="about">{_text(document.about)}</p>'
    yield '<div class="lead">'
    yield from (f"<p>{_text(sentence)}</p>" for sentence in document.lead)
    yield "</div>"
    for block in document.blocks:
        if not empty(block):
            yield from _block(block)
    yield f"<footer><p>Made by decnet-tui {__version__} at {document.made_at:%Y-%m-%d %H:%M}Z. All times are UTC.</p></footer>"
    yield "</body>"
    yield "</html>"


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield f"<h2>{_text(block.text)}</h2>"
    elif isinstance(block, Paragraph):
        yield f"<p>{_text(block.text)}</p>"
    elif isinstance(block, Table):
        yield from _table(block)
    else:
        yield from _figure(block)


def _table(table: Table) -> Iterator[str]:
    yield "<table>"
    yield (
        "<thead><tr>" + "".join(f"<th>{_text(name, _CELL)}</th>" for name in table.columns) + "</tr></thead>"
    )
    yield "<tbody>"
    for row in table.rows:
        cells = (_cell(text, code=number in table.code) for number, text in enumerate(row))
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    yield "</tbody>"
    yield "</table>"
    if table.more:
        yield f"<p>and {table.more} more</p>"


def _cell(text: str, *, code: bool) -> str:
    said = _text(text, _CELL)
    return f"<code>{said}</code>" if code and said else said


def _figure(plot: Bars | Columns) -> Iterator[str]:
    yield "<figure>"
    yield f"<figcaption>{_text(plot.title)}, {_text(plot.unit)}</figcaption>"
    yield bars_svg(plot) if isinstance(plot, Bars) else columns_svg(plot)
    yield "</figure>"


def _text(text: str, most: int = _TEXT) -> str:
    return escape(visible(text, most))
