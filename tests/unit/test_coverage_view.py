"""View 7: names in the grid too, the cursor stays on what was seen, what is new in the span is marked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from decnet_tui.model.feed import Feed
from decnet_tui.model.scope import Scope
from decnet_tui.screens.base import TextView
from decnet_tui.screens.coverage import GRID_FROM, CoverageView, MatrixLevel
from decnet_tui.screens.evidence import TagsLevel
from decnet_tui.screens.levels import Level, LevelsView
from decnet_tui.screens.traffic import TrafficView
from decnet_tui.widgets import glyphs
from tests.consolekit import use_usual_keys

SEEN = datetime(2026, 3, 1, tzinfo=UTC)


def count(tactic: str, technique: str, tags: int, *, new: bool = False) -> Any:
    return {
        "tactic": tactic,
        "technique_id": technique,
        "sub_technique_id": None,
        "tags": tags,
        "actors": 1,
        "last": SEEN,
        "new": new,
    }


ROWS = [
    count("TA0002", "T1059", 9),
    count("TA0002", "T1053", 2, new=True),
    count("TA0011", "T1105", 5),
    count("TA0007", "T1082", 1),
]


@pytest.fixture
def level() -> MatrixLevel:
    glyphs.use("ascii", {})
    made = MatrixLevel(Feed())
    made.load(ROWS)
    return made


def text(level: MatrixLevel, index: int, width: int) -> str:
    level.titles(width)
    return "".join(part for part, _ in level.line(index, width - 1))


def tactic(level: MatrixLevel) -> str:
    return level.tactics[level.column].tactic


def test_it_starts_on_a_seen_cell_and_left_and_right_stay_on_seen_tactics(level: MatrixLevel) -> None:
    ways = [tactic(level)]
    for _ in range(3):
        level.turn(1)
        assert level.current is not None
        assert level.current.tags
        ways.append(tactic(level))
    assert ways == ["TA0002", "TA0007", "TA0011", "TA0002"]
    level.turn(-1)
    assert tactic(level) == "TA0011"


def test_in_the_grid_a_turn_lands_on_the_last_seen_cell_of_a_shorter_tactic(level: MatrixLevel) -> None:
    level.titles(GRID_FROM)
    level.move(1, 20)
    level.turn(1)
    assert level.current is not None
    assert (level.current.technique, level.cursor) == ("T1082", 0)


@pytest.mark.parametrize(("rows", "filtered"), [([], ""), (ROWS, "seen:no"), (ROWS[:2], "")])
def test_where_no_other_was_seen_every_tactic_can_be_looked_at(rows: list[Any], filtered: str) -> None:
    level = MatrixLevel(Feed())
    level.load(rows)
    level.set_filter(filtered)
    before = level.column
    level.turn(1)
    assert level.column == before + 1


def test_the_grid_has_the_name_below_the_id_and_marks_what_is_new(level: MatrixLevel) -> None:
    first, second, third = (text(level, n, 160) for n in range(3))
    mark = glyphs.current().mark
    assert "T1059    " in first
    assert mark not in first
    assert "Command a" in second
    assert f"{mark}T1" in third


def test_the_page_says_new_in_a_word(level: MatrixLevel) -> None:
    assert " new " not in text(level, 0, 80)
    assert " new " in text(level, 1, 80)
    assert "1 new" in level.status()[0]
    level.move(1, 20)
    assert "nobody had it before" in level.detail()[2]
    assert level.record()["new"] is True


@pytest.mark.parametrize("rows", [4, 5, 9])
def test_the_cell_under_the_cursor_is_whole_on_the_screen(level: MatrixLevel, rows: int) -> None:
    level.titles(GRID_FROM)
    for _ in range(30):
        level.move(1, rows)
        assert level.top <= 2 * level.cursor
        assert 2 * level.cursor + 1 < level.top + rows
    for _ in range(30):
        level.move(-1, rows)
        assert level.top <= 2 * level.cursor


def test_one_day_is_shown_alone_and_s_goes_on_to_the_spans() -> None:
    view = CoverageView(Feed())
    assert view.take("2026-11-28")
    level = view.matrix
    day = datetime(2026, 11, 28, tzinfo=UTC).timestamp()
    assert (level.since, level.until, level.span) == (day, day + 86_400, "2026-11-28")
    level.load(ROWS)
    behind = level.below()
    assert isinstance(behind, TagsLevel)
    assert (behind.since, behind.until) == (day, day + 86_400)
    assert level.next_span() == "all"
    assert (level.since, level.until) == (0.0, 0.0)
    assert not view.take("T9999")
    assert not view.go_to("T9999")
    assert level.day is None
    assert view.go_to("t1053")


class Page(TextView, Level):
    """A level that is about somebody, or about nobody."""


class About(LevelsView):
    """A page about somebody, two levels deep in a view."""

    name = "actors"

    def __init__(self, scope: Scope | None, attacker: str = "", page: bool = True) -> None:
        super().__init__(Feed(), Page(Feed()))
        top = Page(Feed())
        top.attacker, top.is_page = attacker, page
        top.actor = lambda: scope  # type: ignore[method-assign]
        self.levels.append(top)


IDENTITY = Scope("203.0.113.7", frozenset({"a", "i", "203.0.113.7"}), "a")
KIT = Scope("c-29791111", frozenset({"a", "b"}), addresses=2, campaign="29791111-kit")


def test_from_a_page_the_matrix_is_of_whom_the_page_names_and_its_key_gives_everybody_again() -> None:
    use_usual_keys()
    view = CoverageView(Feed())
    level = view.matrix
    level.load(ROWS)
    view.come_from(About(IDENTITY, "a"))
    assert (level.names, level.campaign) == ({"a"}, ""), (
        "of an address alone, not of the others of its identity"
    )
    assert level.status()[0].startswith("203.0.113.7, all")
    assert level.status()[0].endswith("7 everybody")
    assert (view.came_from, level.loaded_at) == ("actors", 0.0)
    view.come_from(About(KIT))
    assert (level.names, level.campaign) == (None, "29791111-kit"), (
        "of its sessions, not of all of its addresses"
    )
    behind = level.below()
    assert isinstance(behind, TagsLevel)
    assert (behind.names, behind.campaign) == (None, "29791111-kit")
    view.set_scope(IDENTITY)
    assert level.campaign == "29791111-kit", "whoever is followed"
    for other in (view, About(None), About(IDENTITY, page=False), TrafficView(Feed())):
        view.come_from(About(KIT))
        view.come_from(other)
        assert level.names == IDENTITY.names, "who is followed"
        assert level.campaign == ""
    view.set_scope(None)
    assert level.names is None
    assert level.status()[0].startswith("everybody, all")
