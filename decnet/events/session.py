"""Sessions: their start, and everything that was seen in them at their end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from decnet.events.fields import Count, Epoch, Seconds
from decnet.events.record import FromAttacker, settled_list

MAX_PARTS = 100_000
PLACES = 1_000_000
"""More commands than one part has."""
COUNTED = (
    "op_text", "note_text", "bytes_out", "request_count", "rows_read", "bytes_read", "path", "signals",
    "llmnr_poison_count", "tftp_filename",
)  # fmt: skip
"""Keys of an end that few sessions have: what decoys other than shells count or were asked for."""


def position(part: int, place: int) -> int:
    """The place of a command in its session, from the part (from 1) that it came in and its place (from 0) there."""
    return (part - 1) * PLACES + place


def _nothing() -> None:
    """A default that is written nevertheless: what a factory makes is not left out."""


class Element(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing in a list of a session."""

    OTHER_NAMES: ClassVar[frozenset[str]] = frozenset()
    """Keys that are read as another one's."""


class Command(Element, frozen=True, kw_only=True, omit_defaults=True):
    """One command line. Without an id it gets ``<session>#cmd<position>``."""

    command_text: str
    id: str | None = None
    ts: Epoch | None = None
    user: str | None = None
    uid: str | None = None
    src: str | None = None
    pwd: str | None = None
    success: bool | None = None
    """Whether the honeypot knew the program; None when nobody said."""

    OTHER_NAMES: ClassVar = frozenset({"uuid", "command_id"})

    @classmethod
    def settled(cls, item: Any) -> Any:
        """A bare string is a command; ``uuid`` and ``command_id`` are ids of one; a user's number is its text."""
        if isinstance(item, str):
            return {"command_text": item}
        if not isinstance(item, dict):
            return item
        if item.get("id") is None and (given := item.get("uuid") or item.get("command_id")):
            item = {**item, "id": given}
        return {**item, "uid": str(item["uid"])} if type(item.get("uid")) is int else item


class Input(Element, frozen=True, kw_only=True, omit_defaults=True):
    """A line that a program of the honeypot read from its standard input; ``realm`` is the program."""

    text: str
    realm: str | None = None
    ts: Epoch | None = None


class Download(Element, frozen=True, kw_only=True, omit_defaults=True):
    """A file that came in: fetched from ``url``, or written through a redirect (then without one).

    ``outfile`` is where the honeypot keeps it, ``destfile`` where the attacker wanted it.
    """

    url: str = msgspec.field(default_factory=str)
    sha256: str | None = msgspec.field(default_factory=_nothing)
    outfile: str | None = None
    destfile: str | None = None
    failed: bool = False
    error: str | None = None
    duplicate: bool | None = None
    ts: Epoch | None = None


class Upload(Element, frozen=True, kw_only=True, omit_defaults=True):
    """A file that the attacker sent (SFTP, SCP)."""

    filename: str = msgspec.field(default_factory=str)
    sha256: str | None = msgspec.field(default_factory=_nothing)
    outfile: str | None = None
    destfile: str | None = None
    duplicate: bool | None = None
    ts: Epoch | None = None


class Forward(Element, frozen=True, kw_only=True, omit_defaults=True):
    """A connection that the attacker asked to be made from the honeypot, and what was sent through it."""

    host: str = msgspec.field(default_factory=str)
    port: int | None = msgspec.field(default_factory=_nothing)
    data: str | None = None
    ja4: str | None = None
    ja4h: str | None = None
    orig_ip: str | None = None
    orig_port: int | None = None
    new_ip: str | None = None
    """Where the honeypot really connected, when it was told to redirect or tunnel."""
    new_port: int | None = None
    ts: Epoch | None = None


class Exploit(Element, frozen=True, kw_only=True, omit_defaults=True):
    """An attempt at a known weakness; ``value`` is what was sent, ``command`` what it was to run."""

    cve: str | None = None
    name: str | None = None
    value: str | None = None
    username: str | None = None
    command: str | None = None
    success: bool = msgspec.field(default_factory=bool)
    ts: Epoch | None = None


class Joined(Element, frozen=True, kw_only=True, omit_defaults=True):
    """A command that was logged as several lines: its text, and the ids of the lines in order."""

    id: str
    command_text: str
    lines: list[str] = []
    ts: Epoch | None = None


class Extra(Element, frozen=True, kw_only=True, omit_defaults=True):
    """An event of the honeypot's that has no home of its own, with its own id and fields."""

    eventid: str
    fields: dict[str, Any] = {}
    ts: Epoch | None = None


class Client(Element, frozen=True, kw_only=True, omit_defaults=False):
    """What the client said of itself; ``size`` is that of its terminal in characters."""

    version: str | None = None
    hassh: str | None = None
    kex: list[str] = []
    size: dict[str, int] | None = None


