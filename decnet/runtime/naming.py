"""A batch under the names of sessions and commands that are stored already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from decnet.db.repository.recorder.naming import settled
from decnet.runtime.received import Received, received

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository


async def under_stored_names(batch: Sequence[Received], repo: BaseRepository) -> Sequence[Received]:
    """A batch with the names of sessions and commands that are stored already; see :func:`settled`."""
    events = await settled([one.event for one in batch], repo)
    return [one if event is one.event else received(event) for one, event in zip(batch, events, strict=True)]
