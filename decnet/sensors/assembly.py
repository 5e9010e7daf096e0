"""Facts of a Cowrie log become sessions, and sessions become bus events; pure.

Deterministic: the same lines in the same order give the same events with the same ids, wherever
the batches are cut, so reading a log again after a crash publishes nothing new. The only clock is
the log's own, kept per sensor name.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from decnet import ids
from decnet.bus import topics
from decnet.bus.base import Event
from decnet.config import SensorSettings
from decnet.delivered import keyed_pairs
from decnet.events.attacker import Fingerprinted, IntelEnriched, Observed
from decnet.events.credential import Captured
from decnet.events.lives import CLOSED_KEPT_S, Life, connected_at, line_of
from decnet.events.record import Record
from decnet.events.session import SessionEnded, SessionStarted
from decnet.keyed import key_id, keyed_hash
from decnet.names import DEFAULT_NAME, NameBook
from decnet.sensors.cowrie import Fact
from decnet.sensors.opinions import answer_of, together
from decnet.sensors.session import Session
from decnet.sensors.values import Data

KIND = "cowrie"
SEEN_LIMIT = 10_000
FORGET_LINES = 2_000
"""Lines that have to be read before a session that is over by the log's time is forgotten."""
LIVES_KEPT = 10_000
"""Ids whose sessions are remembered, so that one that comes again is another session, and a late line a late one."""
REMARKS_KEPT = 256
"""Remarks that wait for their sessions."""
LIVES_OF_ONE = 256
"""Sessions remembered of one id."""
JUMP_S = 86_400.0
"""A clock jump beyond this many seconds counts only when a second line says so too."""
JUMP_TOLD_S = 3600.0
"""A clock that goes back by more than this many seconds, or ahead by more than JUMP_S, is told of."""
_ENVELOPE_BYTES = 4096
NAMES_SHOWN = 100
"""Names of sensors that were changed, kept to be shown."""

_PRINTS: dict[str, tuple[str, ...]] = {
    "client": ("hassh",),
    "login": ("public_key",),
    "through": ("ja4", "ja4h"),
    "var": ("client_var",),
    "ptr": ("ptr",),
}
"""Kind of fact → the fields of it that are fingerprints of the client."""
_REMARKS = frozenset({"extra", "var", "ptr", "intel"})
"""What the honeypot says about a session beside what happened in it; at times long after its end."""
_TRAILING = _REMARKS | {"download", "upload", "tty", "through", "result"}
"""Kinds of lines that may come after a session's close by the log's own time."""
_OFFERED = ("hassh_algorithms", "key_algs", "enc_algs", "mac_algs", "comp_algs", "languages")

