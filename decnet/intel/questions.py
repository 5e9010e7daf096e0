"""What services are to be asked after some events: the address of each new attacker, files and URLs of each session; pure.

Whether something may be asked about at all is the desk's word; when it is asked, and by whom, is left to
:mod:`decnet.intel.asking`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from decnet.db.rows.intel import DueQuestion
from decnet.events.attacker import Observed
from decnet.events.session import SessionEnded
from decnet.intel.services.base import Kind, Value
from decnet.intel.services.values import Unaskable
from decnet.runtime.received import Received

MAX_OF_SESSION: Final = 50
"""Files and URLs of one session that are asked about; who names more wants to use up a budget."""


@dataclass(slots=True)
class Wanted:
    """The questions of a batch, each once, and what was left out of sessions that named too much."""

    questions: dict[tuple[str, Value], DueQuestion] = field(default_factory=dict)
    left_out: int = 0

    def add(self, service: str, value: Value, attacker: str | None, ts: float) -> None:
        """One question; the newest reason counts."""
        before = self.questions.get((service, value))
        self.questions[service, value] = DueQuestion(
            service=service,
            kind=value.kind,
            value=value.text,
            attacker_uuid=attacker,
            ts=max(ts, before["ts"]) if before else ts,
            tries=0,
            not_before=0.0,
        )


def wanted_of(
    batch: Iterable[Received],
    services: Mapping[str, frozenset[Kind]],
    askable: Callable[[Kind, str], Value],
    ignored: Callable[[str | None], bool],
) -> Wanted:
    """The questions for some services, by what each can be asked about.

    ``askable`` raises Unaskable for what is not asked about; of sources that are ``ignored`` nothing is.
    """
    found = Wanted()
    for one in batch:
        record = one.record
        if not isinstance(record, Observed | SessionEnded) or ignored(record.attacker_ip):
            continue
        if isinstance(record, Observed):
            things: Iterable[tuple[Kind, str]] = (
                [("address", record.attacker_ip)] if record.attacker_ip else []
            )
        else:
            things = _of_session(record, found)
        for kind, text in things:
            try:
                value = askable(kind, text)
            except Unaskable:
                continue
            attacker = record.attacker if isinstance(record, Observed) else None
            for name in (name for name, kinds in services.items() if value.kind in kinds):
                found.add(name, value, attacker, one.event.ts)
    return found


def _of_session(session: SessionEnded, found: Wanted) -> list[tuple[Kind, str]]:
    """Files and URLs of a session, each once."""
    things = list(dict.fromkeys(_things(session)))
    found.left_out += max(len(things) - MAX_OF_SESSION, 0)
    return things[:MAX_OF_SESSION]


def _things(session: SessionEnded) -> Iterator[tuple[Kind, str]]:
    for digest in (*(one.sha256 for one in session.downloads), *(one.sha256 for one in session.uploads)):
        if digest:
            yield "sha256", digest
    for fetched in session.downloads:
        if fetched.url:
            yield "url", fetched.url
