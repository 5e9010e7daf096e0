"""Facts of a Cowrie log become sessions, and sessions become bus events; pure.

Deterministic: the same lines in the same order give the same events with the same ids, wherever
the batches are cut, so reading a log again after a crash publishes nothing new. The only clock is
the log's own, kept per sensor name.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from functools import lru_cache
from typing import Any

from decnet import ids
from decnet.bus import topics
from decnet.bus.base import Event
from decnet.config import SensorSettings
from decnet.keyed import keyed_hash
from decnet.sensors.cowrie import Data, Fact
from decnet.sensors.session import Session

KIND = "cowrie"
DEFAULT_SENSOR = "cowrie"
SEEN_LIMIT = 10_000
FORGET_LINES = 2_000
"""Lines that have to be read before a session that is over by the log's time is forgotten."""
STARTS_KEPT = 10_000
"""Ids whose first start is remembered, so that one that comes again is another session."""
CLOSED_KEPT_S = 30.0
"""Log seconds for which a closed session still takes lines: Cowrie closes tty logs after it at times."""
JUMP_S = 86_400.0
"""A clock jump beyond this many seconds counts only when a second line says so too."""
_ENVELOPE_BYTES = 4096
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")

_PRINTS: dict[str, tuple[str, ...]] = {
    "client": ("hassh",),
    "through": ("ja4", "ja4h"),
    "var": ("client_var",),
    "ptr": ("ptr",),
}
"""Kind of fact → the fields of it that are fingerprints of the client."""
_REMARKS = frozenset({"extra", "var", "ptr"})
"""What the honeypot says about a session beside what happened in it; at times long after its end."""
_OFFERED = ("hassh_algorithms", "key_algs", "enc_algs", "mac_algs", "comp_algs", "languages")

SessionKey = tuple[str, str]


@lru_cache(maxsize=1024)
def safe_token(name: str) -> str:
    """A sensor name as one topic token of at most 63 characters."""
    return _UNSAFE.sub("-", name).strip("-")[:63] or DEFAULT_SENSOR


@lru_cache(maxsize=65_536)
def _attacker(ip: str) -> tuple[str, str]:
    return ids.attacker_id(ip), ids.normalize_ip(ip)


class _Clock:
    """Newest time of one sensor; one line with a wild date does not end every session."""

    __slots__ = ("now", "pending")

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.pending = False

    def advance(self, ts: float, back: float) -> float:
        """Takes a line's time in. Far from the newest one (``back`` seconds before it, JUMP_S after it) a second

        line has to say so too: then the log goes on there, in the past as well as in the future.
        """
        far = bool(self.now) and not self.now - back <= ts <= self.now + JUMP_S
        if (far and self.pending) or (not far and ts > self.now):
            self.now, far = ts, False
        self.pending = far
        return self.now


MAX_SECRET = 1024
"""Characters of a secret whose clear text is kept."""


