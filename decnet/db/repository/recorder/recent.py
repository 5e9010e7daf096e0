"""Names that this process has given to sessions and commands lately: they hold before anything is stored.

The recorder and those who judge read the same events at their own pace. Two sessions with one id, or two halves of
one that know nothing of each other, may reach the one before the other has stored the first: both then go by this.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Set
from weakref import WeakKeyDictionary

from decnet.db.engine import Database
from decnet.events.lives import Life

IDS_KEPT = 20_000
"""Ids of honeypots whose sessions are remembered."""
LIVES_OF_ONE = 256
"""Sessions remembered of one id."""
COMMANDS_KEPT = 50_000
"""Commands whose names are remembered, of all sessions."""
Id = tuple[str, str]
"""Decky and the honeypot's own session id."""
Said = str
"""What tells what a command says and when: its mark (:func:`decnet.events.lives.command_mark`)."""
Named = dict[str, Said]
"""Id of a command → what it says."""


class RecentNames:
    """What was named lately; the oldest is forgotten first."""

    def __init__(self) -> None:
        self._lives: OrderedDict[Id, list[Life]] = OrderedDict()
        self._commands: OrderedDict[str, Named] = OrderedDict()
        self._count = 0

    def begun(self, key: Id) -> Set[float]:
        """When the sessions of one id connected that have their names here already."""
        return {life.start for life in self._lives.get(key, ()) if life.start is not None}

    def lives(self, key: Id, stored: Iterable[Life]) -> list[Life]:
        """The sessions of one id, those that are stored among them; what is added to the list is remembered."""
        known = self._lives.setdefault(key, [])
        self._lives.move_to_end(key)
        if len(self._lives) > IDS_KEPT:
            self._lives.popitem(last=False)
        by_name = {life.name: life for life in known}
        for life in stored:
            mine = by_name.get(life.name)
            if mine is None:
                known.append(life)
                continue
            mine.first = min(mine.first, life.first)
            mine.start = life.start if mine.start is None else mine.start
            mine.closed = life.closed if mine.closed is None else mine.closed
            mine.service = life.service or mine.service
        del known[:-LIVES_OF_ONE]
        return known

    def commands(self, session_id: str) -> Mapping[str, Said]:
        """The named commands of a session."""
        return self._commands.get(session_id, {})

    def note(self, session_id: str, named: Named) -> None:
        """Remembers the names of some commands of a session."""
        known = self._commands.setdefault(session_id, {})
        self._commands.move_to_end(session_id)
        before = len(known)
        known.update(named)
        self._count += len(known) - before
        while self._count > COMMANDS_KEPT and len(self._commands) > 1:
            self._count -= len(self._commands.popitem(last=False)[1])


_OF: WeakKeyDictionary[Database, RecentNames] = WeakKeyDictionary()


def recent_names(db: Database) -> RecentNames:
    """The one memory of everybody in this process who works on a database."""
    found = _OF.get(db)
    if found is None:
        found = _OF[db] = RecentNames()
    return found
