"""What happened in a span: gathered from the store, told in sections. View 0 and ``summary`` share it.

:func:`gather` asks, :func:`render` and the functions beside it are pure functions of the answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from decnet.attack.catalogue import load_catalogue
from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet_tui.model.needs import needs
from decnet_tui.model.spans import DAY_S, Chosen
from decnet_tui.model.words import clock, counted, period, span, stamp

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows import JsonObject
    from decnet.db.rows.since import NewThing, SinceRows, SomeNew, SourceSince, SpanTotals, Tie
    from decnet_tui.model.access import RuleAccess

MAX_SOURCES = 50
NAMED = 3
"""New things of a kind that stand in the line."""
KNOCKED = "knocked"
SIGNS = {"critical": "!!!", "high": "!!", "medium": "!", "low": "."}
READ_FIRST, NEW, NEEDS, BEFORE = "read_first", "new", "needs", "before"
QUIET_S = 900.0
"""Seconds without a line after which it is said for how long."""
TOLD = 3
"""Ties of a source that stand in its line."""
Row = Mapping[str, Any]
"""What stands behind a line: a row of any of the queries."""


class Beat(TypedDict):
    """A worker's last heartbeat, from the store or from the bus."""

    worker: str
    payload: JsonObject | None


@dataclass(frozen=True)
class Item:
    """One line: its text, the data behind it, the view (and row) that it opens, whether it needs attention.

    ``below`` are lines that belong to it.
    """

    key: str
    text: str
    data: Row = field(default_factory=dict)
    opens: tuple[str, Any] | None = None
    bad: bool = False
    below: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """Items of one kind; ``none`` is said when there are none, ``note`` beside the title."""

    name: str
    title: str
    items: tuple[Item, ...]
    none: str
    note: str = ""


@dataclass
class Found:
    """The answers of the store. ``now`` is epoch seconds."""

    now: float
    chosen: Chosen
    rows: SinceRows
    rules: Sequence[Row] = ()
    heartbeats: Sequence[Beat] = ()
    heartbeat_s: float = 10.0


async def gather(
    repo: BaseRepository,
    rules: RuleAccess,
    chosen: Chosen,
    heartbeat_s: float,
    *,
    limit: int = MAX_SOURCES,
    clear: bool = False,
    now: float | None = None,
) -> Found:
    """Everything that :func:`render` needs; ``limit`` sources, 0 for all. Raises what the store raises."""
    now = time.time() if now is None else now
    rows = await repo.since(chosen.begin, chosen.until(now), limit, clear=clear)
    return Found(now, chosen, rows, await _rule_rows(rules), rows.heartbeats, heartbeat_s)


async def _rule_rows(rules: RuleAccess) -> Sequence[Mapping[str, Any]]:
    """All rules; when the engine's cannot be had, why: the other sections do not wait for them."""
    try:
        return await rules.list_rules()
    except DecnetError as error:
        return [{"rule_id": "rules", "error": str(error)}]


def render(
    found: Found, place: Callable[[str | None], str] | None = None, *, whole: bool = False
) -> list[Section]:
    """The sections, in the order in which they matter; ``place`` says where an address is.

    Sources that only knocked are one line, unless it is to be told ``whole``.
    """
    rows = found.rows
    some = "no source in this span" if rows.totals["sources"] == 0 else "no source to read"
    return [
        Section(READ_FIRST, "READ FIRST", _sources(found, place or _nowhere, whole), some, _shown(rows)),
        Section(NEW, "NEW IN YOUR HISTORY", _news(rows), _no_news(rows)),
        Section(NEEDS, "NEEDS YOU", tuple(Item(*one) for one in needs(found)),
                "nothing: alerts, rules, sensors and workers are well"),
        Section(BEFORE, "SINCE BEFORE", _ties(rows), _no_ties(rows)),
    ]  # fmt: skip


def is_empty(sections: Sequence[Section]) -> bool:
    """Whether nothing at all is there to tell."""
    return not any(section.items for section in sections)


def read_to(found: Found) -> str:
    """Up to when the logs are read, by the time in them, and whether they are quiet; empty where no sensor says so."""
    times = [row.get("last_line_ts") for beat in found.heartbeats for row in _sensors_of(beat["payload"])]
    known = [float(ts) for ts in times if isinstance(ts, (int, float)) and ts <= found.now + DAY_S]
    if not known:
        return ""
    last = max(known)
    near = abs(found.now - last) < DAY_S
    quiet = f", quiet {span(found.now - last)}" if near and found.now - last > QUIET_S else ""
    return f"log read to {clock(last, 'date')[11 if near else 5 : 16]}{quiet}"


