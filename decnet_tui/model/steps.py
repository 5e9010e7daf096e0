"""A session as steps in order: log-ins, commands, files, tunnels, exploits, its end; each with its tags. Knows no terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from decnet.hostile import visible
from decnet.ttp.stages import DELIVERING, PHASES, stage_of
from decnet_tui.model.session_page import refusals
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.db.rows.lists import ListedTag
    from decnet.db.rows.session import Attempt, SessionRows

MAX_REFUSED = 3
"""Refused log-ins that are steps of their own; more are one step."""
WORDS = {
    "access": "IN", "recon": "LOOK", "creds": "CREDS", "blind": "BLIND", "prepare": "PREP", "fetch": "FETCH", "arm": "ARM",
    "run": "RUN", "hide": "HIDE", "persist": "KEEP", "privesc": "ROOT", "tunnel": "TUNNEL", "spread": "SPREAD",
    "mine": "MINE", "impact": "DAMAGE", "collect": "COLLECT", "exfil": "OUT", "clean": "CLEAN", "leave": "END",
}  # fmt: skip
"""Stages as they stand beside a step."""
_HEAVIEST = (
    "run",
    "persist",
    "fetch",
    "arm",
    "hide",
    "prepare",
    *(p for p in reversed(PHASES) if p not in DELIVERING),
)
IDLE_S = 30.0
"""Seconds without a step that the strip tells."""
COMMAND, SESSION = "command", "session"


class Step(TypedDict):
    """One step. ``at`` is seconds after the session's start, ``ts`` epoch seconds, both None where nobody says."""

    key: str
    kind: str
    line: int | None
    """Of a command its number from 1, as evidence names it."""
    at: float | None
    ts: float | None
    stage: str
    """As the strip calls it; empty for none."""
    what: str
    techniques: list[str]
    tags: list[ListedTag]
    data: Mapping[str, Any]


def steps_of(rows: SessionRows) -> list[Step]:
    """All of it, in order of time; what has none stands behind what was logged of its kind."""
    tags: dict[str, list[ListedTag]] = defaultdict(list)
    for tag in rows.tags:
        tags[tag["source_id"]].append(tag)
    for item in rows.payload["joined"] or ():  # a command over several lines is told at the first of them
        lines = item.get("lines")
        if isinstance(lines, list) and lines and str(item.get("id")) in tags:
            tags[str(lines[0])] += tags.pop(str(item["id"]))
    made = [*_logins(rows, tags), *_commands(rows, tags), *_facts(rows, tags)]
    for bait in rows.baits:
        said = f"read the bait {bait['path']} (token {bait['token_id']})"
        made.append(
            _step(rows, f"bait{bait['token_id']}", "bait", bait["at"].timestamp(), "collect", said, [], bait)
        )
    made.sort(key=lambda step: (step["ts"] is None, step["ts"] or 0.0))
    rest = [tag for some in tags.values() for tag in some]
    if rest:
        made.append(_step(rows, "session", SESSION, None, "", "the session as a whole", rest, {}))
    if rows.payload["ended_at"] is not None:
        reason = rows.payload["end_reason"] or "ended"
        made.append(_step(rows, "end", "end", rows.payload["ended_at"], "leave", f"{reason}", [], {}))
    return made


def _step(
    rows: SessionRows, key: str, kind: str, ts: float | None, stage: str, what: str, tags: Sequence[ListedTag],
    data: Mapping[str, Any],
) -> Step:  # fmt: skip
    begun = rows.payload["started_at"]
    own = sorted(tags, key=lambda tag: -tag["confidence"])
    return {
        "key": key,
        "kind": kind,
        "line": None,
        "at": None if ts is None or begun is None else max(ts - begun, 0.0),
        "ts": ts,
        "stage": WORDS.get(stage, stage),
        "what": what,
        "techniques": list(dict.fromkeys(tag["sub_technique_id"] or tag["technique_id"] for tag in own)),
        "tags": own,
        "data": data,
    }


# --- log-ins


def _logins(rows: SessionRows, tags: dict[str, list[ListedTag]]) -> Iterator[Step]:
    """Those that were let in, and the first that were refused; the rest of these as one."""
    own = [tag for source in list(tags) if _is_login(tags[source]) for tag in tags.pop(source)]
    refused = [one for one in rows.attempts if not one["success"]]
    accepted = [one for one in rows.attempts if one["success"]]
    failed = max(refusals(rows.payload["auth"] or {}), len(refused))
    for number, one in enumerate(refused[:MAX_REFUSED]):
        yield _login(rows, f"refused{number}", one, f"login {_named(one)} refused", ())
    if (more := failed - MAX_REFUSED) > 0:
        last = refused[-1]["at"].timestamp() if refused and refused[-1]["at"] else rows.payload["started_at"]
        yield _step(rows, "refused", "login", last, "", f"{counted(more, 'more log-in')} refused", (), {})
    for number, one in enumerate(accepted):
        said = f"login {_named(one)}, try {failed + number + 1} ok"
        yield _login(rows, f"login{number}", one, said, own if not number else ())
    if not accepted and ((rows.payload["auth"] or {}).get("success") or own):
        success = bool((rows.payload["auth"] or {}).get("success"))
        said = "logged in" if success else "log-ins refused"
        yield _step(
            rows, "login", "login", rows.payload["started_at"], "access" if success else "", said, own, {}
        )


def _login(rows: SessionRows, key: str, one: Attempt, said: str, tags: Sequence[ListedTag]) -> Step:
    ts = one["at"].timestamp() if one["at"] is not None else rows.payload["started_at"]
    return _step(rows, key, "login", ts, "access" if one["success"] else "", said, tags, one)


def _named(one: Attempt) -> str:
    return f"{visible(one['login'], 60)}{' by key' if one['secret_kind'] == 'publickey' else ''}"


