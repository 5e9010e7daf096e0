"""Who struck the keys, in words and with the reason: a hand, or a script."""

from __future__ import annotations

import pytest

from decnet.db.rows.struck import StruckSessions
from decnet_tui.model.struck import struck_by_text, struck_text


def one(
    modality: str | None, cadence: str | None, protocol: str | None = "ssh", sessions: int = 1
) -> StruckSessions:
    return {
        "modality": modality,
        "cadence": cadence,
        "confidence": 0.5,
        "protocol": protocol,
        "sessions": sessions,
    }


@pytest.mark.parametrize(
    ("modality", "cadence", "protocol", "text"),
    [
        ("pasted", "machine", "ssh", "by a script: whole lines at a time"),
        ("mixed", "machine", "ssh", "by a script: whole lines at a time"),
        ("typed", "machine", "ssh", "by a script: its keys came as evenly as no hand strikes them"),
        ("pasted", None, "ssh", "pasted: its lines came whole"),
        ("mixed", "bursty", "ssh", "typed and pasted: some lines came whole, others key by key"),
        ("typed", "steady", "ssh", "typed by hand: its keys came at a steady pace"),
        ("typed", "bursty", "telnet", "typed by hand: its keys came in bursts"),
        ("typed", None, None, "typed by hand: its keys came one by one"),
        (None, "hunt_and_peck", "ssh", "typed by hand: its keys came one after a search for the other"),
        ("pasted", "machine", "telnet", "in whole lines: some Telnet clients send those however they were struck"),
        ("strange", "strange", "strange", "typed by hand: its keys came one by one"),
    ],
)  # fmt: skip
def test_by_whom_and_why(modality: str | None, cadence: str | None, protocol: str | None, text: str) -> None:
    assert struck_text(one(modality, cadence, protocol)) == f"{text}  0.50"


def test_of_many_sessions_the_commonest_first_with_its_reason_in_one_line() -> None:
    assert struck_by_text([]) == ""
    several = [
        one("typed", "steady", sessions=3),
        one("pasted", "machine", sessions=2),
        one("mixed", "machine", sessions=2),
    ]
    said = struck_by_text(several)
    assert said == "by a script 4, typed by hand 3 of 7 recorded: whole lines at a time"
    assert struck_by_text(several[:1]) == "typed by hand 3 of 3 recorded: its keys came at a steady pace"
