"""The exception tree: what a caller may catch, places as they are written, many errors in their order."""

from __future__ import annotations

import pytest

from decnet import errors
from decnet.errors import DecnetError, RuleError, SourcePosition

PARENTS = {
    "ConfigError": "DecnetError", "BusError": "DecnetError", "BusUnavailable": "BusError", "BusAuthError": "BusError",
    "BusFull": "BusError", "MalformedEvent": "BusError", "DatabaseError": "DecnetError", "SchemaTooNew": "DatabaseError",
    "DiskFull": "DatabaseError", "RuleError": "DecnetError", "RuleStoreError": "DecnetError",
    "SensorError": "DecnetError", "IntelError": "DecnetError", "AmbiguousId": "DatabaseError", "FleetError": "DecnetError", "CanaryError": "DecnetError", "SubstrateError": "DecnetError", "EngineError": "DecnetError",
    "ExportError": "DecnetError", "DecnetError": "Exception",
}  # fmt: skip


def test_who_catches_whom() -> None:
    found = {
        name: kind.__bases__[0].__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert found == PARENTS
    assert all(issubclass(getattr(errors, name), DecnetError) for name in PARENTS)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (SourcePosition("f"), "f"),
        (SourcePosition("f", 3), "f:3"),
        (SourcePosition("f", 3, 7), "f:3:7"),
        (SourcePosition("f", 1, 1), "f:1:1"),
    ],
)
def test_a_place_is_written_without_its_unknown_parts(place: SourcePosition, text: str) -> None:
    assert str(place) == text


def test_an_error_of_a_rule_is_written_with_its_place() -> None:
    made = RuleError("m", SourcePosition("b", 1, 1))
    assert (made.message, made.place, made.rule_id, str(made)) == (
        "m",
        SourcePosition("b", 1, 1),
        None,
        "b:1:1: m",
    )
    assert RuleError("m", SourcePosition("b"), "R1").rule_id == "R1"