def _is_login(tags: Sequence[ListedTag]) -> bool:
    return {tag["source_kind"] for tag in tags} <= {"auth_attempt", "credential"}


# --- commands


def _commands(rows: SessionRows, tags: dict[str, list[ListedTag]]) -> Iterator[Step]:
    phases = [p for p in rows.told["story"] or () if isinstance(p, Mapping)]
    for line, command in enumerate(rows.payload["commands"], 1):
        own = tags.pop(command["id"], [])
        stage, text, ts = _stage(line, own, phases), command["command_text"], command.get("ts")
        yield {**_step(rows, command["id"], COMMAND, ts, stage, text, own, command), "line": line}


def _stage(line: int, tags: Sequence[ListedTag], phases: Sequence[Mapping[str, Any]]) -> str:
    """The stage of a line: what its story says, and within the bringing and running of files what its tags say."""
    told = {stage_of(t["sub_technique_id"] or t["technique_id"], t["tactic"]) for t in tags}
    here = [p for p in phases if int(p.get("from") or 0) <= line <= int(p.get("to") or 0)]
    if len(here) == 1:
        stages = set(here[0].get("stages") or ())
        told = (told & stages) or (stages if len(stages) == 1 else told)
    return next((stage for stage in _HEAVIEST if stage in told), "")


# --- files, tunnels, exploits, input


def _facts(rows: SessionRows, tags: dict[str, list[ListedTag]]) -> Iterator[Step]:
    said = _KINDS
    payload: Mapping[str, Any] = rows.payload
    for name, (stage, tell) in said.items():
        for number, item in enumerate(payload.get(name) or ()):
            own = _own_tags(rows, name, item, tags)
            yield _step(rows, f"{name}{number}", name, item.get("ts"), stage, tell(rows, item), own, item)


def _own_tags(
    rows: SessionRows, name: str, item: Mapping[str, Any], tags: dict[str, list[ListedTag]]
) -> list[ListedTag]:  # fmt: skip
    """Tags of one fact: under its own id, or ``<session>#<direction>#<what names it>``."""
    begin = f"{rows.payload['session_id']}#{name.removesuffix('s')}#"
    names = [
        str(item[field])
        for field in ("sha256", "url", "filename", "destfile", "cve", "name")
        if item.get(field)
    ]
    if item.get("host"):
        names.append(f"{item['host']}".lower() + ("" if item.get("port") is None else f":{item['port']}"))
    ids = [
        item.get("id"),
        *(f"{begin}{one}" for named in names for one in dict.fromkeys((named, named.lower()))),
    ]
    return [tag for ident in ids if ident for tag in tags.pop(str(ident), ())]


def _file(rows: SessionRows, item: Mapping[str, Any]) -> str:
    digest = str(item.get("sha256") or "")
    others = rows.alike["files"].get(digest.lower())
    known = (
        "" if others is None else "  new file" if not others else f"  in {counted(others, 'other session')}"
    )
    return (f"  {digest[:12]}" if digest else "") + known


def _upload(rows: SessionRows, item: Mapping[str, Any]) -> str:
    return f"put {item.get('filename') or item.get('destfile') or '?'}{_file(rows, item)}"


def _download(rows: SessionRows, item: Mapping[str, Any]) -> str:
    source, target = item.get("url") or "", item.get("destfile") or ""
    said = f"fetch {source}" if source else f"write {target or '?'}"
    failed = "  FAILED" if item.get("failed") else ""
    return f"{said}{failed}{_file(rows, item)}"


def _forward(_: SessionRows, item: Mapping[str, Any]) -> str:
    port = "" if item.get("port") is None else f":{item['port']}"
    sent = f"  sent {str(item['data'])[:200]}" if item.get("data") else ""
    return f"tunnel to {item.get('host') or '?'}{port}{sent}"


def _exploit(_: SessionRows, item: Mapping[str, Any]) -> str:
    named = item.get("cve") or item.get("name") or "a weakness"
    did = f": {item['command']}" if item.get("command") else ""
    return f"exploit {named}{' worked' if item.get('success') else ''}{did}"


def _input(_: SessionRows, item: Mapping[str, Any]) -> str:
    return f"typed into {item.get('realm') or 'a program'}: {item.get('text') or ''}"


_KINDS: Mapping[str, tuple[str, Any]] = {
    "uploads": ("DROP", _upload), "downloads": ("fetch", _download), "forwards": ("tunnel", _forward),
    "exploits": ("access", _exploit), "inputs": ("", _input),
}  # fmt: skip


# --- the strip


def strip_of(steps: Sequence[Step], length_s: float | None, width: int, fill: str = "-") -> str:
    """The stages in the order and at the time in which they came, in ``width`` characters; empty for one stage at most."""
    told: list[tuple[float, str]] = []
    last = 0.0
    for step in steps:
        at = step["at"]
        if at is not None and at - last >= IDLE_S and told:
            told.append(((last + at) / 2, "IDLE"))
        if at is not None and step["stage"] and (not told or told[-1][1] != step["stage"]):
            told.append((at, step["stage"]))
        last = max(last, at or 0.0)
    if len({stage for _, stage in told}) < 2:
        return ""
    while sum(len(stage) + 1 for _, stage in told) > width and any(stage == "IDLE" for _, stage in told):
        told.remove(next(one for one in told if one[1] == "IDLE"))
    length = max(length_s or 0.0, last, 1.0)
    line = ""
    for number, (at, stage) in enumerate(told):
        left = sum(len(later) + 1 for _, later in told[number:])
        place = min(int(at / length * width), width - left)
        line += fill * max(place - len(line), 1 if line else 0)
        if len(line) + len(stage) > width:
            break
        line += stage
    return line.ljust(width, fill)
