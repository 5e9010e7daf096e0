"""A console without a terminal: a bus that a test feeds, a session over a fake or a real store, the screen's text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from textual import events
from textual.keys import _character_to_key

from decnet.bus.base import Event
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet_tui.app import DecnetApp
from decnet_tui.commands import COMMANDS
from decnet_tui.keymap import Keys
from decnet_tui.model import keys
from decnet_tui.model.access import RuleRow
from decnet_tui.model.rules import StoredRules
from decnet_tui.model.whereabouts import Whereabouts


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, at: float = 1000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


class FakeSubscription:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self.queue.get()


class FakeBus:
    client_name = "test"
    connected = True

    def __init__(self) -> None:
        self.subs: list[FakeSubscription] = []
        self.past = [Event("attacker.observed", {"attacker_ip": "203.0.113.7"})]
        self.published: list[tuple[str, dict[str, Any]]] = []

    async def connect(self) -> None:
        return None

    def subscribe(self, _: str) -> FakeSubscription:
        self.subs.append(FakeSubscription())
        return self.subs[-1]

    async def read_back(self, _: str, __: int) -> list[Event]:
        return self.past

    async def publish(self, topic: str, payload: dict[str, Any], **_: Any) -> None:
        self.published.append((topic, payload))

    async def publish_events(self, events: list[Event]) -> None:
        self.published += [(e.topic, e.payload) for e in events]

    def put(self, topic: str, payload: dict[str, Any], ts: float | None = None) -> None:
        for sub in self.subs:
            sub.queue.put_nowait(Event(topic, payload, ts=time.time() if ts is None else ts))


class FakeSession:
    """Rules in memory. ``reports``: the engine tells of a change; ``keeps``: the store takes it."""

    demo = True
    engine_inside = True
    opening = False
    host = "sensor-01"
    operator = "eve@console"
    keep_clear = False

    def __init__(self, reports: bool = True, keeps: bool = True) -> None:
        self.bus: Any = FakeBus()
        self.repo: Any = None
        self.whereabouts = Whereabouts(None)
        self.reports, self.keeps = reports, keeps
        self.row: RuleRow = {
            "rule_id": "R0012",
            "name": "ingress_tool_transfer",
            "state": "enabled",
            "confidence_max": None,
            "expires_at": None,
            "error": None,
            "fired_24h": 3,
            "yaml": "emits:\n  - {confidence: 0.85}",
        }

    async def open_store(self) -> None:
        return None

    async def list_rules(self) -> list[RuleRow]:
        bad: RuleRow = {
            "rule_id": "R0031",
            "name": "",
            "state": "enabled",
            "error": "R0031.yaml:14:9: unknown key",
        }
        return [self.row.copy(), bad]

    async def set_rule_state(
        self, rule_id: str, state: str, confidence_max: Any = None, expires_at: Any = None, reason: Any = None
    ) -> None:
        if self.keeps:
            self.row |= RuleRow(
                state=state, confidence_max=confidence_max, expires_at=expires_at, reason=reason
            )
        if self.reports:
            self.bus.put(f"ttp.rule.state.{rule_id}", {"rule_id": rule_id, "state": state})


class StoreSession(FakeSession):
    """Over a real repository; the "engine" reports each state that was written, as the rule store does."""

    demo = False
    engine_inside = False

    def __init__(
        self, repo: BaseRepository, operator: str = "eve@console", settings: Settings | None = None
    ) -> None:
        super().__init__()
        self.repo = repo
        self.operator = operator
        self._rules = StoredRules(settings or Settings(), repo, operator, engine=True)

    async def list_rules(self) -> list[RuleRow]:
        return await self._rules.list_rules()

    async def set_rule_state(
        self, rule_id: str, state: str, confidence_max: Any = None, expires_at: Any = None, reason: Any = None
    ) -> None:
        await self._rules.set_rule_state(rule_id, state, confidence_max, expires_at, reason)
        if self.reports:
            self.bus.put(f"ttp.rule.state.{rule_id}", {"rule_id": rule_id, "state": state})


def use_usual_keys() -> None:
    """Texts name keys as in a console whose operator has changed none."""
    keys.use(Keys(COMMANDS).names())


def pressed(key: str) -> events.Key:
    """A key as the terminal's driver tells of it."""
    return events.Key(_character_to_key(key), key) if len(key) == 1 else events.Key(key, None)


def screen_text(app: DecnetApp) -> list[str]:
    """The lines of the screen."""
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip) for strip in strips]


async def shows(app: DecnetApp, pilot: Any, look: str | Callable[[], object], limit: float = 5.0) -> None:
    """Returns once the text stands on the screen, or the condition holds; fails with the screen."""
    deadline = time.monotonic() + limit
    while not (look in "\n".join(screen_text(app)) if isinstance(look, str) else look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit} s: {look}\n" + "\n".join(screen_text(app)))
        await pilot.pause(0.05)
