"""What services said of an address, a file or a URL, and what they are asked now when a person wants that.

What they said is read from the database; they are asked by :mod:`decnet.intel.asking`, within the engine's budgets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from decnet.config import Settings
from decnet.errors import ConfigError, DecnetError
from decnet.events.intel import Answer
from decnet.hostile import visible
from decnet.ids import attacker_id
from decnet.intel.services.base import Value
from decnet_tui.cli import common
from decnet_tui.model.reputation import ABOUT_ALL, told_by
from decnet_tui.model.words import ago

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository


@dataclass(slots=True)
class Known:
    """What is stored of something: parts of intel, answers of services, and services that are still to be asked."""

    stored: list[Answer] = field(default_factory=list)
    services: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    """What came of asking just now, by service; empty when nobody was asked."""


async def known_of(settings: Settings, value: Value, now: float, *, ask: bool) -> Known:
    """What is stored of a value, after services were asked when ``ask`` is set.

    Raises ConfigError when there is none to be asked, and DecnetError.
    """
    from decnet.intel.asking import said_of  # here: most look-ups ask nobody
    from decnet.intel.services.feodo import FEODO, LIST

    async with common.repository(settings) as repo:
        found = Known()
        if ask:
            found.asked = await _ask(settings, repo, value)
        if value.kind == "address":
            found.stored = await repo.intel_answers(attacker_id(value.text))
        answers = await repo.intel_said_of(value.text)
        answers += await repo.intel_stored([(FEODO.name, LIST.kind, LIST.text)])
        found.services = [
            _row(name, at, answer.known, answer.said, now) for name, at, answer in said_of(answers, value)
        ]
        found.waiting = [row["service"] for row in await repo.intel_due_of(value.text)]
        return found


async def _ask(settings: Settings, repo: BaseRepository, value: Value) -> list[dict[str, Any]]:
    from decnet.intel.asking import Asker

    asker = Asker(settings, repo)
    if not asker.desk.names:
        raise ConfigError("no service is turned on: see the pages about services for how to")
    uuid = attacker_id(value.text) if value.kind == "address" else ""
    try:
        stored = bool(uuid) and bool(await repo.first_seen_of([uuid]))
        outcomes = await asker.ask_now(value.kind, value.text, uuid if stored else None)
    except TimeoutError:
        raise DecnetError("an engine goes on asking services: try again") from None
    finally:
        await asker.close()
    return [{"service": one.service, "why": one.why or None} for one in outcomes]


def _row(name: str, at: float, known: bool, said: Mapping[str, Any], now: float) -> dict[str, Any]:
    own = {key: inner for key, inner in said.items() if key not in ABOUT_ALL}
    return {
        "source": name,
        "at": datetime.fromtimestamp(at, UTC),
        "age_s": max(0.0, round(now - at, 1)),
        "verdict": said.get("aggregate_verdict", "known" if known else "unknown"),
        "known": known,
        "answer": told_by(Answer(name, at, own)),
        "said": dict(said),
    }


def service_lines(found: Known) -> Iterator[str]:
    """What services said, for people."""
    for one in found.asked:
        yield f"asked {one['service']}: {visible(one['why'] or 'answered', 60)}"
    yield "services:" if found.services or found.waiting else "services: nothing said"
    for row in found.services:
        yield f"  {row['source']}: {visible(row['verdict'], 60)}, {ago(row['age_s'])}  {row['answer']}"
    if found.waiting:
        yield f"  to be asked: {visible(', '.join(found.waiting), 200)}"


def stored_rows(stored: Iterable[Answer], now: float) -> list[dict[str, Any]]:
    """What others said of an attacker (honeypots' plug-ins, feeds, services), with its age."""
    return [
        {
            "source": one.provider,
            "at": datetime.fromtimestamp(one.ts, UTC),
            "age_s": max(0.0, round(now - one.ts, 1)),
            "verdict": told_by(one),
            "said": dict(one.said),
        }
        for one in stored
    ]


def stored_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The same for people."""
    yield "stored:" if rows else "stored: nothing"
    for row in rows:
        yield f"  {visible(row['source'], 60)}: {row['verdict']}  {row['at']:%Y-%m-%d %H:%M:%SZ}, {ago(row['age_s'])}"
