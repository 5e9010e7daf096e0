"""What a soak says of its samples: flat, or not, and a drawing that any reader takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tests.fault.soak import Sample, verdicts
from tests.fault.soakverdict import LAG, WORK, Series, concluded, drawing, judged


def series(grows: float, allowed: float = 10.0, noise: float = 0.0, warming: float = 0.0) -> Series:
    """Ten minutes, a sample a second: 100 and what it grows by in all, with a warm beginning."""
    samples = [
        (
            float(second),
            100 + grows * second / 599 + noise * math.sin(second) + (warming if second >= 100 else 0.0),
        )
        for second in range(600)
    ]
    return Series("memory", "MB", samples, allowed)


def test_what_does_not_grow_is_flat_also_when_it_is_restless_or_has_warmed_up() -> None:
    assert judged(series(0)).flat
    assert judged(series(0, noise=30)).flat
    assert judged(series(0, warming=80)).flat
    assert judged(series(-50)).flat


def test_what_grows_is_not_flat_from_what_is_allowed_on() -> None:
    warm = 2 / 3 * 11 / 12  # the middles of the first and the last of twelve pieces
    assert judged(series(10 / warm * 0.98)).flat
    assert not judged(series(10 / warm * 1.02)).flat
    assert not judged(series(60, noise=30)).flat
    assert judged(series(60)).an_hour == pytest.approx(360, rel=0.02)


@pytest.mark.parametrize(
    ("memory", "lag", "wrong", "said", "code"),
    [
        (0, 0, False, "flat", 0),
        (60, 0, False, "NOT FLAT (memory)", 1),
        (0, 60, False, "rate too high for this machine: 80 of 150 lines/s were worked off, try RATE=56", 3),
        (60, 60, False, "NOT FLAT (memory), and rate too high", 1),
        (0, 60, True, "something is wrong, and rate too high", 1),
        (0, 0, True, "something is wrong", 1),
        (0, 0, None, "too short for memory", 3),
        (60, 60, None, "too short for memory, and rate too high", 3),
    ],
)
def test_a_rate_above_the_machines_is_told_apart_from_a_leak(
    memory: float, lag: float, wrong: bool | None, said: str, code: int
) -> None:
    first = replace(series(memory), full_at=400.0 if wrong is None else 0.0)
    found = [judged(first), judged(replace(series(lag), name=LAG))]
    text, exit_code = concluded(found, 150.0, 80.0, bool(wrong))
    assert text.startswith(said)
    assert exit_code == code


def test_what_is_remembered_up_to_a_bound_fills_first() -> None:
    """Memory that grows until then is judged by what comes after, if a third of the run does."""
    filling = Series("memory", "MB", [(float(s), 100 + min(s, 390) * 0.5) for s in range(600)], 10.0)
    assert judged(filling).word == "NOT FLAT"
    assert judged(replace(filling, full_at=390.0)).word == "flat"
    assert judged(replace(series(60), full_at=399.0)).word == "NOT FLAT"
    assert judged(replace(series(60), full_at=400.0)).word == "not judged"


def test_what_an_event_costs_counts_where_batches_are_full() -> None:
    dear = judged(replace(series(60), name=WORK))
    assert concluded([dear, judged(replace(series(0), name=LAG))], 150.0, 150.0, False) == ("flat", 0)
    text, code = concluded([dear, judged(replace(series(60), name=LAG))], 150.0, 80.0, False)
    assert text.startswith(f"NOT FLAT ({WORK}), and rate too high")
    assert code == 1


def made_of(cpu_ms: Callable[[float], float]) -> list[Sample]:
    """Ten minutes of 20 events a second, each of them so many milliseconds of work at its moment."""
    samples, cpu = [], 0.0
    for second in range(600):
        cpu += 20 * cpu_ms(second) / 1000
        samples.append(
            Sample(
                second,
                200.0,
                50.0,
                20,
                10,
                5,
                second * 20,
                cpu,
                400_000 + second * 15,
                1_000_000 + second * 4000,
                0,
            )
        )
    return samples


def test_work_that_grows_with_what_there_is_already_is_not_flat() -> None:
    def flat(samples: list[Sample]) -> dict[str, bool]:
        return {one.series.name: one.flat for one in verdicts(samples, 15.0)}

    assert all(flat(made_of(lambda second: 20.0)).values())
    assert flat(made_of(lambda second: 20.0 + 0.02 * second))["work, by event"] is False
    assert flat(made_of(lambda second: 20.0 if second % 120 < 60 else 24.0))["work, by event"]


def test_a_handful_of_samples_says_nothing() -> None:
    with pytest.raises(ValueError, match="too few"):
        judged(Series("memory", "MB", [(float(n), 1.0) for n in range(10)], 1.0))


def test_the_drawing_is_one_picture_with_a_panel_for_each() -> None:
    text = drawing("a <run> & more", [judged(series(0)), judged(series(60))])
    root = ElementTree.fromstring(text)
    lines = [node for node in root if node.tag.endswith("polyline")]
    assert [node.get("stroke") for node in lines] == ["#1a7f37", "#b00020"]
    assert "NOT FLAT" in text
    for node in lines:
        points = [tuple(map(float, point.split(","))) for point in (node.get("points") or "").split()]
        assert len(points) == 600
        assert all(0 <= x <= float(root.get("width") or 0) for x, _ in points)
