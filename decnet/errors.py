"""The exception tree of the engine. Errors that have a place say it first: ``file:line:column: text``.

::

    DecnetError
    ├── ConfigError          a setting, flag or config file is wrong (exit code 2 or 1 in the console)
    ├── BusError             the bus cannot be used
    │   ├── BusUnavailable   not reachable now; retried by whoever holds the work
    │   ├── BusAuthError     refused credentials; never retried for ever
    │   ├── BusFull          the stream refuses more unread evidence
    │   └── MalformedEvent   a body that is no event; dead-lettered, never fatal
    ├── DatabaseError        the database cannot be used
    │   ├── SchemaTooNew     written by a later version; refused
    │   └── DiskFull         no room; work stops and resumes by itself
    ├── RuleError            one located error in one rule file
    ├── RuleStoreError       a state or definition could not be written
    ├── SensorError          a log cannot be read
    ├── IntelError           a file of addresses cannot be used; the one before it stays in force
    ├── FleetError           a fleet file, a change of the fleet or a decky's name is wrong; all faults at once
    ├── CanaryError          a canary token cannot be placed there
    ├── SubstrateError       a decoy could not be changed; the reason is shown and it is tried again
    ├── ExportError          a file for another tool cannot be made
    └── EngineError          start-up or shutdown went wrong
"""

from __future__ import annotations

from dataclasses import dataclass


class DecnetError(Exception):
    """Root of every error this project raises on purpose."""


class ConfigError(DecnetError):
    """A setting, a flag or a config file is wrong."""


class BusError(DecnetError):
    """The bus cannot be used."""


class BusUnavailable(BusError):
    """The bus is not reachable at the moment; the caller keeps its work and tries again."""


class BusAuthError(BusError):
    """The server refused the credentials; trying again with the same ones is useless."""


class BusFull(BusError):
    """The stream refuses new events because unread evidence fills it."""


class MalformedEvent(BusError):
    """A message body that is not an event envelope."""

    def bare(self) -> MalformedEvent:
        """The reason alone, for whoever keeps it: a traceback holds the frames, and they hold the one who keeps it."""
        return MalformedEvent(*self.args)


class DatabaseError(DecnetError):
    """The database cannot be used."""


class SchemaTooNew(DatabaseError):
    """The database was written by a later version of this program."""


class AmbiguousId(DatabaseError):
    """An id names several things; the message lists them."""


class DiskFull(DatabaseError):
    """No room is left where the database lives."""


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """Where in a file something is wrong; line and column count from 1, 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """``file:line:column``, shortened by the parts that are unknown."""
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])


class RuleError(DecnetError):
    """One located error in a rule file."""

    def __init__(self, message: str, place: SourcePosition, rule_id: str | None = None) -> None:
        super().__init__(f"{place}: {message}")
        self.message = message
        self.place = place
        self.rule_id = rule_id


class RuleStoreError(DecnetError):
    """A rule state or definition could not be written."""


class SensorError(DecnetError):
    """A log cannot be read."""


class IntelError(DecnetError):
    """A file of addresses cannot be used as a whole; the text begins with the place."""


class FleetError(DecnetError):
    """A fleet file or a change of the fleet is wrong; one line for each fault, with its place if it has one."""


class CanaryError(DecnetError):
    """A canary token cannot be placed: the file system's picture or the path is not what it has to be."""


class SubstrateError(DecnetError):
    """A decoy could not be changed; the text is the reason as an operator reads it."""


class EngineError(DecnetError):
    """Start-up or shutdown went wrong."""


class ExportError(DecnetError):
    """A file for another tool cannot be made."""
