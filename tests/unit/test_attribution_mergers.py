"""The mergers: every row of their decision tables, the borders of each threshold, hostile values."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.attribution import STATES, aggregate_observations, merge_categorical, merge_hash, merge_numeric
from decnet.attribution import kinds as kinds_module
from decnet.attribution import thresholds as th
from decnet.attribution.kinds import value_kind
from decnet.attribution.mergers import merge_primitive

DAY = 86_400.0


def rows(values: Any, confidence: Any = 1.0, step: float = 1.0) -> list[dict[str, Any]]:
    return [{"value": v, "ts": 1000.0 + i * step, "confidence": confidence} for i, v in enumerate(values)]


CATEGORICAL = [
    ("", "unknown", None, 0.0),
    ("a", "unknown", "a", 0.0),
    ("ab", "unknown", "b", 0.0),
    ("aaa", "stable", "a", 1.0),
    ("aab", "conflicted", "a", 2 / 3),
    ("aaab", "conflicted", "a", 0.75),
    ("aaaa", "stable", "a", 1.0),
    ("aaaab", "stable", "a", 0.8),
    ("aaabb", "conflicted", "a", 0.6),
    ("abaab", "multi_actor", "a", 0.6),
    ("ababa", "multi_actor", "a", 0.6),
    ("abbaa", "conflicted", "a", 0.6),
    ("abacb", "conflicted", "b", 0.4),
    ("abab", "multi_actor", "b", 0.5),
    ("aba", "conflicted", "a", 2 / 3),
    ("bbbbaaaa", "stable", "a", 0.8),
    ("bbbbaaaaa", "stable", "a", 1.0),
    ("bbbbbaaaaa", "drifting", "a", 1.0),
    ("ababaaaaaa", "drifting", "a", 1.0),
    ("aaaabaaaaa", "stable", "a", 1.0),
    ("zzzzzzaaaaaaaaaa", "stable", "a", 1.0),
    ("aaaaaaaaaababab", "multi_actor", "b", 0.6),
]


@pytest.mark.parametrize(("values", "state", "value", "confidence"), CATEGORICAL)
def test_categories(values: str, state: str, value: str | None, confidence: float) -> None:
    found = aggregate_observations(rows(values))
    assert (found.state, found.current_value) == (state, value)
    assert found.confidence == pytest.approx(confidence)
    assert found.observation_count == len(values)
    assert found.last_observation_ts == (1000.0 + len(values) - 1 if values else None)


def test_the_share_of_the_top_value_is_weighted_by_confidence() -> None:
    seen = rows("aaaab")
    seen[4]["confidence"] = 0.5
    assert aggregate_observations(seen).confidence == pytest.approx(4 / 4.5)
    assert aggregate_observations(rows("aaaaa", 0.0)).confidence == 0.0
    assert aggregate_observations(rows("aaaaa", None)).confidence == 1.0


def test_two_modes_are_never_surer_than_the_cap() -> None:
    seen = rows("ababa")
    for row in seen:
        row["confidence"] = 1.0 if row["value"] == "a" else 0.01
    assert aggregate_observations(seen).confidence == th.MULTI_ACTOR_MAX_CONFIDENCE


NUMERIC = [
    ([], "unknown", None, 0.0),
    ([5], "unknown", 5.0, 0.0),
    ([5, 5], "unknown", 5.0, 0.0),
    ([5, 5, 5], "stable", 5.0, 1.0),
    ([0, 0, 0], "stable", 0.0, 1.0),
    ([-1, 1, -1, 1], "conflicted", None, 0.5),
    ([0, 0, 0, 0, 10], "conflicted", 3.0, 0.5),
    ([10] * 5 + [12.9] * 5, "stable", None, 1.0),
    ([10] * 5 + [13.0] * 5, "drifting", None, 1.0),
    ([10] * 5 + [7.0] * 5, "drifting", None, 1.0),
    ([0] * 5 + [1.0] * 5, "drifting", None, 1.0),
    ([10] * 4 + [20.0] * 5, "stable", None, 1.0),
    ([8, 10, 12], "stable", None, 1 - (8 / 3) ** 0.5 / 10),
]


@pytest.mark.parametrize(("values", "state", "value", "confidence"), NUMERIC)
def test_numbers(values: list[float], state: str, value: float | None, confidence: float) -> None:
    found = aggregate_observations(rows(values), value_kind="numeric")
    assert found.state == state
    assert found.confidence == pytest.approx(confidence)
    if value is not None:
        assert found.current_value == pytest.approx(value)


def test_numbers_are_smoothed() -> None:
    assert merge_numeric(rows([10, 20])).current_value == pytest.approx(0.3 * 20 + 0.7 * 10)


HASH = [
    ([], 1.0, "unknown", 0.0),
    (["a"], 1.0, "unknown", 0.0),
    (["a", "a"], 1.0, "unknown", 0.0),
    (["a", "a", "a"], 1.0, "stable", 1.0),
    (["a", "b", "b"], 1.0, "drifting", 0.5),
    (["a", "b", "c"], 1.0, "drifting", 1 / 3),
    (["a", "b", "c", "d"], 1.0, "conflicted", 0.25),
    (["a", "b", "c", "d"], DAY / 3, "conflicted", 0.25),
    (["a", "b", "c", "d"], DAY / 2.9, "drifting", 1 / 3),
    (["a", "b", "c", "d"], DAY + 1, "stable", 1.0),
]


@pytest.mark.parametrize(("values", "step", "state", "confidence"), HASH)
def test_hashes_within_a_day(values: list[str], step: float, state: str, confidence: float) -> None:
    found = aggregate_observations(rows(values, step=step), value_kind="hash")
    assert found.state == state
    assert found.confidence == pytest.approx(confidence)
    assert found.current_value == (values[-1] if values else None)


def test_a_simhash_is_compared_by_its_bits() -> None:
    near = rows(["00000000000000ff", "00000000000000f0", "000000000000003f"])
    far = rows(["00000000000000ff", "ffffffffffffff00", "00000000000000ff"])
    assert merge_primitive("motor.digraph_simhash", near).state == "stable"
    assert merge_primitive("motor.digraph_simhash", far).state == "drifting"
    assert merge_hash(near).state == "drifting"
    assert merge_primitive("motor.digraph_simhash", rows(["zz", "", "zz"])).state == "drifting"


def test_arrays_are_compared_as_canonical_json() -> None:
    one, other = {"b": [1, 2], "a": "x"}, {"a": "x", "b": [1, 2]}
    found = merge_primitive("toolchain.ssh.kex_algorithm_order", rows([one, other, one]))
    assert (found.state, found.current_value) == ("stable", one)
    assert (
        merge_primitive("toolchain.ssh.kex_algorithm_order", rows([[1, 2], [2, 1], [1, 2]])).state != "stable"
    )


def test_kinds_come_from_the_registry_and_its_absence_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    assert value_kind("toolchain.c2.beacon_jitter_cv") == "numeric"
    assert value_kind("motor.digraph_simhash") == "hash"
    assert value_kind("toolchain.ssh.kex_algorithm_order") == value_kind("no.such.primitive") == "categorical"
    kinds_module._registry.cache_clear()
    monkeypatch.setattr(kinds_module, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    assert value_kind("toolchain.c2.beacon_jitter_cv") == "categorical"
    kinds_module._registry.cache_clear()


@pytest.mark.parametrize("kind", ["", "array", "Numeric", "CATEGORICAL"])
def test_another_kind_is_an_error(kind: str) -> None:
    with pytest.raises(ValueError, match="unknown value kind"):
        aggregate_observations([], value_kind=kind)


def test_profiles_and_states_are_frozen() -> None:
    assert frozenset({"unknown", "stable", "drifting", "conflicted", "multi_actor"}) == STATES
    found = aggregate_observations(rows("aaa"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.state = "drifting"  # type: ignore[misc]


def test_the_label_unknown_is_no_evidence() -> None:
    assert aggregate_observations(rows(["unknown"] * 5)).state == "unknown"
    assert aggregate_observations(rows(["a", "unknown", "a", "unknown", "a"])).state == "stable"


def test_rows_count_in_order_of_time_and_reference() -> None:
    seen = [{**row, "evidence_ref": f"r{i:02}"} for i, row in enumerate(rows("bbbbbaaaaa", step=0.0))]
    assert aggregate_observations(reversed(seen)) == aggregate_observations(seen)
    moments = [{**row, "ts": datetime.fromtimestamp(row["ts"], UTC)} for row in rows("aaa")]
    assert aggregate_observations(moments).last_observation_ts == 1002.0


ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=3),
)


@given(
    st.lists(st.fixed_dictionaries({"value": ANY, "ts": ANY, "confidence": ANY}), max_size=14),
    st.sampled_from(["categorical", "numeric", "hash", None]),
)
def test_no_value_upsets_a_merger(seen: list[dict[str, Any]], kind: str | None) -> None:
    found = aggregate_observations(seen, value_kind=kind)
    assert found.state in STATES
    assert 0.0 <= found.confidence <= 1.0
    assert aggregate_observations(list(seen), value_kind=kind) == found or kind != "categorical"


def test_only_the_last_rows_decide() -> None:
    assert (
        merge_categorical(rows("x" * 50 + "aaaaabbbbb")).state == merge_categorical(rows("aaaaabbbbb")).state
    )
