"""What a soak says of its samples: flat, or not, and a drawing that any reader takes."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from tests.fault.soakverdict import Series, drawing, judged


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
