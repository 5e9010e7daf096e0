"""Chooses the rule store: an engine's by setting, that of console and commands by what the engine runs on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from decnet.bus.base import BaseBus
from decnet.config import Settings, load_settings
from decnet.errors import RuleStoreError
from decnet.home import cache_dir
from decnet.runtime.health import status_of
from decnet.ttp.store.base import RuleStore
from decnet.ttp.store.impl.database import DatabaseRuleStore
from decnet.ttp.store.impl.filesystem import FilesystemRuleStore
from decnet.ttp.store.impl.ruleset import RuleSetFile
from decnet.ttp.store.impl.states import FILE_NAME

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository


Kind = Literal["database", "filesystem"]


class Reached(NamedTuple):
    """The store that is in force, and whether an engine runs on it."""

    kind: Kind
    running: bool


def get_rule_store(
    settings: Settings | None = None,
    *,
    repo: BaseRepository | None = None,
    bus: BaseBus | None = None,
    kind: Kind | None = None,
) -> RuleStore:
    """The store that the settings name, or ``kind``. TypeError when the database one gets no repository."""
    settings = settings or load_settings()
    kind = kind or settings.effective_rule_store_type
    fs = FilesystemRuleStore(
        settings.rules,
        bus=bus if kind == "filesystem" else None,
        debounce_s=settings.ttp.reload_debounce_s,
        rescan_s=settings.ttp.rescan_s,
        max_bytes=settings.ttp.max_rule_file_bytes,
        states=settings.data_dir / FILE_NAME if kind == "filesystem" else None,
        kept=cache_dir(settings.data_dir),
    )
    if kind == "filesystem":
        return fs
    return DatabaseRuleStore(
        repo, fs, bus=bus, tail_s=settings.runtime.tail_db_s, lease_s=settings.runtime.lease_s
    )


async def reach_rule_store(
    settings: Settings, repo: BaseRepository | None, *, engine: bool = False, local: bool = True
) -> Reached:
    """Which store a process beside the engine has to speak to: the engine's own, whatever this process's settings say.

    ``engine``: one is known to run; ``local``: the data directory is that engine's. RuleStoreError when its
    store is files that are not here.
    """
    if local and RuleSetFile(settings.data_dir).held():
        return Reached("filesystem", running=True)
    beat = await _live_beat(settings, repo) if repo is not None else {}
    if beat.get("rule_store") == "database":
        return Reached("database", running=True)
    if beat.get("rule_store") == "filesystem":
        states = beat.get("rule_states")
        if not (local and states == str(settings.data_dir / FILE_NAME)):
            raise RuleStoreError(_elsewhere(beat, states))
        return Reached("filesystem", running=True)
    return Reached(settings.effective_rule_store_type, running=engine)


async def _live_beat(settings: Settings, repo: BaseRepository) -> dict[str, Any]:
    """The last heartbeat of the ttp worker, if it is alive."""
    now = time.time()
    for row in await repo.heartbeats():
        if row["worker"] == "ttp":
            payload = row["payload"] or {}
            state = status_of(payload, now, settings.runtime.heartbeat_s)
            return {} if state in ("stale", "stopped") else dict(payload)
    return {}


def _elsewhere(beat: dict[str, Any], states: Any) -> str:
    folder = Path(str(states)).parent if states else "its memory"
    return (
        f"the engine on {beat.get('host')} keeps rules and their states in files, in {folder}: "
        f"look and steer there, with --data-dir {folder}"
    )
