"""What an operator keeps: views under names, columns, and the files that exports make; what themes look like."""

from __future__ import annotations

import csv
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.style import Style

from decnet_tui.model import export, saved
from decnet_tui.model.export import Sheet, Shown, file_stem
from decnet_tui.model.ids import names
from decnet_tui.model.saved import Kept, Saved, parse_saved
from decnet_tui.model.trends import HOURS, Trend, bars, trends_of
from decnet_tui.screens.header import view_at, views_line
from decnet_tui.widgets import strips
from decnet_tui.widgets.themes import THEMES, contrast
from decnet_tui.widgets.trend import trend_line
from tests.consolekit import use_usual_keys

STYLES = {name: value for name, value in vars(strips).items() if isinstance(value, Style)}
VIEW = Saved("actors", "/wget|curl/ country:NL", "-last_seen", ("attacker_ip", "severity"))


# --- saved views


@pytest.mark.parametrize(
    "view", [VIEW, Saved("traffic", "> -system.>"), Saved("rules", "", "name"), Saved("since")]
)
def test_a_view_is_read_back_from_its_line(view: Saved) -> None:
    assert parse_saved(view.line()) == view._replace(columns=list(view.columns))


@pytest.mark.parametrize(
    "text", ["", "Actors filter=x", "actors sort=a b", "actors columns= filter=x", "actors x"]
)
def test_a_line_that_means_no_view_says_the_shape(text: str) -> None:
    with pytest.raises(ValueError, match="no saved view"):
        parse_saved(text)


def test_views_are_an_operators_own_beside_those_of_everybody(tmp_path: Path) -> None:
    shared = {"night": "since filter=", "scan": "actors sort=-seen filter=/nmap/"}
    eve, bob = (Kept(tmp_path, name, shared) for name in ("eve", "bob"))
    eve.save("night", VIEW)
    assert eve.load("night") == VIEW._replace(columns=list(VIEW.columns))
    assert bob.load("night") == Saved("since", columns=[])
    assert (eve.names(), bob.load("none")) == (["night", "scan"], None)
    path = tmp_path / saved.FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not bob.forget("night")
    assert eve.forget("night")
    assert eve.load("night") == Saved("since", columns=[]), "everybody's is there again"


@pytest.mark.parametrize("name", ["", "-x", "a b", "x" * 41, "../x", "a\x1b"])
def test_what_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a name has"):
        Kept(tmp_path, "eve").save(name, VIEW)
    Kept(tmp_path, "eve").save("x" * 40, VIEW)


def test_so_many_views_are_kept_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MAX_SAVED", 2)
    eve = Kept(tmp_path, "eve")
    eve.save("a", VIEW)
    eve.save("b", VIEW)
    with pytest.raises(ValueError, match="2 views are saved already"):
        eve.save("c", VIEW)
    eve.save("b", Saved("rules"))
    assert eve.load("b") == Saved("rules", columns=[])


def test_columns_are_kept_and_a_broken_file_is_no_file(tmp_path: Path) -> None:
    eve = Kept(tmp_path, "eve")
    eve.keep_columns("actors/sources", ["attacker_ip", "did"])
    eve.save("x", VIEW)
    assert Kept(tmp_path, "eve").columns("actors/sources") == ["attacker_ip", "did"]
    assert Kept(tmp_path, "bob").columns("actors/sources") == []
    for broken in ("{", "[]", '{"eve": 3}', '{"eve": {"columns": {"actors/sources": "x"}, "saved": []}}'):
        (tmp_path / saved.FILE_NAME).write_text(broken)
        assert (eve.columns("actors/sources"), eve.names()) == ([], [])


# --- exports

HOSTILE = '=HYPERLINK("x")\x1b[2J\u202e'
ROWS = Sheet(
    ("when", "what", "how many", "tags"),
    [(datetime(2026, 11, 8, tzinfo=UTC), HOSTILE, -3, ["a", None]), (None, "+1;2\n3", 2.5, {"k": "é"})],
)


async def test_a_csv_holds_the_columns_and_no_formula(tmp_path: Path) -> None:
    path, count = await export.write(tmp_path, Shown(["found"], [], ROWS), "csv")
    assert (count, path.suffix, stat.S_IMODE(path.stat().st_mode)) == (2, ".csv", 0o600)
    with path.open(encoding="utf-8", newline="") as file:
        head, first, second = csv.reader(file)
    assert head == list(ROWS.columns)
    assert first == ["2026-11-08T00:00:00+00:00", '\'=HYPERLINK("x")\\e[2J\\u202e', "-3", "a "]
    assert second == ["", "'+1;2\\n3", "2.5", '{"k": "é"}']


