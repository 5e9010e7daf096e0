"""Repository, part samples: files that attackers brought, by their hash."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select

from decnet.db.repository.base import SqlRepository, shaped
from decnet.db.rows.lists import ListedSample
from decnet.db.tables import table
from decnet.db.types import as_utc

_SESSION = table("session")
Since = datetime | float | None
_PAGE = 1000
MAX_NAMED = 20
"""Names and sources of one file that are told; all are counted."""
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class SamplesMixin(SqlRepository):
    """Questions over the downloads and uploads of sessions."""

    async def list_samples(
        self, since: Since = None, limit: int = 100, ignored: bool = False
    ) -> list[ListedSample]:
        """Files by SHA-256, those seen last first; limit 0 is all."""
        found: dict[str, dict[str, Any]] = {}
        columns = [
            _SESSION.c[name] for name in ("session_id", "attacker_uuid", "started_at", "downloads", "uploads")
        ]
        where: list[ColumnElement[bool]] = [
            or_(_SESSION.c.downloads.is_not(None), _SESSION.c.uploads.is_not(None))
        ]
        where += [] if ignored else [_SESSION.c.ignored_by.is_(None)]
        where += [] if since is None else [_SESSION.c.started_at >= as_utc(since)]
        last = ""
        async with self._read() as session:
            while True:
                page = select(*columns).where(and_(*where, _SESSION.c.session_id > last))
                rows = (await session.execute(page.order_by(_SESSION.c.session_id).limit(_PAGE))).all()
                for row in rows:
                    _note(found, row)
                if len(rows) < _PAGE:
                    break
                last = rows[-1][0]
        ranked = sorted(
            found.values(),
            key=lambda one: (one["last_seen"] is not None, one["last_seen"], one["sha256"]),
            reverse=True,
        )
        return [_row(one) for one in (ranked[:limit] if limit else ranked)]


def _note(found: dict[str, dict[str, Any]], row: Any) -> None:
    """Adds what one session brought."""
    _, attacker, started, downloads, uploads = row
    for item in (*_items(downloads), *_items(uploads)):
        digest = item.get("sha256")
        if not isinstance(digest, str) or not _SHA256.match(digest.lower()):
            continue
        one = found.setdefault(
            digest.lower(),
            {"sha256": digest.lower(), "names": set(), "sources": set(), "attackers": set(), "times": 0, "first_seen": None, "last_seen": None},
        )  # fmt: skip
        one["times"] += 1
        one["attackers"].add(attacker)
        one["names"] |= {
            name for key in ("filename", "destfile") if isinstance(name := item.get(key), str) and name
        }
        one["sources"] |= {item["url"]} if isinstance(item.get("url"), str) and item["url"] else set()
        if started is not None:
            one["first_seen"] = min(one["first_seen"] or started, started)
            one["last_seen"] = max(one["last_seen"] or started, started)


def _items(stored: Any) -> Iterator[Mapping[str, Any]]:
    return (item for item in (stored if isinstance(stored, list) else ()) if isinstance(item, dict))


def _row(one: Mapping[str, Any]) -> ListedSample:
    names, sources = sorted(one["names"]), sorted(one["sources"])
    return shaped(
        ListedSample,
        {
            "sha256": one["sha256"],
            "names": names[:MAX_NAMED],
            "name_count": len(names),
            "sources": sources[:MAX_NAMED],
            "source_count": len(sources),
            "attackers": len(one["attackers"]),
            "times": one["times"],
            "first_seen": one["first_seen"],
            "last_seen": one["last_seen"],
        },
    )
