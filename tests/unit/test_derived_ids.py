"""Derived ids are UUIDs of version 5, however they are computed."""

from __future__ import annotations

from uuid import NAMESPACE_URL, UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from decnet.hostile import storable_text
from decnet.ids import event_id, session_id


@given(st.text(max_size=60))
def test_ids_are_uuids_of_version_5(text: str) -> None:
    name = storable_text(text)
    assert session_id("k", "d", name) == str(uuid5(uuid5(NAMESPACE_URL, "decnet:session:v1"), f"k|d|{name}"))
    assert event_id("p", name) == uuid5(uuid5(NAMESPACE_URL, "decnet:event:v1"), f"p|{name}|1").hex
    assert UUID(session_id("k", "d", text)).version == 5
