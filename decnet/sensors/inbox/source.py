"""What the pieces of an inbox's files become: mails, triggers, sessions of OpenCanary, what lists say of attackers.

Each piece says by its bytes what it is; its file's name only helps. Of what lists say counts what is about attackers
that are known: of all others nobody asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Container, Iterator
from pathlib import Path
from typing import Any

from decnet import ids
from decnet.bus import topics
from decnet.bus.base import Event
from decnet.config import Settings
from decnet.events.attacker import IntelEnriched
from decnet.sensors.files.cutting import Line
from decnet.sensors.inbox import webhooks
from decnet.sensors.inbox.folder import LISTS, Fate
from decnet.sensors.inbox.lists import Said, said_of
from decnet.sensors.inbox.mails import PRODUCER, mail_events
from decnet.sensors.opencanary import OpenCanarySource
from decnet.sensors.values import Data, Refusal

MAX_TOLD = 200_000
"""Things that lists said and that were told, remembered; what is forgotten is told again under the same id."""
Known = Callable[[Collection[str]], Collection[str]]
"""Of attackers' ids those that are known; called from any thread but the event loop's."""


class InboxSource(OpenCanarySource):
    """Pieces in, events out; OpenCanary's lines among them become sessions as from a log."""

    def __init__(
        self,
        settings: Settings,
        key: bytes,
        since: float | None = None,
        known: Known | None = None,
        known_bad: Container[str] = (),
    ) -> None:
        """Without ``known`` all that lists say is told."""
        super().__init__(settings, key, since)
        self._limits, self._known, self._bad = settings.inbox, known, known_bad
        self._told: dict[str, None] = {}
        self.fates: dict[str, Fate] = {}
        """Path → what came of its pieces, until it is moved."""
        self.entries_refused = 0
        self.entries_beyond = 0

    def _of(self, line: Line) -> Iterator[list[Event] | Refusal]:
        fate = self.fates.setdefault(line.path, Fate())
        made = self._made(line, fate)
        if isinstance(made, Refusal):
            fate.reasons[made.reason] = fate.reasons.get(made.reason, 0) + 1
        else:
            fate.good += 1
        yield made

    def _made(self, line: Line, fate: Fate) -> list[Event] | Refusal:
        data, name = line.data, line.path.lower()
        if not data.strip():
            return Refusal("too_large" if line.offset > 0 and not data else "empty")
        if _is_mail(name, data):
            return self._mail(line)
        if len(data) <= self._limits.max_body_bytes and (found := self._webhook(line)) is not None:
            return found
        return self._list(line, fate)

    def _mail(self, line: Line) -> list[Event] | Refusal:
        events = mail_events(line.data, _written(line.path), self._bad)
        if isinstance(events, Refusal):
            return events
        return events if self._saw(events[0].ts) else []

    def _webhook(self, line: Line) -> list[Event] | Refusal | None:
        """The events of a webhook's body; None for a text that is none."""
        text = line.data.decode("utf-8", "replace").strip()
        raw = webhooks.form_message(text) if text.startswith("message=") else webhooks.json_or_text(text)
        if (log := webhooks.opencanary_line(raw)) is not None:
            return self._one(log)
        if not webhooks.is_canarytoken(raw):
            return None if not text.startswith("message=") else Refusal("not_known")
        if webhooks.is_test(raw):
            return []
        event = webhooks.trigger_event(raw, _written(line.path))
        if isinstance(event, Refusal):
            return event
        return [event] if self._saw(event.ts) else []

    def _list(self, line: Line, fate: Fate) -> list[Event] | Refusal:
        text = line.data.decode("utf-8", "replace")
        provider, found, wrong, beyond = said_of(text, self._limits.max_list_entries)
        if not provider:
            return Refusal("not_known")
        fate.is_list = True
        if Path(line.path).parent.name != LISTS:  # counted when it came, not at each look
            self.entries_refused += wrong
            self.entries_beyond += beyond
        if not found:
            return Refusal("no_addresses")
        return self._about_known(found, _written(line.path))

    def _about_known(self, found: list[Said], ts: float) -> list[Event]:
        attackers = {ids.attacker_id(one.address): one for one in found}
        wanted = attackers.keys() if self._known is None else self._known(attackers.keys())
        events = [_intel_event(uuid, attackers[uuid], ts) for uuid in sorted(wanted)]
        fresh = [event for event in events if event.id not in self._told]
        self._told |= dict.fromkeys(event.id for event in fresh)
        while len(self._told) > MAX_TOLD:
            del self._told[next(iter(self._told))]
        return fresh

    def forget(self, still: Collection[str]) -> None:
        """Forgets what came of files that are not here any longer."""
        self.fates = {path: fate for path, fate in self.fates.items() if path in still}
        self.foreign = {path: why for path, why in self.foreign.items() if path in still}

    def bounds(self) -> dict[str, int]:
        """Also the entries of lists that could not be read, or were too many."""
        return {
            **super().bounds(),
            "entries_refused": self.entries_refused,
            "entries_beyond": self.entries_beyond,
        }

    def to_state(self) -> Data:
        """Counters, open sessions, and what came of files that are not moved yet."""
        fates = {path: [fate.good, fate.is_list, fate.reasons] for path, fate in self.fates.items()}
        more = {
            "fates": fates,
            "entries_refused": self.entries_refused,
            "entries_beyond": self.entries_beyond,
        }
        return {**super().to_state(), **more}

    def restore(self, state: Data) -> None:
        """Takes up the state of :meth:`to_state`."""
        super().restore(state)
        for path, (good, is_list, reasons) in state.get("fates", {}).items():
            self.fates[path] = Fate(int(good), bool(is_list), dict(reasons))
        self.entries_refused = int(state.get("entries_refused", 0))
        self.entries_beyond = int(state.get("entries_beyond", 0))


def _is_mail(name: str, data: bytes) -> bool:
    """Whether a piece is a message: by the name of its file, or because it begins with a header of one."""
    if name.endswith((".eml", ".mbox", ".mbx")):
        return True
    first = data.lstrip()[:200].split(b":", 1)[0].lower()
    return first in (b"received", b"return-path", b"delivered-to", b"from", b"x-original-to", b"mime-version")


def _written(path: str) -> float:
    """When a file was written, in epoch seconds; now where that cannot be told."""
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return time.time()


def _intel_event(attacker: str, said: Said, ts: float) -> Event:
    record = IntelEnriched(attacker_uuid=attacker, attacker_ip=said.address, **said.fields)
    payload: dict[str, Any] = record.build()
    content = hashlib.sha256(json.dumps([said.ts, payload], sort_keys=True).encode()).hexdigest()
    ident = ids.event_id(PRODUCER, f"intel|{attacker}|{content}")
    topic = topics.attacker(topics.ATTACKER_INTEL_ENRICHED)
    return Event(topic, payload, "intel", ident, said.ts if said.ts is not None else ts)
