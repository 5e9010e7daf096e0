"""What stands still: a writer that does not come back, a batch without end; and what only takes its time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from decnet.config import RuntimeSettings, Settings
from decnet.runtime.progress import BATCH_S, WRITER_S, Progress

LOOK_S = 10.0


def runner(state: str = "ok", topics: tuple[str, ...] = ("attacker.>",)) -> Any:
    stats = SimpleNamespace(processed=0, failed=0)
    return SimpleNamespace(turns=0, state=state, stats=stats, worker=SimpleNamespace(topics=topics))


def engine(*, trouble: str = "", heartbeat_s: float = 10.0, **runners: Any) -> Any:
    return SimpleNamespace(
        beats=SimpleNamespace(ended=0),
        database=SimpleNamespace(looks=0, trouble=trouble),
        settings=Settings(runtime=RuntimeSettings(heartbeat_s=heartbeat_s)),
        runners=runners,
    )


def looks(progress: Progress, seconds: float) -> str:
    """Looks for so long; the last answer."""
    said = ""
    for _ in range(int(seconds / LOOK_S) + 1):
        said = progress.standing(LOOK_S)
    return said


def test_a_writer_that_does_not_come_back_is_no_progress_and_one_that_does_is() -> None:
    made = engine()
    progress = Progress(made)
    assert looks(progress, WRITER_S) == ""
    assert "the writer of the database has not answered for 50 s" in progress.standing(LOOK_S)
    made.beats.ended += 1
    assert progress.standing(LOOK_S) == ""


def test_a_database_that_somebody_else_locks_is_waited_for() -> None:
    made = engine(trouble="locked by somebody")
    progress = Progress(made)
    for _ in range(100):
        made.database.looks += 1
        assert progress.standing(LOOK_S) == ""
    assert looks(progress, 2 * WRITER_S) != "", "nobody looks at it any more"


def test_looks_at_a_database_without_trouble_are_no_progress_of_the_writer() -> None:
    made = engine()
    progress = Progress(made)
    said = ""
    for _ in range(7):
        made.database.looks += 1
        said = progress.standing(LOOK_S)
    assert said


def test_heartbeats_that_come_seldom_are_waited_for() -> None:
    progress = Progress(engine(heartbeat_s=100.0))
    assert looks(progress, 400.0) == ""
    assert progress.standing(LOOK_S) != ""


def test_a_process_that_was_stopped_has_lost_no_time() -> None:
    """Forty seconds of SIGSTOP are no look: the seconds are those between looks as they were meant."""
    progress = Progress(engine())
    assert [progress.standing(10.0) for _ in range(5)] == [""] * 5


def alive(made: Any) -> None:
    made.beats.ended += 1


@pytest.mark.parametrize(
    ("one", "stands"),
    [(runner(), True), (runner("paused"), False), (runner("waiting_for_bus"), False), (runner(topics=()), False)],
)  # fmt: skip
def test_a_batch_without_end(one: Any, stands: bool) -> None:
    made = engine(ttp=one)
    progress = Progress(made)
    said = ""
    for number in range(int(BATCH_S / LOOK_S) + 2):
        alive(made)
        said = progress.standing(LOOK_S)
        assert not said or number > BATCH_S / LOOK_S
    assert said == ("worker ttp has had one batch in hand for 610 s" if stands else "")


@pytest.mark.parametrize("what", ["turns", "processed", "failed"])
def test_a_long_batch_of_which_parts_are_done_goes_on(what: str) -> None:
    one = runner()
    made = engine(ttp=one)
    progress = Progress(made)
    for _ in range(200):
        alive(made)
        if what == "turns":
            one.turns += 1
        else:
            setattr(one.stats, what, getattr(one.stats, what) + 1)
        assert progress.standing(LOOK_S) == ""
