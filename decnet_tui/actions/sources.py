"""Ignoring a source (``X``) and taking that back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from decnet.errors import DecnetError
from decnet_tui.actions.changes import Change
from decnet_tui.actions.forms import Field, Form, parse_duration
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.identities import identity_label
from decnet_tui.model.words import addresses_text

if TYPE_CHECKING:
    from decnet.db.rows.ignored import AddedEntry, IgnoredEntry

KIND = "source.ignore"
ALL = "source.ignore.all"
THIS = "this address"
IGNORED_FOR = "7d"
"""How long a source is ignored where nobody says otherwise: what is hidden for good is forgotten."""
DURATIONS = (IGNORED_FOR, "1h", "24h", "30d", "forever")


@dataclass
class _OfOneSource(Change):
    """A change of one network, address or login name."""

    source: str

    @property
    def target(self) -> str:  # type: ignore[override]
        """The source."""
        return self.source

    async def before(self, session: Session) -> dict[str, Any] | None:
        """Whether it was ignored, and how."""
        return await _state(session, self.source)


@dataclass
class IgnoreSource(_OfOneSource):
    """Ignores a network, address or login name. ``expires_at`` is epoch seconds or None for good."""

    expires_at: float | None = None
    reason: str | None = None
    entry: AddedEntry | None = None
    """The entry as it was written; ``marked`` is the number of sessions that it marked."""
    kind = KIND

    @property
    def what(self) -> str:
        """What it does."""
        return f"ignore {self.source}"

    def after(self) -> dict[str, Any]:
        """Ignored."""
        return {"ignored": True, "expires_at": self.expires_at, "reason": self.reason}

    async def send(self, session: Session) -> None:
        """Writes the entry and marks what is stored. Raises DecnetError for what is no source."""
        ends = None if self.expires_at is None else datetime.fromtimestamp(self.expires_at, UTC)
        try:
            self.entry = await need_store(session).ignore_add(
                self.source, reason=self.reason, set_by=session.operator, expires_at=ends
            )
        except ValueError as error:
            raise DecnetError(str(error)) from error

    async def held(self, session: Session) -> str:
        """Empty when the entry is there."""
        return "" if await _entry(session, self.source) else "the store does not have it"


@dataclass
class NoticeSource(_OfOneSource):
    """Ignores a source no longer."""

    undoes: int | None = None
    kind = KIND

    @property
    def what(self) -> str:
        """What it does."""
        return f"ignore {self.source} no longer"

    def after(self) -> dict[str, Any]:
        """Not ignored."""
        return {"ignored": False}

    async def send(self, session: Session) -> None:
        """Takes the entry away. Raises what the store raises."""
        entry = await _entry(session, self.source)
        if entry is not None:
            await need_store(session).ignore_remove(entry["ignore_id"])

    async def held(self, session: Session) -> str:
        """Empty when the entry is gone."""
        return "the store still has it" if await _entry(session, self.source) else ""


@dataclass
class IgnoreAll(Change):
    """Ignores (or, with ``ignored`` false, ignores no longer) all addresses of an identity, as one change.

    An address that has an entry of its own already keeps it as it is, also when this is taken back.
    """

    label: str
    sources: tuple[str, ...]
    ignored: bool = True
    expires_at: float | None = None
    reason: str | None = None
    kept: tuple[str, ...] = ()
    """Addresses whose entries were there before, and stay."""
    kind = ALL

    @property
    def target(self) -> str:  # type: ignore[override]
        """The identity."""
        return self.label

    @property
    def what(self) -> str:
        """What it does."""
        return f"ignore {addresses_text(len(self.sources))} of {self.label}{'' if self.ignored else ' no longer'}"

    async def before(self, session: Session) -> dict[str, Any] | None:
        """Which of them were ignored."""
        both = (*self.sources, *self.kept)
        return {source: await _entry(session, source) is not None for source in both}

    def after(self) -> dict[str, Any]:
        """Which of them are ignored."""
        return {**dict.fromkeys(self.sources, self.ignored), **dict.fromkeys(self.kept, True)}

    async def send(self, session: Session) -> None:
        """Each in turn. Raises what the store raises; what was done by then is told by reading back."""
        for source in self.sources:
            if not self.ignored:
                await NoticeSource(source).send(session)
            elif await _entry(session, source) is None:
                await IgnoreSource(source, self.expires_at, self.reason).send(session)

    async def held(self, session: Session) -> str:
        """Empty when the store holds that of each."""
        now = await self.before(session)
        wanted = self.after()
        wrong = [source for source, state in (now or {}).items() if state is not wanted[source]]
        return f"not so: {' '.join(wrong)}" if wrong else ""


async def same_identity(session: Session, address: str) -> tuple[str, list[str]]:
    """What the identity of an address is called, and its other addresses that have no entry of their own yet.

    Raises what the store raises.
    """
    store = need_store(session)
    found = await store.identity_named(address)
    if found is None:
        return "", []
    members = [one["attacker_ip"] for one in await store.names_of_identity(found[0])]
    others = [ip for ip in members if ip and ip != address]
    return identity_label(found[0]), [ip for ip in others if await _entry(session, ip) is None]


def undo_all(entry: Mapping[str, Any]) -> Change:
    """Back to what each was."""
    before, after = entry["before"], entry["after"]
    sources = tuple(source for source, was in before.items() if was != after[source])
    kept = tuple(source for source, was in before.items() if was == after[source])
    ignored = all(before[source] for source in sources)
    change = IgnoreAll(str(entry["target"]), sources, ignored, reason=entry["reason"], kept=kept)
    change.undoes = entry["id"]
    return change


async def _entry(session: Session, source: str) -> IgnoredEntry | None:
    """The entry of a source in any of its spellings: a network is stored in its shortest."""
    from decnet.db.repository.ignored import (
        parse_source,  # here: the console starts without the database library
    )

    try:
        wanted = parse_source(source)
    except ValueError:
        return None
    rows = await need_store(session).ignored_sources()
    return next((row for row in rows if (row["kind"], row["value"]) == wanted), None)


async def _state(session: Session, source: str) -> dict[str, Any]:
    entry = await _entry(session, source)
    if entry is None:
        return {"ignored": False}
    ends = entry["expires_at"]
    return {"ignored": True, "expires_at": ends.timestamp() if ends else None, "reason": entry["reason"]}


def undo(entry: Mapping[str, Any]) -> Change:
    """Back to what it was: not ignored, or ignored in the former way."""
    before = entry["before"]
    if not before.get("ignored"):
        return NoticeSource(str(entry["target"]), undoes=entry["id"])
    change = IgnoreSource(str(entry["target"]), before.get("expires_at"), before.get("reason"))
    change.undoes = entry["id"]
    return change


class IgnoreForm(Form):
    """For how long and why a source is ignored."""

    def __init__(self, source: str, label: str = "", others: Sequence[str] = ()) -> None:
        """``others`` are the other addresses of the identity ``label`` that are not ignored yet."""
        self.label, self.others = label, others
        self._all = f"all {addresses_text(len(others) + 1)} of {label}"
        whole = [Field("what", THIS, choices=(THIS, self._all))] if others else []
        super().__init__(
            [
                Field("source", source, free=True),
                *whole,
                Field("for", DURATIONS[0], choices=DURATIONS),
                Field("reason", free=True),
            ]
        )
        self.title = f"IGNORE {source}"

    def effect(self) -> list[str]:
        """What that means."""
        return [
            "its events are still stored and tagged,",
            "but left out of counts, lists, alerts and exports",
        ]

    @property
    def whole(self) -> bool:
        """Whether the other addresses are meant too."""
        return bool(self.others) and self.value("what") == self._all

    def question(self) -> str:
        """What ``y`` does."""
        also = f" and {len(self.others)} more of {self.label}" if self.whole else ""
        return f"ignore {self.value('source').strip()}{also}"

    def change(self, now: float) -> Change:
        """What would be sent at ``now``. Raises ValueError that says what is wrong."""
        source = self.value("source").strip()
        if not source:
            raise ValueError("which source? an address, a network such as 192.0.2.0/24, or a login name")
        seconds = parse_duration(self.value("for"))
        expires = None if seconds is None else (now or time.time()) + seconds
        reason = self.value("reason").strip() or None
        if self.whole:
            return IgnoreAll(self.label, (source, *self.others), True, expires, reason)
        if self.others and self.value("what") != THIS:
            raise ValueError(f"what: {THIS}, or {self._all}")
        return IgnoreSource(source, expires, reason)
