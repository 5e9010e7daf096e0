"""Rule stores for tests: both kinds behind one face, and the ways in which editors save a file."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from decnet.bus.base import Event
from decnet.db.repository import BaseRepository
from decnet.ttp.store.base import RuleChange, RuleStore
from decnet.ttp.store.impl.database import DatabaseRuleStore
from decnet.ttp.store.impl.filesystem import FilesystemRuleStore
from tests.dbkit import open_repo

RULE = """rule_id: {id}
rule_version: {version}
name: demo
description: d
applies_to: [command]
match: {{pattern: '\\bwget\\b'}}
emits:
  - {{tactic: TA0011, technique_id: T1105, confidence: 0.8}}
"""
STORES = ("filesystem", "sqlite")


def rule(rule_id: str, version: int = 1) -> str:
    return RULE.format(id=rule_id, version=version)


def filesystem(folder: Path, states: Path | None = None) -> FilesystemRuleStore:
    return FilesystemRuleStore(folder, debounce_s=0.06, rescan_s=1.0, states_s=0.05, states=states)


def database(repo: BaseRepository, folder: Path) -> DatabaseRuleStore:
    return DatabaseRuleStore(repo, filesystem(folder), tail_s=0.05, lease_s=1.5)


class Stores:
    """Makes stores of one kind over one directory and one database."""

    def __init__(self, kind: str, rules: Path, repo: BaseRepository | None) -> None:
        self.kind, self.rules, self.repo = kind, rules, repo

    def make(self) -> RuleStore:
        if self.repo is not None:
            return database(self.repo, self.rules)
        return filesystem(self.rules, self.rules.parent / "data" / "rule_state.json")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[RuleStore, Heard]]:
        """A loaded store that follows its changes, and what a subscriber hears."""
        store = self.make()
        heard = Heard(store)
        await store.load_compiled()
        task = asyncio.create_task(store.follow())
        await asyncio.sleep(0.15)
        heard.by_rule.clear()
        try:
            yield store, heard
        finally:
            task.cancel()
            heard.task.cancel()
            await asyncio.gather(task, heard.task, return_exceptions=True)


class Told:
    """What a subscriber is told by a store that is driven by hand."""

    def __init__(self, store: RuleStore) -> None:
        store.subscribe_changes()
        self._queue = store._queues[-1]

    def take(self) -> list[tuple[str, str]]:
        """(kind, rule id) of what came since the last time."""
        return [(change.change_kind, change.rule_id) for change in self.changes()]

    def changes(self) -> list[RuleChange]:
        """What came since the last time."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]


class Wire:
    """The publishing half of a bus; refuses while ``down``."""

    def __init__(self, down: Exception | None = None) -> None:
        self.down = down
        self.events: list[Event] = []

    async def publish_events(self, events: Sequence[Event]) -> None:
        if self.down is not None:
            raise self.down
        self.events += events


class Heard:
    """Changes by rule, as they come."""

    def __init__(self, store: RuleStore) -> None:
        self.by_rule: dict[str, list[RuleChange]] = defaultdict(list)
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._listen(store.subscribe_changes()))

    async def _listen(self, changes: AsyncIterator[RuleChange]) -> None:
        async for change in changes:
            self.by_rule[change.rule_id].append(change)
            self._news.set()

    def kinds(self) -> dict[str, list[str]]:
        return {rule_id: [c.change_kind for c in found] for rule_id, found in self.by_rule.items() if found}

    async def until(self, ready: Callable[[], bool], limit: float = 5.0) -> None:
        """Returns when ``ready``; raises TimeoutError."""
        async with asyncio.timeout(limit):
            while not ready():
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), 0.05)


@asynccontextmanager
async def stores(kind: str, tmp_path: Path) -> AsyncIterator[Stores]:
    rules = tmp_path / "rules"
    rules.mkdir()
    if kind == "filesystem":
        yield Stores(kind, rules, None)
        return
    async with open_repo(kind, tmp_path) as repo:
        yield Stores(kind, rules, repo)


SAVES: dict[str, str] = {
    "nano_truncate_write": 'cat "$NEW" > f.yaml',
    "slow_truncate_write": ': > f.yaml; sleep 0.03; cat "$NEW" > f.yaml',
    "slow_two_halves": 'head -c 60 "$NEW" > f.yaml; sleep 0.04; tail -c +61 "$NEW" >> f.yaml',
    "vim_backup_rename": 'touch 4913; rm 4913; cp f.yaml .f.yaml.swp; mv f.yaml f.yaml~; cat "$NEW" > f.yaml; rm f.yaml~ .f.yaml.swp',
    "vim_backupcopy": 'cp f.yaml f.yaml~; cat "$NEW" > f.yaml; rm f.yaml~',
    "emacs": "ln -s user@host.1:1 .#f.yaml; cp f.yaml '#f.yaml#'; mv f.yaml f.yaml~; cat \"$NEW\" > f.yaml; rm -f '#f.yaml#' .#f.yaml",
    "vscode": 'cat "$NEW" 1<> f.yaml; truncate -s "$(stat -c %s "$NEW")" f.yaml',
    "atomic_rename": 'cat "$NEW" > .f.yaml.tmp123; mv .f.yaml.tmp123 f.yaml',
    "cp_over": 'cp "$NEW" f.yaml',
    "mv_over": 'cp "$NEW" ../moved-$$; mv ../moved-$$ f.yaml',
    "sed_i": "sed -i 's/rule_version: 1/rule_version: 2/' f.yaml",
    "perl_unlink_create": 'rm f.yaml; cat "$NEW" > f.yaml',
    "symlink_swap": 'cat "$NEW" > ../target-$$; ln -s "$PWD/../target-$$" ../link-$$; mv -T ../link-$$ f.yaml',
    "git_checkout": "",
}
"""How programs save ``f.yaml`` (in its directory; ``$NEW`` has the new text)."""


def save(style: str, folder: Path, name: str, new: Path) -> None:
    """Saves ``name`` the way a program does, in another process."""
    script = SAVES[style] or git_script()
    subprocess.run(
        ["sh", "-ec", script.replace("f.yaml", name)],
        cwd=folder,
        env={"NEW": str(new), "PATH": "/usr/bin:/bin"},
        check=True,
    )


def git_script() -> str:
    """A checkout of another version of the file out of a repository of its own."""
    git = "git -c user.name=t -c user.email=t@example.org --git-dir=../g-f.yaml --work-tree=."
    return (
        f"git init -q --bare ../g-f.yaml; cp f.yaml ../old-f.yaml; {git} add f.yaml; {git} commit -qm one;"
        f'cp "$NEW" ../stage-f.yaml; blob=$({git} hash-object -w ../stage-f.yaml);'
        f"{git} update-index --cacheinfo 100644,$blob,f.yaml; {git} checkout -q -- f.yaml"
    )