class Assembler:
    """Open sessions of one sensor spec."""

    def __init__(
        self,
        limits: SensorSettings,
        key: bytes,
        max_event_bytes: int = 262_144,
        kind: str = KIND,
        *,
        keep_clear: bool = False,
    ) -> None:
        """``keep_clear`` puts the clear text of captured secrets beside their keyed hashes."""
        self._keep_clear = keep_clear
        self._kind = kind
        self._limits = limits
        self._key = key
        self._max_bytes = max_event_bytes - _ENVELOPE_BYTES
        self._open: OrderedDict[SessionKey, Session] = OrderedDict()
        self._dormant: OrderedDict[SessionKey, Session] = OrderedDict()
        self._closed: OrderedDict[SessionKey, Session] = OrderedDict()
        self._queues: dict[str, OrderedDict[SessionKey, Session]] = {}
        self._native: dict[str, SessionKey] = {}
        self._clocks: dict[str, _Clock] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._starts: OrderedDict[SessionKey, float] = OrderedDict()
        """When the first session of an id connected (epoch seconds)."""
        self._current: dict[SessionKey, str] = {}
        """What is added to an id that came again."""
        self._bytes = 0
        self._lines = 0
        self.evicted = 0
        """Sessions that had to end early because there were too many, or too much text in them."""
        self.homeless = 0
        """Remarks of the honeypot on sessions that are not known (any longer)."""

    @property
    def open_sessions(self) -> int:
        """Sessions that have not ended."""
        return len(self._open)

    @property
    def held_bytes(self) -> int:
        """Text kept of all sessions that can still be gone on with, in bytes (estimated)."""
        return self._bytes

    @property
    def newest(self) -> float | None:
        """Newest log time of any sensor in this log, epoch seconds."""
        return max((c.now for c in self._clocks.values()), default=None)

    def feed(self, fact: Fact) -> list[Event]:
        """Takes one fact in; the events that follow from it, in order."""
        session = self._session_of(fact)
        if session is None:
            self.homeless += fact.kind in _REMARKS
            return []
        self._lines += 1
        session.at_line = self._lines
        before = session.size_bytes
        session.absorb(fact, self._limits)
        self._bytes += session.size_bytes - before
        events = self._announced(session, fact) + self._news(session, fact)
        return events + self._tidied(session.decky_id, fact.ts)

    def _news(self, session: Session, fact: Fact) -> list[Event]:
        """What one fact tells beside the session itself."""
        if fact.kind == "login" and fact.data["secret"] is not None:
            return [self._credential(session, fact)]
        if fact.kind == "closed":
            return self._end(session, "closed")
        return self._fingerprints(session, fact)

    def quiet_since(self, moment: float) -> list[Event]:
        """Ends the sessions whose last line is older than ``moment`` (epoch seconds of log time), as idle."""
        return [e for s in list(self._open.values()) if s.last_ts < moment for e in self._end(s, "idle")]

    def end_all(self, reason: str = "eof") -> list[Event]:
        """Ends every open session; a later line takes it up again under the same id."""
        return [e for s in list(self._open.values()) for e in self._end(s, reason)]

    def to_state(self) -> Data:
        """Plain JSON for a checkpoint."""
        return {
            "open": [s.to_state() for s in self._open.values()],
            "dormant": [s.to_state() for s in self._dormant.values()],
            "closed": [s.to_state() for s in self._closed.values()],
            "clocks": {d: [c.now, c.pending] for d, c in self._clocks.items()},
            "seen": list(self._seen),
            "evicted": self.evicted,
            "homeless": self.homeless,
            "lines": self._lines,
            "starts": [[*key, ts] for key, ts in self._starts.items()],
            "current": [[*key, variant] for key, variant in self._current.items()],
        }

    def restore(self, state: Data) -> None:
        """Takes up the state of :meth:`to_state`."""
        for name, where in (("open", self._open), ("dormant", self._dormant), ("closed", self._closed)):
            for item in state.get(name, ()):
                session = Session.from_state(item)
                where[self._key_of(session)] = session
                if where is self._open:
                    self._queue(session.decky_id)[self._key_of(session)] = session
                self._native[session.native_id] = self._key_of(session)
                self._bytes += session.size_bytes
        for decky, (now, pending) in state.get("clocks", {}).items():
            self._clocks[decky] = _Clock(now)
            self._clocks[decky].pending = pending
        self._seen = OrderedDict.fromkeys(state.get("seen", ()))
        self.evicted = int(state.get("evicted", 0))
        self.homeless = int(state.get("homeless", 0))
        self._starts = OrderedDict(
            ((decky, native), float(ts)) for decky, native, ts in state.get("starts", ())
        )
        self._current = {(decky, native): variant for decky, native, variant in state.get("current", ())}

    @staticmethod
    def _key_of(session: Session) -> SessionKey:
        return (session.decky_id, session.native_id + session.variant)

    def _queue(self, decky: str) -> OrderedDict[SessionKey, Session]:
        return self._queues.setdefault(decky, OrderedDict())

    def _session_of(self, fact: Fact) -> Session | None:
        """The session a fact belongs to, taken up again or new; None when it opens none."""
        key = self._find(fact)
        if self._kind == KIND:
            key = self._which(key, fact)
        session = self._open.get(key)
        if session is not None:
            self._open.move_to_end(key)
            self._queue(key[0]).move_to_end(key)
            return session
        ended = self._closed.get(key) or self._dormant.get(key)
        if not self._takes_up(fact, ended):
            return None
        self._closed.pop(key, None)
        self._dormant.pop(key, None)
        session = ended or self._fresh(key, fact)
        session.ended = None
        self._open[key] = self._queue(key[0])[key] = session
        self._native[fact.session] = key
        return session

    @staticmethod
    def _takes_up(fact: Fact, ended: Session | None) -> bool:
        """Whether a fact opens a session; a close line counts once, and a remark opens none that is not known."""
        if fact.kind in _REMARKS:
            return ended is not None
        return fact.kind != "closed" or ended is None or ended.closed_at is None

    def _find(self, fact: Fact) -> SessionKey:
        """Key of a fact; without a sensor name it joins the session that has its id."""
        known = self._native.get(fact.session)
        if fact.sensor is None:
            return (known[0] if known else DEFAULT_SENSOR, fact.session)
        key = (safe_token(fact.sensor), fact.session)
        nameless = known is not None and known[0] == DEFAULT_SENSOR
        return (DEFAULT_SENSOR, fact.session) if nameless else key

    def _which(self, base: SessionKey, fact: Fact) -> SessionKey:
        """Which of the sessions with one id a line belongs to: the one that its honeypot connected last.

        Ids come again after a restart (``TT8`` of telnet). A session is told from another one by the start that
        the log gives: the first that is known keeps the plain id.
        """
        if fact.kind == "connect":
            first = self._starts.setdefault(base, fact.ts)
            if len(self._starts) > STARTS_KEPT:
                self._current.pop(self._starts.popitem(last=False)[0], None)
            if first == fact.ts:
                self._current.pop(base, None)
            else:
                self._current[base] = f"@{fact.ts:.6f}"
        return (base[0], base[1] + self._current.get(base, ""))

    def _fresh(self, key: SessionKey, fact: Fact) -> Session:
        sid = ids.session_id(self._kind, key[0], key[1])
        native = fact.session if key[1].startswith(fact.session) else key[1]
        variant = key[1].removeprefix(native)
        session = Session(sid, key[0], native, started_at=fact.ts, last_ts=fact.ts, variant=variant)
        self._bytes += session.size_bytes
        return session

    def _head(self, session: Session) -> Data:
        """What names a session in every payload. Without any address the session is its own attacker."""
        if session.ip is None:
            uuid, ip = ids.attacker_id(f"unknown:{session.session_id}"), "unknown"
        else:
            uuid, ip = _attacker(session.ip)
        return {
            "session_id": session.session_id,
            "attacker_uuid": uuid,
            "attacker_ip": ip,
            "decky_id": session.decky_id,
            "service": session.service,
        }

    def _announced(self, session: Session, fact: Fact) -> list[Event]:
        """First news of a session and, where due, of its attacker."""
        if session.announced or (session.ip is None and fact.kind != "closed"):
            return []
        session.announced = True
        head = self._head(session)
        started = {**head, "protocol": session.service, "started_at": session.started_at}
        events = self._observed(session, head, session.started_at)
        events.append(
            _event(
                topics.ATTACKER_SESSION_STARTED, started, f"{session.session_id}|started", session.started_at
            )
        )
        return events

    def _first_time(self, mark: str) -> bool:
        """Whether a mark is new; bounded, so an old one may count as new again (its event id is the same)."""
        digest = hashlib.blake2b(mark.encode("utf-8", "replace"), digest_size=8).hexdigest()
        if digest in self._seen:
            self._seen.move_to_end(digest)
            return False
        self._seen[digest] = None
        if len(self._seen) > SEEN_LIMIT:
            self._seen.popitem(last=False)
        return True

    def _observed(self, session: Session, head: Data, ts: float) -> list[Event]:
        mark = f"{session.decky_id}|{head['attacker_uuid']}|observed"
        if not self._first_time(mark):
            return []
        payload = {k: head[k] for k in ("attacker_uuid", "attacker_ip", "decky_id", "service")}
        return [_event(topics.ATTACKER_OBSERVED, {**payload, "first_seen": ts}, mark, ts)]

    def _fingerprints(self, session: Session, fact: Fact) -> list[Event]:
        """What a line tells of the client's software, once for each decky and attacker."""
        kinds = _PRINTS.get(fact.kind, ())
        return [e for kind in kinds if fact.data.get(kind) for e in self._fingerprint(session, fact, kind)]

    def _fingerprint(self, session: Session, fact: Fact, kind: str) -> list[Event]:
        head, value = self._head(session), fact.data[kind]
        mark = f"{session.decky_id}|{head['attacker_uuid']}|{kind}|{value}"
        if not self._first_time(mark):
            return []
        payload = {
            "attacker_uuid": head["attacker_uuid"],
            "attacker_ip": head["attacker_ip"],
            "decky_id": session.decky_id,
            "session_id": session.session_id,
            "type": kind,
            kind: value,
        }
        if kind == "hassh":
            payload |= {"version": session.client.get("version"), "kex": session.client.get("kex", [])}
            payload |= {name: fact.data[name] for name in _OFFERED if fact.data.get(name)}
        return [_event(topics.ATTACKER_FINGERPRINTED, payload, mark, fact.ts, kind)]

    def _credential(self, session: Session, fact: Fact) -> Event:
        head, data = self._head(session), fact.data
        digest = keyed_hash(self._key, data["secret_kind"], data["secret"])
        payload = {
            **head,
            "username": data["username"],
            "secret_hmac": digest,
            "secret_kind": data["secret_kind"],
            "success": data["success"],
        }
        if self._keep_clear:
            payload["secret"] = data["secret"][:MAX_SECRET]
        subject = f"{session.session_id}|cred|{data['username']}|{digest}|{data['success']}"
        event_id = ids.event_id("sensors", subject)
        topic = topics.credential(topics.CREDENTIAL_CAPTURED)
        return Event(topic, payload, type=data["secret_kind"], id=event_id, ts=fact.ts)

    def _end(self, session: Session, reason: str) -> list[Event]:
        """Publishes a session's end and keeps it for a while, should it go on."""
        key = self._key_of(session)
        del self._open[key]
        del self._queue(key[0])[key]
        (self._dormant if session.closed_at is None else self._closed)[key] = session
        session.ended = reason
        events = self._announced_late(session)
        head = {**self._head(session), "protocol": session.service}
        for payload in session.payloads(reason, head, self._max_bytes):
            subject = f"{session.session_id}|ended|{payload['part']}/{payload['parts']}"
            version = f"{session.lines}.{payload['end_reason']}"
            events.append(
                _event(
                    topics.ATTACKER_SESSION_ENDED, payload, subject, payload["ended_at"],
                    payload["end_reason"], version=version,
                )
            )  # fmt: skip
        return events

    def _announced_late(self, session: Session) -> list[Event]:
        """The start of a session that never told an address, before its end."""
        if session.announced:
            return []
        return self._announced(
            session, Fact("closed", session.last_ts, session.native_id, None, None, None, {})
        )

    def _tidied(self, decky: str, ts: float) -> list[Event]:
        """Ends what is idle or too much, and forgets ended sessions that nobody will take up."""
        clock = self._clocks.get(decky)
        if clock is None:
            clock = self._clocks[decky] = _Clock()
        now = clock.advance(ts, self._limits.idle_session_s)
        if clock.pending:  # a line from elsewhere ends nothing, and lets nothing be forgotten
            return self._within_limits()
        events = self._idle(decky, now)
        for ended, kept in ((self._closed, CLOSED_KEPT_S), (self._dormant, self._limits.reopen_s)):
            while ended and self._outlived(next(iter(ended.values())), kept):
                self._forget(ended)
        return events + self._within_limits()

    def _within_limits(self) -> list[Event]:
        """Ends the longest idle sessions while there are too many, or too much text in them."""
        events: list[Event] = []
        while self._over_limits() and len(self._open) + len(self._dormant) + len(self._closed) > 1:
            if self._closed or self._dormant:
                self._forget(self._closed or self._dormant)
            else:
                self.evicted += 1
                events += self._end(next(iter(self._open.values())), "idle")
        return events

    def _idle(self, decky: str, now: float) -> list[Event]:
        """Ends the sessions at the idle end of the queue; it is in order of the last line."""
        events: list[Event] = []
        queue, limit = self._queue(decky), now - self._limits.idle_session_s
        while queue and (session := next(iter(queue.values()))).last_ts < limit:
            events += self._end(session, "idle")
        return events

    def _outlived(self, session: Session, kept: float) -> bool:
        """Whether a session is over for good: by the log's time, and by how much was read since.

        The past may be read in the middle of the present; then time alone says nothing.
        """
        clock = self._clocks.get(session.decky_id)
        late = clock is not None and session.last_ts < clock.now - kept
        return late and self._lines - session.at_line >= FORGET_LINES

    def _forget(self, ended: OrderedDict[SessionKey, Session]) -> None:
        key, session = ended.popitem(last=False)
        self._bytes -= session.size_bytes
        if self._native.get(session.native_id) == key:
            del self._native[session.native_id]

    def _over_limits(self) -> bool:
        count = len(self._open) + len(self._dormant) + len(self._closed)
        return count > self._limits.max_open_sessions or self._bytes > self._limits.max_open_bytes


def _event(
    leaf: str, payload: dict[str, Any], subject: str, ts: float, kind: str = "", version: str = "1"
) -> Event:
    """An ``attacker.`` event with a derived id."""
    topic = topics.attacker(leaf)
    return Event(topic, payload, type=kind, id=ids.event_id("sensors", subject, version), ts=ts)