@pytest.mark.parametrize("begin", ["=", "+", "-", "@"])
async def test_no_cell_of_text_begins_as_a_formula_does(begin: str, tmp_path: Path) -> None:
    sheet = Sheet((f"{begin}x",), [(f"{begin}1",), (f" {begin}1",)])
    path, _ = await export.write(tmp_path, Shown(["x"], [], sheet), "csv")
    assert path.read_text("utf-8").split("\n")[1] == f"'{begin}1"


async def test_a_text_is_aligned_and_visible(tmp_path: Path) -> None:
    path, _ = await export.write(tmp_path, Shown(["found"], [], ROWS), "text")
    lines = path.read_text("utf-8").split("\n")
    assert path.suffix == ".txt"
    assert lines[0].split() == ["when", "what", "how", "many", "tags"]
    assert lines[1].index("\\e[2J") > 0
    assert "\x1b" not in lines[1]


def test_a_file_says_what_is_in_it_in_harmless_characters() -> None:
    assert file_stem(["actors", "203.0.113.7", "session 3e64"]) == "actors-203.0.113.7-session_3e64"
    assert file_stem(["campaigns", "../../etc/passwd\x1b", "."]) == "campaigns-etc_passwd"
    assert file_stem(["", "..."]) == "export"
    assert len(file_stem(["x" * 79, "yy"])) == len(file_stem(["x" * 200])) - 1 == export.MAX_NAME - 1


# --- themes


@pytest.mark.parametrize(("name", "least"), [("dark", 4.5), ("light", 4.5), ("contrast", 7.0)])
def test_every_style_of_a_theme_can_be_read(name: str, least: float) -> None:
    theme = THEMES[name]
    assert len(STYLES) >= 8
    for word, style in STYLES.items():
        shown = theme.style(style)
        assert shown.color is not None
        assert shown.bgcolor is not None
        assert contrast(shown.color.name, shown.bgcolor.name) >= least, word
        assert (shown.bold, shown.reverse) == (bool(style.bold), bool(style.reverse))


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#123456", "#123456") == 1.0


def test_the_terminals_own_theme_leaves_styles_alone_and_none_takes_the_colours() -> None:
    for style in STYLES.values():
        assert THEMES["terminal"].style(style) == style
        bare = THEMES["none"].style(style)
        assert (bare.color, bare.bgcolor, bare.bold) == (None, None, bool(style.bold))


# --- rates of the day, ids, the line of views


def test_rates_of_a_day_have_a_bar_for_anything_and_say_what_is_usual() -> None:
    hourly = {"events": [0] * 23 + [1], "refused": [2] * 24, "other": [1] * 24}
    events, refused = trends_of(hourly)
    assert [t.name for t in (events, refused)] == ["events", "refused"]
    assert events.text == "1/h (usual 0)  24h 1"
    assert refused.text == "2/h (usual 2)  24h 48"
    assert bars(events.counts, " .#") == " " * (HOURS - 1) + "#"
    assert bars([0, 1, 1000], " .#") == " .#"
    assert bars([], " .#") == ""
    assert "".join(text for text, _ in trend_line(Trend("sources", (0,) * 24))).startswith(" new sources")


def test_a_line_that_is_refused_in_this_hour_is_marked() -> None:
    calm, loud = (trend_line(Trend("refused", (*[0] * 23, count)))[-1][1] for count in (0, 1))
    assert (calm, loud) == (strips.PLAIN, strips.WARN)


@pytest.mark.parametrize(
    ("text", "known", "wanted"),
    [("7c1e9a02", "7c1e9a02-aaaa", True), ("7c1e", "7c1e9a02", True), ("7c1", "7c1e9a02", False), ("7C1E9A", "7c1e9a02", True),
     ("203.0.113.7", "203.0.113.7", True), ("203.0.113", "203.0.113.7", False), ("2001:db8", "2001:db8::1", False), ("x" * 9, None, False)],
)  # fmt: skip
def test_an_id_is_meant_by_its_beginning_an_address_whole(text: str, known: str | None, wanted: bool) -> None:
    assert names(text, None, known) is wanted


@pytest.mark.parametrize("width", [60, 80, 160])
def test_each_column_of_the_line_of_views_belongs_to_the_view_that_stands_there(width: int) -> None:
    use_usual_keys()
    for current in ("since", "actors", "help"):
        text = "".join(part for part, _ in views_line(current, width))
        at = 0
        for part, _ in views_line(current, width)[:20:2]:
            name = view_at(current, width, at)
            assert name, (part, at)
            assert {view_at(current, width, at + n) for n in range(len(part))} == {name}
            assert view_at(current, width, at + len(part)) != name
            at += len(part) + 1
        assert text[-1] == "?" or "help" in text
        assert view_at(current, width, width - 1) == "help"
