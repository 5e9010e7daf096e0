"""Workers about themselves: health, control, events they gave up."""

from __future__ import annotations

from decnet.events.fields import Epoch
from decnet.events.record import Record


class Health(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``system.<worker>.health``, without the worker's own fields; ``state`` says whether it is well."""

    worker: str
    ts: Epoch
    state: str
    pid: int | None = None
    host: str | None = None
    processed: int = 0
    failed: int = 0
    dead_lettered: int = 0
    lag: int = 0
    last_event_ts: Epoch | None = None
    restarts: int = 0
    note: str = ""


class Control(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``system.<worker>.control``: ``action`` is stop, start, restart, pause or resume."""

    action: str
    requested_by: str | None = None
    ts: Epoch | None = None


class DeadLettered(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``system.deadletter.<worker>``: an event that could not be worked off, or the element at ``path`` of one."""

    dead_letter_id: int
    topic: str
    reason: str
    path: str | None = None
    value: str | None = None
