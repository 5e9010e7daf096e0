"""What a decoy other than a shell was told to do: all of a session's operations, each once, within a bound that is counted."""

from __future__ import annotations

from typing import Any

import pytest

from decnet.config import SensorSettings
from decnet.sensors.cowrie import Fact
from decnet.sensors.session import Session, encoded_size

LIMITS = SensorSettings()


def told(*facts: tuple[float, dict[str, Any]], **limits: Any) -> Session:
    session = Session("s", "d", "n", 0.0, 0.0)
    for ts, data in facts:
        session.absorb(Fact("fact", ts, "n", "d", "192.0.2.1", "redis", data), SensorSettings(**limits))
    session.in_right_order(SensorSettings(**limits))
    return session


def test_each_operation_is_a_line_of_its_own_and_comes_once() -> None:
    session = told((1, {"op_text": "INFO"}), (2, {"op_text": "FLUSHALL"}), (3, {"op_text": "INFO"}))
    assert session.facts == {"op_text": "INFO\nFLUSHALL"}
    assert session.dropped == 0


def test_they_stand_in_the_order_of_their_times() -> None:
    session = told((5, {"op_text": "FLUSHALL"}), (1, {"op_text": "INFO"}))
    assert session.facts == {"op_text": "INFO\nFLUSHALL"}


def test_what_somebody_asked_for_is_the_first_and_numbers_add_up() -> None:
    session = told((1, {"path": "/a", "bytes_read": 3}), (2, {"path": "/b", "bytes_read": 4}))
    assert session.facts == {"path": "/a", "bytes_read": 7}


@pytest.mark.parametrize(("more", "dropped"), [(0, 0), (1, 1)])
def test_the_bound_is_met_exactly_and_what_is_beyond_it_is_counted(more: int, dropped: int) -> None:
    first = "a" * 32_000
    rest = "b" * (
        32_768 - 32_000 - 2 - 2 + more
    )  # two quotes, and a newline that is written with two characters
    session = told((1, {"op_text": first}), (2, {"op_text": rest}))
    assert session.dropped == dropped
    assert session.facts["op_text"] == (first if dropped else f"{first}\n{rest}")
    assert encoded_size(session.facts["op_text"]) <= 32_768


def test_a_note_that_is_too_long_alone_is_cut_and_counted() -> None:
    session = told((1, {"note_text": "\u202e" * 30_000}))
    assert session.facts["note_text"] == "\u202e" * 5_461
    assert session.dropped == 1
    assert encoded_size(session.facts["note_text"]) <= 32_768


def test_operations_weigh_what_they_are_long() -> None:
    session = told((1, {"op_text": "x" * 100}), (2, {"op_text": "y" * 50}))
    assert session.size_bytes - told().size_bytes == 150
    full = told((1, {"op_text": "x" * 30_000}), (2, {"note_text": "y" * 40_000}), max_session_bytes=65_536)
    assert full.dropped == 1
