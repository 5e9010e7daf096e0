"""Indicators: what of sessions others can look for or block, each with who had it and when. Knows no terminal.

Addresses, hosts, URLs, hashes and paths of files, log-ins that were let in, keys. What is everybody's is none: loopback
and private hosts, and the paths that a system has anyway.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from decnet.addresses import fold, special
from decnet.hostile import visible
from decnet.shell.assets import host_of, public_keys
from decnet.shell.files import EXECUTED
from decnet.shell.script import read_script
from decnet.shell.told import Transfer

if TYPE_CHECKING:
    from decnet.db.rows.session import Evidence

KINDS = ("ip", "sha256", "url", "host", "path", "cred", "key")
"""In the order in which they are told."""
MAX_LINES = 2_000
"""Commands of one session that are read for files, hosts and URLs."""
MOST = 100_000
"""Indicators that are kept; more are counted only."""
_URL = re.compile(r"(?i)\b(?:https?|ftp|tftp)://[^\s'\"`;|<>()\\\x00-\x1f\x7f-\x9f]{3,400}")
_BROUGHT = frozenset({"fetched", "uploaded", "written", "copied", "extracted", "compiled"})
_OURS = frozenset({"private", "loopback", "link-local", "this network", "unspecified"})
"""Why an address is no indicator; examples of documents and the like are told, since it was they that were used."""
_DEVICES = ("/dev/", "/proc/", "/sys/")
_DANGER = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would compute."""


class Ioc(TypedDict):
    """One indicator; times are those of the sessions that had it, ``name`` is what a file came as."""

    kind: str
    value: str
    name: str | None
    sessions: int
    sources: list[str]
    first: datetime | None
    last: datetime | None
    session_id: str
    """The first session that had it."""


class Indicators:
    """Takes sessions in, gives indicators out: each once, with all that had it."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Ioc] = {}
        self.left_out = 0
        """Indicators beyond the bound."""

    def add(self, one: Evidence) -> None:
        """One more session."""
        names: dict[tuple[str, str], str] = {}
        for kind, value, name in _of(one):
            names[kind, value] = names.get((kind, value)) or name
        for key, name in names.items():
            known = self._found.get(key)
            if known is None:
                if len(self._found) >= MOST:
                    self.left_out += 1
                    continue
                known = self._found[key] = _fresh(*key, one)
            _count(known, one, name)

    def rows(self) -> list[Ioc]:
        """All of them, by kind and value."""
        order = {kind: place for place, kind in enumerate(KINDS)}
        return sorted(self._found.values(), key=lambda ioc: (order[ioc["kind"]], ioc["value"]))


def _fresh(kind: str, value: str, one: Evidence) -> Ioc:
    return {
        "kind": kind,
        "value": value,
        "name": None,
        "sessions": 0,
        "sources": [],
        "first": one["started_at"],
        "last": one["started_at"],
        "session_id": one["session_id"],
    }


def _count(known: Ioc, one: Evidence, name: str) -> None:
    known["sessions"] += 1
    known["name"] = known["name"] or name or None
    if one["attacker_ip"] and one["attacker_ip"] not in known["sources"]:
        known["sources"].append(one["attacker_ip"])
    at = one["started_at"]
    if at is not None:
        if known["first"] is None or at < known["first"]:
            known["first"], known["session_id"] = at, one["session_id"]
        known["last"] = at if known["last"] is None else max(at, known["last"])


def _of(one: Evidence) -> Iterator[tuple[str, str, str]]:
    """(kind, value, name) of what one session had, as it may be shown; the same may come more than once."""
    lines = one["commands"][:MAX_LINES]
    if one["attacker_ip"] and fold(one["attacker_ip"]):
        yield "ip", one["attacker_ip"], ""
    yield from _of_files(one)
    urls = [str(item.get("url") or "") for item in one["downloads"]]
    urls += [found[0] for line in lines for found in _URL.finditer(line)]
    for url in urls:
        if "://" in url and _is_theirs(host_of(url)):
            yield "url", _shown(url), ""
    for host in (*one["hosts"], *map(host_of, urls)):
        if _is_theirs(host):
            yield "host", _shown(host), ""
    yield from (("path", path, "") for path in _paths(one, lines))
    yield from (("cred", _shown(login), "") for login in one["logins"])
    yield from (("key", key, "") for key in public_keys(lines))


def _of_files(one: Evidence) -> Iterator[tuple[str, str, str]]:
    for item in (*one["uploads"], *one["downloads"]):
        if item.get("sha256"):
            place = str(item.get("destfile") or item.get("filename") or item.get("url") or "")
            yield "sha256", _shown(str(item["sha256"]).lower()), _shown(place.rstrip("/").rpartition("/")[2])


def _paths(one: Evidence, lines: Sequence[str]) -> Iterator[str]:
    """Where files of the session's own were put, and those of them that were run."""
    came = [("uploaded", item) for item in one["uploads"]] + [("fetched", item) for item in one["downloads"]]
    named = [(kind, str(item.get("destfile") or item.get("filename") or "")) for kind, item in came]
    script = read_script(lines, [Transfer(kind, name) for kind, name in named if name])
    for file in script.files:
        own = not file.trivial and (_BROUGHT & file.origins.keys() or EXECUTED in file.origins)
        if own and not file.path.startswith(_DEVICES):
            yield _shown(file.path)
    known = {file.name for file in script.files}
    yield from (_shown(name) for _, name in named if name and name.rpartition("/")[2] not in known)


def _is_theirs(host: str) -> bool:
    """Whether a host says something about an attacker: not one of the decoy's own network."""
    if not host or host == "localhost":
        return False
    address = fold(host)
    return address is None or special(address) not in _OURS


def _shown(text: str) -> str:
    return visible(text, 500)


# --- as text, CSV and JSON


def text_lines(rows: Iterable[Ioc]) -> Iterator[str]:
    """A line each: kind, value, name."""
    for row in rows:
        yield f"{row['kind']:<7} {row['value']}" + (f"  {row['name']}" if row["name"] else "")


def copied(rows: Iterable[Ioc]) -> str:
    """Kind and value of each, a line each, as it is pasted elsewhere."""
    return "\n".join(f"{row['kind']} {row['value']}" for row in rows)


def csv_text(rows: Iterable[Ioc]) -> str:
    """A table with a title line; what a spreadsheet would compute begins with a quote."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(Ioc.__annotations__)
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])
    return out.getvalue()


def _cell(value: Any) -> str:
    text = value.isoformat() if isinstance(value, datetime) else _plain(value)
    return f"'{text}" if text.startswith(_DANGER) else text


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def json_row(row: Mapping[str, Any]) -> str:
    """One of them as a line of JSON."""
    return json.dumps(row, default=lambda v: v.isoformat() if isinstance(v, datetime) else str(v))
