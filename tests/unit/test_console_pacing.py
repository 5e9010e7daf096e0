"""One frame at a time: when frames wait for the terminal, and when they do not."""

from __future__ import annotations

import asyncio

from decnet_tui.widgets.pacing import GIVE_UP_S, LAST_S, Pace


class Line:
    """A terminal at the end of a line, with a clock of its own."""

    def __init__(self) -> None:
        self.now, self.asked = 100.0, 0
        self.pace = Pace(self._ask, lambda: self.now)

    def _ask(self) -> None:
        self.asked += 1


def test_a_terminal_that_never_answers_is_asked_once_and_not_waited_for() -> None:
    line = Line()
    for _ in range(5):
        line.pace.frame()
        assert line.pace.free
    assert line.asked == 1


def test_the_next_frame_waits_for_the_answer_to_the_last() -> None:
    line = Line()
    line.pace.frame()
    line.pace.answered()
    line.pace.frame()
    line.pace.frame()
    assert (line.asked, line.pace.free) == (2, False)
    line.pace.answered()
    assert line.pace.free


def test_a_lost_answer_does_not_end_in_a_still_picture() -> None:
    line = Line()
    line.pace.answered()
    line.pace.frame()
    line.now += GIVE_UP_S + 0.1
    assert line.pace.free
    line.pace.frame()
    assert line.asked == 2


async def test_leaving_waits_for_the_last_answer_and_asks_no_more() -> None:
    line = Line()
    line.pace.frame()
    leaving = asyncio.create_task(line.pace.finish())
    await asyncio.sleep(0)
    assert not leaving.done()
    line.pace.answered()
    await leaving
    line.pace.frame()
    assert line.asked == 1


async def test_leaving_does_not_wait_for_a_terminal_that_never_answers() -> None:
    line = Line()
    line.pace.frame()
    line.now += LAST_S + 0.1
    await asyncio.wait_for(line.pace.finish(), LAST_S / 2)
