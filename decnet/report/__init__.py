"""Pages for people: one document of plain values, written as one HTML page or as Markdown. Pure.

What goes into a document is put together elsewhere. Every text in it may be an attacker's; both writers treat all of it so.
"""

from __future__ import annotations

from decnet.report.document import Bars, Columns, Document, Heading, Paragraph, Table
from decnet.report.html import html_page
from decnet.report.markdown import markdown_page

__all__ = ["Bars", "Columns", "Document", "Heading", "Paragraph", "Table", "html_page", "markdown_page"]