class Auth(Element, frozen=True, kw_only=True, omit_defaults=False):
    """How the attacker got in, or not."""

    fail_count: Count = 0
    success: bool = False
    usernames: list[str] = []
    default_pair: bool | msgspec.UnsetType = msgspec.UNSET
    """True: with a user and password that devices are delivered with; left out otherwise."""


class SessionStarted(FromAttacker, frozen=True, kw_only=True, omit_defaults=True):
    """``attacker.session.started``: somebody has connected."""

    session_id: str
    decky_id: str | None = None
    service: str | None = None
    protocol: str | None = None
    started_at: Epoch | None = None
    sensor_session: str | None = None
    """The honeypot's own id: what stands in its log."""
    connected_at: Epoch | None = None
    """When the line of its connection was written: what tells it from others of the same id."""
    torn: bool = False
    """That line is not known."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.session_id:
            raise ValueError("session_id is empty")


class Happened(Element, frozen=True, kw_only=True, omit_defaults=True):
    """What else happened in a session: ``kind`` is download, upload, forward or exploit, ``what`` names it."""

    kind: str
    what: str = ""
    ts: Epoch | None = None


class SessionProgress(FromAttacker, frozen=True, kw_only=True, omit_defaults=True):
    """``attacker.session.progress``: how far a session is. Live news only; its end says all of it again.

    ``from`` is the place of the first command in the session; some may have been passed over before it.
    """

    LISTS: ClassVar = {"commands": Command, "facts": Happened}
    ALWAYS: ClassVar = ("from", "commands", "facts")

    session_id: str
    seq: Count
    """1 for the first news of a session."""
    decky_id: str | None = None
    service: str | None = None
    sensor_session: str | None = None
    first: Count = msgspec.field(default=0, name="from")
    commands: list[Command] = []
    facts: list[Happened] = []


class SessionEnded(SessionStarted, frozen=True, kw_only=True, omit_defaults=True):
    """``attacker.session.ended``: one part of a session's end; the last part has the totals.

    ``op_text`` to ``tftp_filename`` are what decoys other than shells count and are asked for.
    """

    LISTS: ClassVar = {
        "commands": Command,
        "inputs": Input,
        "downloads": Download,
        "uploads": Upload,
        "forwards": Forward,
        "exploits": Exploit,
        "joined": Joined,
        "extras": Extra,
    }

    ALWAYS: ClassVar = (
        "part", "parts", "commands", "commands_dropped", "downloads", "uploads", "forwards",
    )  # fmt: skip

    ended_at: Epoch
    end_reason: str | None = None
    """closed, idle or eof."""
    duration_s: Seconds | None = None
    part: int = 1
    parts: int = 1
    command_count: Count | None = None
    commands_dropped: Count = 0
    items_dropped: Count = 0
    """Things other than commands that found no room."""
    piece: str | None = None
    """Pieces of one session that were put together apart have different ones; an end with more ``lines`` of the same
    piece takes the place of one with fewer."""
    lines: Count = 0
    """Log lines that the piece was put together from."""
    span: list[Epoch] = []
    """Times of the first and the last of them."""
    failed_at: list[Epoch] = []
    """Times of failed log-ins, the first 1,000."""
    commands: list[Command] = []
    inputs: list[Input] = []
    downloads: list[Download] = []
    uploads: list[Upload] = []
    forwards: list[Forward] = []
    exploits: list[Exploit] = []
    joined: list[Joined] = []
    extras: list[Extra] = []
    client: Client | None = None
    auth: Auth | None = None
    keystrokes_ref: str | None = None
    op_text: str | None = None
    note_text: str | None = None
    bytes_out: Count | None = None
    request_count: Count | None = None
    rows_read: Count | None = None
    bytes_read: Count | None = None
    path: str | None = None
    signals: list[str] = []
    llmnr_poison_count: Count | None = None
    tftp_filename: str | None = None

    @classmethod
    def settled(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """With ids and texts of commands where other producers write them."""
        known = super().settled(raw)
        return {**known, "commands": settled_list(known, "commands", Command.settled)}

    @classmethod
    def placed(cls, item: Any, name: str, place: int, settled: Mapping[str, Any]) -> Any:
        """A command keeps the id of the place at which it was sent."""
        if isinstance(item, Command) and not item.id:
            return msgspec.structs.replace(item, id=f"{settled.get('session_id')}#cmd{place}")
        return item

    def command_ids(self) -> Iterator[tuple[str, Command]]:
        """Commands with their ids, given or derived from their place."""
        for place, command in enumerate(self.commands):
            yield command.id or f"{self.session_id}#cmd{place}", command

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.part <= self.parts <= MAX_PARTS:
            raise ValueError(f"part {self.part} of {self.parts}")
