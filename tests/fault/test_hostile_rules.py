"""A rule directory that somebody breaks in every way while batches are judged: by whole sets, by the last good one, never by none."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from decnet.config import load_settings
from decnet.ttp.base import TaggerEvent
from decnet.ttp.factory import CompositeTagger, get_tagger
from decnet.ttp.loader import load_bytes
from decnet.ttp.rule_engine import RuleEngine
from decnet.ttp.rules import CompiledRule
from decnet.ttp.store.base import RuleStore
from decnet.ttp.store.impl import database as database_store
from decnet.ttp.store.impl import directory
from tests.storekit import STORES, rule, stores

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
NAMES = tuple(f"X{n}" for n in range(1, 9))
EVENTS = [TaggerEvent("command", f"c{n}", "a", payload={"command_text": f"wget {n}"}) for n in range(50)]
SAVES_A_SECOND, SECONDS = 100, 1.0
SWAPS = 5
LAST = 9_000
"""Version of the good set that comes when the storm is over."""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
Judged = frozenset[tuple[str, int]]
"""Rules and versions by which one event was judged."""


class Storm:
    """Everything that may happen to a rule directory, one after the other, in a thread of its own."""

    def __init__(self, rules: Path) -> None:
        self.rules, self.other = rules, rules.with_name("other")
        self.versions = count(2)
        self.good = {1, LAST}
        self.done: list[str] = []

    def version(self) -> int:
        """A version that nobody has had."""
        self.good.add(number := next(self.versions))
        return number

    def save(self, name: str, text: str) -> None:
        """In place, as the worst editor does."""
        (self.rules / f"{name}.yaml").write_text(text, "utf-8")

    def set(self, folder: Path, version: int) -> None:
        """A whole good set."""
        folder.mkdir(exist_ok=True)
        for name in NAMES:
            (folder / f"{name}.yaml").write_text(rule(name, version), "utf-8")

    def bomb(self) -> None:
        """Aliases that would be 4,000,000,000 words."""
        self.save("X1", rule("X1", 100_001) + BOMB)
        self.save("bomb", BOMB)

    def brackets(self) -> None:
        """Nested 200,000 deep."""
        self.save("X2", rule("X2", 100_002) + "tests: " + "[" * 200_000)
        self.save("deep", "a: " + "{a: " * 200_000)

    def large(self) -> None:
        """5 MB, a good rule at its beginning."""
        self.save("X3", rule("X3", 100_003) + "# " + "x" * 5_000_000)

    def half(self) -> None:
        """Half of a good file, for as long as a slow editor takes."""
        text = rule("X4", self.version())
        with (self.rules / "X4.yaml").open("w", encoding="utf-8") as file:
            for start in range(0, len(text), 40):
                file.write(text[start : start + 40])
                file.flush()
                time.sleep(0.03)

    def often(self) -> None:
        """A hundred saves a second."""
        for _ in range(round(SAVES_A_SECOND * SECONDS)):
            self.save("X5", rule("X5", self.version()))
            time.sleep(1 / SAVES_A_SECOND)

    def links(self) -> None:
        """The directory is a link that is swapped, to a good set and to an empty folder."""
        self.rules.rename(self.rules.with_name("first"))
        self.rules.symlink_to(self.rules.with_name("first"))
        self.rules.with_name("empty").mkdir()
        for number in range(SWAPS):
            self.set(self.other, self.version())
            for target in ("empty", "other", "first")[number % 2 :]:
                (link := self.rules.with_name("link")).symlink_to(self.rules.with_name(target))
                os.replace(link, self.rules)
                time.sleep(0.1)
        self.rules.unlink()
        self.rules.with_name("first").rename(self.rules)

    def gone(self) -> None:
        """Removed, and made again."""
        for _ in range(2):
            shutil.rmtree(self.rules)
            time.sleep(0.4)
            self.set(self.rules, self.version())
            time.sleep(0.3)

    def twice(self) -> None:
        """Ids that others have."""
        self.save("A0", rule("X6", 100_006))
        self.save("X7", rule("X6", 100_007))

    def run(self) -> None:
        """All of it, and a good set in the end."""
        for what in (
            self.bomb,
            self.brackets,
            self.large,
            self.half,
            self.often,
            self.twice,
            self.links,
            self.gone,
        ):
            what()
            self.done.append(what.__name__)
            time.sleep(0.2)
        for stray in ("A0", "bomb", "deep"):
            (self.rules / f"{stray}.yaml").unlink(missing_ok=True)
        self.set(self.rules, LAST)


@asynccontextmanager
async def followed(kind: str, folder: Path) -> AsyncIterator[tuple[CompositeTagger, RuleStore, Path]]:
    """A tagger as the worker has it, over a store that follows its files."""
    async with stores(kind, folder) as found:
        for name in NAMES:
            (found.rules / f"{name}.yaml").write_text(rule(name))
        store = found.make()
        tagger = get_tagger(load_settings(data_dir=folder), store)
        tasks = [asyncio.create_task(one.watch_store()) for one in tagger.iter_watchables()]
        async with asyncio.timeout(20):
            while len(store.rules()) < len(NAMES) or not await judged(tagger):
                await asyncio.sleep(0.01)
        try:
            yield tagger, store, found.rules
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def judged(tagger: CompositeTagger) -> set[Judged]:
    """By which rules each event of one batch was judged; one element when it was one set."""
    tags = await tagger.tag_batch(EVENTS)
    by_event: dict[str, set[tuple[str, int]]] = {event.source_id: set() for event in EVENTS}
    for tag in tags:
        by_event[tag.source_id].add((tag.rule_id, tag.rule_version))
    return {frozenset(rules) for rules in by_event.values()} - ({frozenset()} if not tags else set())


async def through(tagger: CompositeTagger, storm: Storm) -> tuple[list[set[Judged]], float]:
    """Judges batches for as long as a storm lasts; by what, and the longest time that one took."""
    thread = threading.Thread(target=storm.run, name="storm")
    thread.start()
    found, longest, last = [], 0.0, time.monotonic()
    while thread.is_alive():
        found.append(await judged(tagger))
        now = time.monotonic()
        longest, last = max(longest, now - last), now
        await asyncio.sleep(0.005)
    thread.join()
    return found, longest


@pytest.mark.fault(
    fault="a rule directory with alias bombs, 200,000 nested brackets, 5 MB, 100 saves a second, half-written saves, link swaps, removed and made again, duplicate ids",
    guard="files are read with bounds, a change counts at the second look, a set that lost half of its rules is refused",
    control="test_without_the_look_at_what_is_left_a_removed_directory_judges_by_none",
    figure="0 batches judged by no rule, 0 by a version that was never good, 0 by a mixture",
)
@pytest.mark.parametrize("kind", STORES)
async def test_no_batch_is_judged_by_anything_but_a_good_set(tmp_path: Path, kind: str) -> None:
    async with followed(kind, tmp_path) as (tagger, store, rules):
        storm = Storm(rules)
        found, longest = await through(tagger, storm)
        assert len(storm.done) == 8
        for batch in found:
            (by,) = batch
            assert {name for name, _ in by} == set(NAMES)
            assert {version for _, version in by} <= storm.good
        async with asyncio.timeout(15):
            while await judged(tagger) != {frozenset((name, LAST) for name in NAMES)}:
                await asyncio.sleep(0.05)
        assert store.errors() == []
        assert longest < 5.0
        print(f"{len(found)} batches, the longest after {longest:.2f} s")


async def test_without_the_look_at_what_is_left_a_removed_directory_judges_by_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (directory, database_store):
        monkeypatch.setattr(module, "shrunk", lambda *_, **__: None)
    async with followed("sqlite", tmp_path) as (tagger, _, rules):
        shutil.rmtree(rules)
        async with asyncio.timeout(20):
            while await judged(tagger):
                await asyncio.sleep(0.02)


def compiled(name: str, version: int) -> CompiledRule:
    found, errors = load_bytes(rule(name, version).encode(), f"{name}.yaml")
    assert found is not None, errors
    return found


@pytest.mark.fault(
    fault="another set of rules comes while a batch is judged",
    guard="a batch is judged by the snapshot that it began with",
    control="itself",
    figure="1 set a batch; without the guard 2",
)
@pytest.mark.parametrize("guarded", [True, False])
async def test_a_batch_has_one_set_of_rules(monkeypatch: pytest.MonkeyPatch, guarded: bool) -> None:
    tagger = get_tagger(load_settings())
    (engine,) = {one.engine for one in tagger.lifters}  # type: ignore[attr-defined]
    engine.replace([compiled("X1", 1)], {})
    evaluate = RuleEngine.evaluate

    def and_then_another(self: RuleEngine, event: TaggerEvent, snapshot: object, *more: object) -> object:
        tags = evaluate(self, event, snapshot if guarded else None, *more)  # type: ignore[arg-type]
        self.replace([compiled("X1", 2)], {})
        return tags

    monkeypatch.setattr(RuleEngine, "evaluate", and_then_another)
    sets = {frozenset({("X1", 1)})} | (set() if guarded else {frozenset({("X1", 2)})})
    assert await judged(tagger) == sets