def _sensors_of(payload: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    rows = (payload or {}).get("sensors")
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else ()


# --- totals


def totals_line(rows: SinceRows) -> str:
    """What the span comes to, with what is usual."""
    now, usual = rows.totals, rows.usual
    new = f"{rows.new_sources} new" if rows.new_from is not None else ""
    parts = [
        _total("sources", now["sources"], usual, "sources", new),
        _total("sessions", now["sessions"], usual, "sessions"),
        _total("got in", now["got_in"], usual, "got_in"),
        _total("ran code", now["ran_code"], usual, "ran_code"),
        _total("files", now["files"], usual, "files"),
    ]
    return "   ".join(parts)


def _total(title: str, value: int, usual: SpanTotals | None, name: str, also: str = "") -> str:
    beside = [also] if also else []
    if usual is not None:
        beside.append(f"usual {dict(usual)[name]}")
    return f"{title} {value}" + (f" ({', '.join(beside)})" if beside else "")


def rhythm_counts(rows: SinceRows, most: int) -> tuple[list[int], float]:
    """Sessions of each part of the span in order, at most ``most`` parts, and the seconds of a part."""
    if not rows.rhythm:
        return [], float(rows.bucket_s)
    size = rows.bucket_s
    first = rows.rhythm[0][0] if rows.begin < rows.rhythm[0][0] and not rows.begin.timestamp() else rows.begin
    start = int(first.timestamp() // size)
    last = max(start, int(min(rows.end, _after(rows)).timestamp() // size))
    counts = [0] * (last - start + 1)
    for moment, count in rows.rhythm:
        at = int(moment.timestamp() // size) - start
        if 0 <= at < len(counts):
            counts[at] += count
    step = -(-len(counts) // max(most, 1))
    return [sum(counts[i : i + step]) for i in range(0, len(counts), step)], float(size * step)


def _after(rows: SinceRows) -> datetime:
    """The end of what is told: of an open span its end, of everything the last session."""
    return rows.end if rows.begin.timestamp() else rows.rhythm[-1][0]


def rhythm_ends(rows: SinceRows) -> tuple[str, str]:
    """How the ends of the strip are called."""
    if not rows.rhythm:
        return "", ""
    first = rows.begin if rows.begin.timestamp() else rows.rhythm[0][0]
    form = "%Hh" if rows.bucket_s < DAY_S and (rows.end - first).total_seconds() <= DAY_S else "%m-%d"
    return f"{first:{form}}", f"{_after(rows):{form}}"


def busiest(rows: SinceRows) -> str:
    """The part of the span with most sessions."""
    if not rows.rhythm:
        return ""
    moment, count = max(rows.rhythm, key=lambda one: (one[1], one[0]))
    form = "%H:00Z" if rows.bucket_s < DAY_S else "%m-%d"
    day = (
        f"{moment:%m-%d} "
        if rows.bucket_s < DAY_S and (rows.end - rows.begin).total_seconds() > DAY_S
        else ""
    )
    return f"busiest {day}{moment:{form}}: {count}"


# --- read first


def _shown(rows: SinceRows) -> str:
    told = sum(source["severity"] != "info" for source in rows.sources)
    return f"{told} of {rows.totals['sources']} shown"


def _nowhere(_: str | None) -> str:
    return ""


def _sources(found: Found, place: Callable[[str | None], str], whole: bool) -> tuple[Item, ...]:
    rows = found.rows
    told = [one for one in rows.sources if whole or one["severity"] != "info"]
    items = [_source(found, one, place(one["attacker_ip"])) for one in told]
    knocked = rows.by_severity.get("info", 0)
    if knocked and not whole:
        items.append(Item(KNOCKED, f"    +{counted(knocked, 'source')} that only knocked"))
    listed = len(told) + (0 if whole else knocked)
    if (more := rows.totals["sources"] - listed) > 0:
        items.append(Item("more", f"    +{more} more {'source' if more == 1 else 'sources'}"))
    return tuple(items)


def _source(found: Found, one: SourceSince, place: str) -> Item:
    """One block: who, from where, when, where; then what it achieved."""
    sign = SIGNS.get(one["severity"] or "", "?" if one["severity"] is None else "")
    many = counted(one["sessions"], "session") if one["sessions"] > 1 else ""
    new = "NEW" if one["new"] else ""
    head = (
        f"{sign:>3} {visible(one['attacker_ip'] or '?', 39):<15} {visible(place, 13):<13} {new:<3} "
        f"{period(one['first'], one['last'], found.now):<11} {visible(one['decky_id'] or '-', 10):<10} {many}"
    )
    return Item(
        one["attacker_uuid"],
        head.rstrip(),
        dict(one),
        ("actors", one["session_id"]),
        below=(f"    {why(one)}",),
    )


def why(one: SourceSince) -> str:
    """What a source achieved, in a line."""
    if one["severity"] is None:
        return "not judged yet: a session is when it ends"
    first = " (first time anywhere)" if one["unseen"] and one["severity"] not in ("low", "info") else ""
    scripts = f"; {one['playbooks']} scripts" if one["playbooks"] > 1 else ""
    return f"{one['severity'].upper()} {visible(one['severity_reason'] or '-', 160)}{first}{scripts}"


# --- new in your history


def _no_news(rows: SinceRows) -> str:
    if rows.history is None:
        return "no session is stored"
    if rows.new_from is None:
        return f"nothing: the history begins {stamp(rows.history)[:16]}Z"
    return "nothing: all of it was seen before"


def _news(rows: SinceRows) -> tuple[Item, ...]:
    kinds = (("file", rows.files), ("host", rows.hosts), ("key", rows.keys), ("cred", rows.credentials))
    items = [_new(kind, some) for kind, some in kinds if some.of]
    if rows.techniques:
        names = load_catalogue()
        shown = [f"{one['technique']} {names.name(one['technique']) or '?'}" for one in rows.techniques[:2]]
        more = f", +{len(rows.techniques) - 2}" if len(rows.techniques) > 2 else ""
        data = {"kind": "technique", "techniques": [dict(one) for one in rows.techniques]}
        opens = ("coverage", rows.techniques[0]["technique"])
        items.append(Item("technique", f"technq  {', '.join(shown)}{more}", data, opens))
    return tuple(items)


def _new(kind: str, some: SomeNew) -> Item:
    shown = ", ".join(_named(kind, one) for one in some.some[:NAMED])
    more = f", +{some.of - NAMED}" if some.of > NAMED else ""
    data = {"kind": kind, "of": some.of, "things": [dict(one) for one in some.some]}
    return Item(kind, f"{kind:<7} {shown}{more}", data)


def _named(kind: str, one: NewThing) -> str:
    if kind == "file":
        name = f"{visible(one['name'], 30)} " if one["name"] else ""
        return f"{name}{visible(one['value'], 8).rstrip('…')}"
    if kind == "cred":
        return f"{visible(one['value'], 40)} accepted {one['times']}x"
    return visible(one["value"], 45)


# --- since before


def _no_ties(rows: SinceRows) -> str:
    if rows.history is None or rows.begin <= rows.history:
        return "nothing is stored of before this span"
    return "nobody above shares a client, file, script, host or key with a source of before"


def _ties(rows: SinceRows) -> tuple[Item, ...]:
    """Of each source that shares something, in the order in which they are read, what tells most."""
    items = []
    for one in rows.sources:
        ties = [tie for tie in rows.ties if tie["attacker_uuid"] == one["attacker_uuid"]]
        if ties:
            said = "; ".join(_tie(tie) for tie in ties[:TOLD])
            more = f", +{len(ties) - TOLD}" if len(ties) > TOLD else ""
            text = f"{visible(one['attacker_ip'] or '?', 39):<15} {said}{more}"
            data = {
                "attacker_uuid": one["attacker_uuid"],
                "attacker_ip": one["attacker_ip"],
                "ties": [dict(t) for t in ties],
            }
            items.append(Item(one["attacker_uuid"], text, data, ("actors", one["attacker_uuid"])))
    return tuple(items)


def _tie(tie: Tie) -> str:
    value = visible(tie["value"], 16)
    return f"same {tie['family']} {value} as {counted(tie['sources'], 'known source')}"


def as_json(found: Found, limit: int) -> dict[str, Any]:
    """The whole page: span, totals, read_first, new_in_history, needs_you."""
    rows = found.rows
    usual = {"usual": dict(rows.usual) if rows.usual is not None else None, "usual_of": rows.usual_of}
    return {
        "span": {"label": found.chosen.label, "begin": rows.begin, "end": rows.end, "history": rows.history},
        "totals": {**rows.totals, "new_sources": rows.new_sources, **usual},
        "read_first": [dict(one) for one in rows.sources[: limit or None]],
        "new_in_history": {
            "new_from": rows.new_from,
            "files": _json_things(rows.files, "sha256"),
            "hosts": _json_things(rows.hosts, "host"),
            "keys": _json_things(rows.keys, "key"),
            "credentials": _json_things(rows.credentials, "login"),
            "techniques": [dict(one) for one in rows.techniques],
        },
        "needs_you": [
            {"kind": one.kind, "key": one.key, "text": one.text, "bad": one.bad, "about": dict(one.data)}
            for one in needs(found)
        ],
        "since_before": [dict(tie) for tie in rows.ties],
    }  # fmt: skip


def _json_things(some: SomeNew, name: str) -> list[dict[str, Any]]:
    return [{name: one["value"], **{k: v for k, v in one.items() if k != "value"}} for one in some.some]
