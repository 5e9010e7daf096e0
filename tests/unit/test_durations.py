"""One grammar for durations, wherever one is written: rules, fleets, settings, commands and forms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from decnet.config import MutatorSettings
from decnet.durations import UNITS, parse_duration, parse_finite
from decnet.errors import FleetError
from decnet.mutator.schedule import parse_interval
from decnet.ttp.schema import WindowSchema
from decnet_tui.actions import forms
from decnet_tui.cli import common

MEANT = {
    "90s": 90.0,
    "15m": 900.0,
    "1h30m": 5400.0,
    "1.5h": 5400.0,
    "2d": 172_800.0,
    "1w": 604_800.0,
    " 12H ": 43_200.0,
}
WRONG = (
    "",
    " ",
    "5",
    "m",
    "-5m",
    "+5m",
    "1,5h",
    "1h 30m",
    "5 m",
    "5y",
    "1e3s",
    "\u0663m",
    "nan",
    "1h!",
    "1h\n5m",
    "9" * 80 + "s",
)
READERS: dict[str, Callable[[str], object]] = {
    "ground": parse_duration,
    "rule": lambda text: WindowSchema.model_validate({"count": 2, "within": text, "by": ["session_id"]}),
    "fleet": parse_interval,
    "setting": lambda text: MutatorSettings(mutate_interval=text),
    "command": common.parse_duration,
    "form": forms.parse_duration,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", MEANT)
def test_every_reader_takes_the_same_words(reader: str, text: str) -> None:
    found = READERS[reader](text)
    if reader in ("ground", "fleet", "form"):
        assert found == MEANT[text]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", WRONG)
def test_every_reader_refuses_the_same_words(reader: str, text: str) -> None:
    with pytest.raises((ValueError, ValidationError, FleetError, typer.BadParameter)):
        READERS[reader](text)


@pytest.mark.parametrize("text", ["forever", "never", " Never "])
def test_what_has_no_end_is_none(text: str) -> None:
    assert parse_duration(text) is None
    with pytest.raises(ValueError, match="no duration"):
        parse_finite(text)


@given(
    st.lists(st.tuples(st.integers(0, 999_999_999), st.sampled_from(sorted(UNITS))), min_size=1, max_size=4)
)
def test_parts_add_up(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert parse_finite(text) == sum(number * UNITS[unit] for number, unit in parts)