SessionKey = tuple[str, str]


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
        self.name_token: Callable[[str], str] = NameBook().token
        """Gives the name of a sensor its token; the first that comes to one keeps it."""
        self.names: dict[str, str] = {}
        """Names that are not their own token → the token."""
        self._nameless = DEFAULT_NAME
        """Token of the lines that name no sensor."""
        self._kind = kind
        self._limits = limits
        self._key, self._key_id = key, key_id(key)
        self._max_bytes = max_event_bytes - _ENVELOPE_BYTES
        self._open: OrderedDict[SessionKey, Session] = OrderedDict()
        self._dormant: OrderedDict[SessionKey, Session] = OrderedDict()
        self._closed: OrderedDict[SessionKey, Session] = OrderedDict()
        self._queues: dict[str, OrderedDict[SessionKey, Session]] = {}
        self._native: dict[str, SessionKey] = {}
        self._clocks: dict[str, _Clock] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._lives: OrderedDict[SessionKey, list[Life]] = OrderedDict()
        """The sessions of each id, by what is added to the id; the first that was known keeps the plain one."""
        self._remarks: dict[SessionKey, list[Fact]] = {}
        """Remarks that came before their sessions."""
        self._moved: dict[str, Session] = {}
        """Sessions that got lines or ended since somebody asked."""
        self._bytes = 0
        self._lines = 0
        self.evicted = 0
        """Sessions that had to end early because there were too many, or too much text in them."""
        self.homeless = 0
        """Remarks of the honeypot on sessions that are not known (any longer)."""
        self.repeated = 0
        """Lines of known sessions that came twice."""
        self.commands_dropped = 0
        """Commands that found no room in their sessions."""
        self.items_dropped = 0
        """Files, tunnels, input and the like that found no room in their sessions."""
        self.jumps = 0
        """How often a sensor's clock went far ahead or back."""
        self.last_jump: tuple[str, float, float] | None = None
        """Sensor, time before and time after the newest jump (epoch seconds)."""

    @property
    def open_sessions(self) -> int:
        """Sessions that have not ended."""
        return len(self._open)

    @property
    def jumped(self) -> str:
        """The newest jump of a clock, in words; empty when there was none."""
        if self.last_jump is None:
            return ""
        sensor, before, after = self.last_jump
        return f"{sensor}: from {_said(before)} to {_said(after)}"

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
        said = self._said(fact) if fact.kind == "login" else fact.data
        session = self._session_of(fact, said)
        if session is None:
            return []
        if fact.rest and session.told_before(fact, said):
            # The same line by another way, with more around it: that alone is new.
            fact = fact._replace(kind="extra", data=fact.rest, rest=None)
            said = fact.data
        self._lines += 1
        session.at_line = self._lines
        before, commands, items = session.size_bytes, session.commands_dropped, session.dropped
        session.absorb(fact, self._limits, said)
        if fact.kind == "login" and fact.data["success"]:
            session.default_pair |= (said["username"], said["digest"]) in keyed_pairs(self._key)
        self._moved[session.session_id] = session
        self._bytes += session.size_bytes - before
        self.commands_dropped += session.commands_dropped - commands
        self.items_dropped += session.dropped - items
        if not session.connected or fact.kind in ("connect", "closed"):
            self._live(session, fact)
        events = self._announced(session, fact) + self._news(session, fact, said)
        events += self._tidied(session.decky_id, fact.ts)
        return events + self._brought_home(session) if self._remarks else events

    def _news(self, session: Session, fact: Fact, said: Data) -> list[Event]:
        """What one fact tells beside the session itself."""
        if fact.kind == "login" and fact.data["secret"] is not None:
            return [self._credential(session, fact, said["digest"]), *self._fingerprints(session, fact)]
        if fact.kind == "closed":
            return self._end(session, "closed")
        if fact.kind == "intel":
            return self._intel(session, fact)
        return self._fingerprints(session, fact)

    def moved(self) -> list[tuple[Data, Session]]:
        """The announced sessions that got lines or ended since the last call, each with who it is of."""
        moved, self._moved = self._moved, {}
        told = (session for session in moved.values() if session.announced)
        return [({**self._head(session), "sensor_session": session.native_id}, session) for session in told]

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
            "names": self.names,
            "nameless": self._nameless,
            "lines": self._lines,
            "lives": [[*key, [astuple(life) for life in lives]] for key, lives in self._lives.items()],
            "remarks": [fact for facts in self._remarks.values() for fact in facts],
            "repeated": self.repeated,
            "dropped": [self.commands_dropped, self.items_dropped],
            "jumps": self.jumps,
            "last_jump": self.last_jump,
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
        self.names = dict(state.get("names", {}))
        self._nameless = str(state.get("nameless", DEFAULT_NAME))
        self.repeated = int(state.get("repeated", 0))
        self.commands_dropped, self.items_dropped = map(int, state.get("dropped", (0, 0)))
        self.jumps = int(state.get("jumps", 0))
        if state.get("last_jump"):
            decky, before, after = state["last_jump"]
            self.last_jump = (str(decky), float(before), float(after))
        for item in state.get("remarks", ()):
            fact = Fact(*item)
            self._remarks.setdefault(self._find(fact), []).append(fact)
        for decky, native, lives in state.get("lives", ()):
            self._lives[(decky, native)] = [Life(*life) for life in lives]
        for decky, native, ts in state.get("starts", ()):  # of checkpoints before there were lives
            self._lives[(decky, native)] = [Life("", float(ts), float(ts), ended=True)]
        for decky, native, variant in state.get("current", ()):
            start = float(variant[1:])
            known = self._lives.setdefault((decky, native), [])
            known.append(Life(variant, start, start, ended=True))

    @staticmethod
    def _key_of(session: Session) -> SessionKey:
        return (session.decky_id, session.native_id + session.variant)

    def _queue(self, decky: str) -> OrderedDict[SessionKey, Session]:
        queue = self._queues.get(decky)
        if queue is None:
            queue = self._queues[decky] = OrderedDict()
        return queue

    def _session_of(self, fact: Fact, said: Data) -> Session | None:
        """The session a fact belongs to, taken up again or new; None when it opens none, or came before."""
        base = self._find(fact)
        life = self._life_of(base, fact)
        if life is None and fact.kind in _REMARKS:
            self._put_by(base, fact)
            return None
        name = self._name(base, fact) if life is None else life.name
        key = (base[0], base[1] + name) if name else base
        known = self._open.get(key) or self._closed.get(key) or self._dormant.get(key)
        if known is None:
            known = self._fresh(key, base, fact, life)
        elif not self._adds(fact, known, said):
            return None
        self._take_up(key, known)
        return known

    def _put_by(self, base: SessionKey, fact: Fact) -> None:
        """Keeps a remark for a while, should its session still come; it has no home until then."""
        self.homeless += 1
        if sum(map(len, self._remarks.values())) < REMARKS_KEPT:
            self._remarks.setdefault(base, []).append(fact)

    def _brought_home(self, session: Session) -> list[Event]:
        """Feeds the remarks that came before their session."""
        waiting = self._remarks.pop((session.decky_id, session.native_id), ())
        self.homeless -= len(waiting)
        return [event for fact in waiting for event in self.feed(fact)]

    def _take_up(self, key: SessionKey, session: Session) -> None:
        """Makes a session the newest of the open ones."""
        if key in self._open:
            self._open.move_to_end(key)
            self._queue(key[0]).move_to_end(key)
            return
        self._native[session.native_id] = key
        self._closed.pop(key, None)
        self._dormant.pop(key, None)
        session.ended = None
        self._open[key] = self._queue(key[0])[key] = session

    def _said(self, fact: Fact) -> Data:
        """A log-in as it may be remembered: with a keyed hash in the place of the secret."""
        data = fact.data
        secret = data["secret"]
        digest = None if secret is None else keyed_hash(self._key, data["secret_kind"], secret)
        return {"username": data["username"], "success": data["success"], "digest": digest}

    def _adds(self, fact: Fact, known: Session, said: Data) -> bool:
        """Whether a fact adds to a session: a line counts once, and of several close lines the first."""
        again = known.has(fact, said)
        self.repeated += again
        return not again and (fact.kind != "closed" or known.closed_at is None)

    def _find(self, fact: Fact) -> SessionKey:
        """Key of a fact; without a sensor name it joins the session that has its id."""
        known = self._native.get(fact.session)
        if fact.sensor is None:
            self._nameless = self._token(DEFAULT_NAME)
            return (known[0] if known else self._nameless, fact.session)
        nameless = known is not None and known[0] == self._nameless
        return (self._nameless if nameless else self._token(fact.sensor), fact.session)

    def _token(self, name: str) -> str:
        """The token of a sensor's name; one that is not the name itself is kept to be shown."""
        token = self.name_token(name)
        if token != name and len(self.names) < NAMES_SHOWN:
            self.names[name] = token
        return token

    def _life_of(self, base: SessionKey, fact: Fact) -> Life | None:
        """Which of the sessions with one id a line belongs to; None for one that is not known.

        Visits of decoys that never say when a connection ends have names of their own.
        """
        lives = self._lives.get(base)
        if not lives:
            return None
        if self._kind != KIND:
            return lives[0]
        if len(lives) == 1 and fact.kind != "connect" and lives[0].takes(fact.ts):
            return lives[0]
        if fact.kind == "connect":
            return connected_at(lives, fact.ts)
        return line_of(lives, fact.ts, trailing=fact.kind in _TRAILING, ip=fact.src_ip)

    def _name(self, base: SessionKey, fact: Fact) -> str:
        """What is added to an id for a session of it that is not known: nothing for the first one."""
        return f"@{fact.ts:.6f}" if self._lives.get(base) else ""

    def _fresh(self, key: SessionKey, base: SessionKey, fact: Fact, life: Life | None) -> Session:
        """A session that is not in memory: a new one, or what comes late of one that was."""
        sid = ids.session_id(self._kind, key[0], key[1])
        first = f"{fact.kind}|{fact.ts!r}|{self._said(fact) if fact.kind == 'login' else fact.data}"
        session = Session(
            sid, key[0], base[1], started_at=fact.ts, last_ts=fact.ts, variant=key[1].removeprefix(base[1]),
            piece=hashlib.blake2b(first.encode("utf-8", "replace"), digest_size=7).hexdigest(),
            late=life is not None and life.ended,
        )  # fmt: skip
        self._bytes += session.size_bytes
        if life is not None:
            session.ip = life.ip
        else:
            lives = self._lives.setdefault(base, [])
            lives.append(Life(session.variant, fact.ts))
            del lives[:-LIVES_OF_ONE]
            if len(self._lives) > LIVES_KEPT:
                self._lives.popitem(last=False)
        return session

    def _life(self, session: Session) -> Life | None:
        """What is known of when a session lived; None for one that was forgotten for the many after it."""
        lives = self._lives.get((session.decky_id, session.native_id), ())
        return next((life for life in lives if life.name == session.variant), None)

    def _live(self, session: Session, fact: Fact) -> None:
        """Notes what a line tells about when its session lived."""
        life = self._life(session)
        if life is None:
            return
        life.ip = session.ip
        life.first = min(life.first, fact.ts)
        if fact.kind == "connect":
            life.start = fact.ts
        elif fact.kind == "closed":
            life.closed = fact.ts
            if fact.data.get("duration") is not None and life.start is None:
                life.first, life.told = min(life.first, fact.ts - fact.data["duration"]), True

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

    def _told_by(self, session: Session) -> Data:
        """What tells a session from others of its id; visits have ids of their own."""
        if self._kind != KIND:
            return {}
        return {"torn": True} if session.connected_at is None else {"connected_at": session.connected_at}

    def _announced(self, session: Session, fact: Fact) -> list[Event]:
        """First news of a session and, where due, of its attacker."""
        if session.announced or (session.ip is None and fact.kind != "closed"):
            return []
        session.announced = True
        head = self._head(session)
        began = session.started_at
        started = _built(
            SessionStarted,
            {
                **head,
                "protocol": session.service,
                "started_at": began,
                "sensor_session": session.native_id,
                **self._told_by(session),
            },
        )
        events = self._observed(session, head, began)
        events.append(
            _event(topics.ATTACKER_SESSION_STARTED, started, f"{session.session_id}|started", began)
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
        who = {k: head[k] for k in ("attacker_uuid", "attacker_ip", "decky_id", "service")}
        payload = _built(Observed, {**who, "first_seen": ts})
        return [_event(topics.ATTACKER_OBSERVED, payload, mark, ts)]

    def _fingerprints(self, session: Session, fact: Fact) -> list[Event]:
        """What a line tells of the client's software, once for each decky and attacker."""
        kinds = _PRINTS.get(fact.kind)
        if kinds is None:
            return []
        return [e for kind in kinds if fact.data.get(kind) for e in self._fingerprint(session, fact, kind)]

    def _fingerprint(self, session: Session, fact: Fact, kind: str) -> list[Event]:
        head, value = self._head(session), fact.data[kind]
        mark = f"{session.decky_id}|{head['attacker_uuid']}|{kind}|{value}"
        if not self._first_time(mark):
            return []
        told: Data = {"type": kind, kind: value}
        if kind == "hassh":
            told |= {"version": session.client.get("version"), "kex": session.client.get("kex", [])}
            told |= {name: fact.data[name] for name in _OFFERED if fact.data.get(name)}
        who = {k: head[k] for k in ("attacker_uuid", "attacker_ip", "decky_id", "session_id")}
        payload = _built(Fingerprinted, {**who, **told})
        return [_event(topics.ATTACKER_FINGERPRINTED, payload, mark, fact.ts, kind)]

    def _intel(self, session: Session, fact: Fact) -> list[Event]:
        """What a provider says of the address that it names, else of the session's; lines of one answer go together.

        Every session asks anew, and an answer that is given again is news: of its time.
        """
        eventid, own = fact.data["eventid"], answer_of(fact.data["eventid"], fact.data["fields"])
        if own is None:
            return []
        said = [(e["ts"], answer_of(eventid, e["fields"])) for e in session.extras if e["eventid"] == eventid]
        same = [(ts, answer) for ts, answer in said if answer and answer["about"] == own["about"]]
        ts, told = together([(fact.ts, own), *same])
        head, about = self._head(session), told.pop("about")
        uuid, ip = _attacker(about) if about else (head["attacker_uuid"], head["attacker_ip"])
        payload = _built(IntelEnriched, {"attacker_uuid": uuid, "attacker_ip": ip, **told})
        content = hashlib.blake2b(
            json.dumps([ts, payload], sort_keys=True).encode(), digest_size=8
        ).hexdigest()
        subject = f"{session.session_id}|intel|{eventid}|{content}"
        return [_event(topics.ATTACKER_INTEL_ENRICHED, payload, subject, ts, "intel")]

    def _credential(self, session: Session, fact: Fact, digest: str) -> Event:
        head, data = self._head(session), fact.data
        payload = _built(
            Captured,
            {
                **head,
                "username": data["username"],
                "secret_hmac": digest,
                "secret_kind": data["secret_kind"],
                "key_id": self._key_id,
                "success": data["success"],
                "sensor_session": session.native_id,
                **self._told_by(session),
                **({"secret": data["secret"][:MAX_SECRET]} if self._keep_clear else {}),
            },
        )
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
        self._moved[session.session_id] = session
        events = self._announced_late(session)
        session.in_right_order(self._limits)
        if (life := self._life(session)) is not None:
            life.ended = True
        head = {**self._head(session), "protocol": session.service, **self._told_by(session)}
        for told in session.payloads(reason, head, self._max_bytes):
            payload = _built(SessionEnded, told)
            subject = f"{session.session_id}|ended|{payload['part']}/{payload['parts']}"
            version = f"{session.lines}.{payload['end_reason']}"
            if session.late:
                version += f".{session.piece}"
            events.append(
                _event(
                    topics.ATTACKER_SESSION_ENDED, payload, subject, payload["ended_at"],
                    payload["end_reason"], version=version,
                )
            )  # fmt: skip
        session.ends += 1
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
        before, was = clock.now, clock.pending
        now = clock.advance(ts, self._limits.idle_session_s)
        if clock.pending and not was and abs(ts - before) > JUMP_TOLD_S:
            self.jumps += 1
            self.last_jump = (decky, before, ts)
        if clock.pending:  # a line from elsewhere ends nothing, and lets nothing be forgotten
            return self._within_limits()
        events = self._idle(decky, now)
        for ended, kept in ((self._closed, CLOSED_KEPT_S), (self._dormant, self._limits.reopen_s)):
            while ended and self._outlived(next(iter(ended.values())), kept):
                self._forget(ended)
        return events + self._within_limits() if self._over_limits() else events

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
        if self._lines - session.at_line < FORGET_LINES:
            return False
        clock = self._clocks.get(session.decky_id)
        return clock is not None and session.last_ts < clock.now - kept

    def _forget(self, ended: OrderedDict[SessionKey, Session]) -> None:
        key, session = ended.popitem(last=False)
        self._bytes -= session.size_bytes
        if self._native.get(session.native_id) == key:
            del self._native[session.native_id]

    def _over_limits(self) -> bool:
        count = len(self._open) + len(self._dormant) + len(self._closed)
        return count > self._limits.max_open_sessions or self._bytes > self._limits.max_open_bytes


def _said(ts: float) -> str:
    return f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _built(kind: type[Record], said: Data) -> Data:
    """The payload of a record; what is said at its default is said all the same. Raises TypeError for a stray key."""
    known = {name: value for name, value in said.items() if name != "ttylog"}  # a path, and never on the bus
    return {**said, **kind(**known).build()}


def _event(
    leaf: str, payload: dict[str, Any], subject: str, ts: float, kind: str = "", version: str = "1"
) -> Event:
    """An ``attacker.`` event with a derived id."""
    topic = topics.attacker(leaf)
    return Event(topic, payload, type=kind, id=ids.event_id("sensors", subject, version), ts=ts)
