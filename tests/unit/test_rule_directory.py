"""A rule directory over time: what counts as a change, what is a hint to look, what a set may lose."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from decnet.ttp.loader import load_bytes
from decnet.ttp.rules import CompiledRule
from decnet.ttp.store.impl import directory as directory_module
from decnet.ttp.store.impl.directory import READ_ALL, RuleDirectory, difference, shrunk
from decnet.ttp.store.impl.filesystem import FilesystemRuleStore
from tests.storekit import Told, rule


def made(rule_id: str, version: int = 1) -> CompiledRule:
    found, errors = load_bytes(rule(rule_id, version).encode(), f"{rule_id}.yaml")
    assert found is not None, errors
    return found


@pytest.mark.parametrize(
    ("before", "now", "asked", "refused"),
    [
        (0, 0, False, False),
        (0, 5, False, False),
        (1, 0, False, True),
        (1, 0, True, True),
        (3, 1, False, False),
        (4, 2, False, True),
        (4, 2, True, False),
        (4, 3, False, False),
        (5, 2, False, True),
        (5, 3, False, False),
        (100, 50, False, True),
        (100, 51, False, False),
    ],
)
def test_half_of_four_rules_or_more_may_not_go_unasked_and_all_never(
    before: int, now: int, asked: bool, refused: bool
) -> None:
    assert (shrunk(before, now, asked_for=asked) is not None) is refused


def test_differences_are_told_in_order_of_the_ids_and_the_same_content_is_none() -> None:
    one, two, newer, three = made("A1"), made("B1"), made("B1", 2), made("C1")
    found = difference({"A1": one, "B1": two, "D1": three}, {"C1": three, "B1": newer, "A1": made("A1")})
    assert [(c.change_kind, c.rule_id, c.new_value) for c in found] == [
        ("definition", "B1", newer),
        ("definition", "C1", three),
        ("removed", "D1", None),
    ]


def test_a_file_is_compiled_once_for_each_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "X1.yaml").write_text(rule("X1"))
    compiled: list[str] = []
    real = directory_module.load_bytes

    def spy(raw: bytes, name: str, **more: Any) -> Any:
        compiled.append(Path(name).name)
        return real(raw, name, **more)

    monkeypatch.setattr(directory_module, "load_bytes", spy)
    found = RuleDirectory(tmp_path)
    assert [c.rule_id for c in found.scan()] == ["X1"]
    assert found.scan() == []
    (tmp_path / "X1.yaml").write_text(rule("X1", 2))
    plan = found.look()
    assert found.news(plan)
    assert found.look().digests() == plan.digests()
    assert [c.new_value for c in found.swap(plan)] == [plan.rules["X1"]]
    assert not found.news(found.look())
    assert compiled == ["X1.yaml"] * 2


@pytest.mark.parametrize(("over", "loads"), [(-1, True), (0, True), (1, False)])
def test_a_file_may_be_as_large_as_the_bound_and_not_a_byte_more(
    tmp_path: Path, over: int, loads: bool
) -> None:
    text = rule("X1")
    (tmp_path / "X1.yaml").write_text(text + "#" * (2048 + over - len(text.encode())))
    found = RuleDirectory(tmp_path, max_bytes=2048)
    found.scan()
    assert (list(found.by_id) == ["X1"]) is loads
    assert [e.message for e in found.errors] == ([] if loads else ["the file is over 2 KiB"])


def test_a_file_that_grows_too_large_keeps_its_last_good_rule(tmp_path: Path) -> None:
    path = tmp_path / "X1.yaml"
    path.write_text(rule("X1"))
    found = RuleDirectory(tmp_path, max_bytes=2048)
    found.scan()
    path.write_text(rule("X1", 2) + "#" * 4096)
    assert found.scan() == []
    assert found.by_id["X1"].rule_version == 1
    assert len(found.errors) == 1


def test_a_file_that_cannot_be_read_is_an_error_and_keeps_its_rule(tmp_path: Path) -> None:
    path = tmp_path / "X1.yaml"
    path.write_text(rule("X1"))
    found = RuleDirectory(tmp_path)
    found.scan()
    real, failing = Path.open, {"X1.yaml": PermissionError(13, "Permission denied")}

    def opened(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name in failing:
            raise failing[self.name]
        return real(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", opened)
        assert found.scan() == []
        assert list(found.by_id) == ["X1"]
        assert [e.message for e in found.errors] == ["cannot be read: Permission denied"]
        failing["X1.yaml"] = FileNotFoundError(2, "gone")  # type: ignore[assignment]
        assert found.look().seen == {}, "a file that is gone after all is no error"


def test_a_directory_that_is_none_is_an_error_and_takes_no_rule_away(tmp_path: Path) -> None:
    missing = RuleDirectory(tmp_path / "none")
    assert missing.scan() == []
    assert [e.message for e in missing.errors] == ["no such rule directory"]


def test_the_first_owner_of_an_id_keeps_it_and_a_file_that_claims_anothers_keeps_its_own_rule(
    tmp_path: Path,
) -> None:
    for name in ("X1", "X2", "X3"):
        (tmp_path / f"{name}.yaml").write_text(rule(name))
    found = RuleDirectory(tmp_path)
    found.scan()
    (tmp_path / "A0.yaml").write_text(rule("X3", 9))
    (tmp_path / "X2.yaml").write_text(rule("X3", 8))
    assert found.scan() == []
    assert {r.rule_id: (r.rule_version, Path(r.file).name) for r in found.by_id.values()} == {
        name: (1, f"{name}.yaml") for name in ("X1", "X2", "X3")
    }
    assert {Path(e.place.file).name for e in found.errors} == {"A0.yaml", "X2.yaml"}
    (tmp_path / "X3.yaml").unlink()
    (tmp_path / "X2.yaml").write_text(rule("X2", 2))
    found.scan()
    assert found.by_id["X3"].rule_version == 9, "a free id goes to who claims it"
    assert found.by_id["X2"].rule_version == 2


# -- hints


class Silent(Exception):
    """The watch has nothing more to say."""


class Watch:
    """Stands for the file watch: what it yields is said by hand; ``None`` is a turn without news."""

    def __init__(self, *turns: Any) -> None:
        self.turns, self.asked = list(turns), list[dict[str, Any]]()

    def __call__(self, path: Path, **options: Any) -> AsyncIterator[Any]:
        self.asked.append(options)
        return self._run()

    async def _run(self) -> AsyncIterator[Any]:
        while self.turns:
            turn = self.turns.pop(0)
            if isinstance(turn, Exception):
                raise turn
            if callable(turn):
                turn = turn()
            yield turn or set()
        raise Silent


async def hinted(
    monkeypatch: pytest.MonkeyPatch, folder: Path, watch: Watch, times: list[float], rescan_s: float = 5.0
) -> int:
    """How many hints there are until the watch has nothing more to say."""
    monkeypatch.setattr(directory_module, "awatch", watch)
    clock = iter(times)
    monkeypatch.setattr(directory_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    async def at_once(_: float) -> None:
        return None

    monkeypatch.setattr(directory_module.asyncio, "sleep", at_once)
    hints = RuleDirectory(folder).hints(0.2, rescan_s)
    for count in range(99):
        try:
            await anext(hints)
        except Silent:
            return count
    raise AssertionError("a hint for ever")


async def test_the_first_turn_of_a_watch_is_a_hint_and_then_every_twelfth_rescan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changed before the watch, and what neither events nor stamps show, is found all the same."""
    watch = Watch(None)
    assert await hinted(monkeypatch, tmp_path, watch, [100.0] * 9) == 1
    assert watch.asked[0]["rust_timeout"] == 1000
    assert watch.asked[0]["yield_on_timeout"]
    assert watch.asked[0]["debounce"] == 200
    assert not watch.asked[0]["recursive"]
    assert READ_ALL == 12
    for turns, hints in ((12, 1), (13, 2), (24, 2), (25, 3)):
        # Each turn asks for the time twice: whether a rescan is due, and when it was.
        times = [0.0, 0.0, *(5.0 * turn for turn in range(1, turns) for _ in range(2))]
        assert await hinted(monkeypatch, tmp_path, Watch(*[None] * turns), [*times, 0.0]) == hints


async def test_a_change_that_gives_no_event_is_a_hint_when_the_rescan_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "X1.yaml"

    def silently() -> None:
        path.write_text("a: 1")

    # looked at 100; 104.9 is too early, 105 is not
    assert await hinted(monkeypatch, tmp_path, Watch(None, silently), [100.0, 100.0, 104.9]) == 1
    path.unlink()
    assert await hinted(monkeypatch, tmp_path, Watch(None, silently), [100.0, 100.0, 105.0, 105.0]) == 2

    def back() -> None:
        before = path.stat()
        path.write_text("a: 2")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert await hinted(monkeypatch, tmp_path, Watch(None, back), [100.0, 100.0, 105.0, 105.0]) == 2


async def test_events_and_changed_stamps_are_hints_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a link leads to gives no event, so the stamps of a directory with links are looked at each time."""
    path, target = tmp_path / "X1.yaml", tmp_path / "target"
    path.symlink_to(target)

    def silently() -> None:
        target.write_text("a: 1")

    def again() -> None:
        os.utime(target, ns=(1, 1))

    def other() -> None:
        (tmp_path / "notes.txt").write_text("x")

    watch = Watch(None, {"event"}, silently, None, again, other, None)
    assert await hinted(monkeypatch, tmp_path, watch, [0.0] * 20) == 4


async def test_a_directory_that_is_another_one_now_is_watched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()

    def swapped() -> None:
        folder.rename(tmp_path / "old")
        folder.mkdir()

    watch = Watch(None, swapped, RuntimeError("the watch broke"), FileNotFoundError(), None)
    assert await hinted(monkeypatch, folder, watch, [0.0] * 20) == 3, (
        "the first turn, the swap, the new watch"
    )
    assert len(watch.asked) == 4


async def test_a_missing_directory_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr(directory_module.asyncio, "sleep", sleep)
    hints = RuleDirectory(tmp_path / "none").hints(0.2, 5.0)
    await anext(hints)
    await anext(hints)
    assert paused == [1.0, 1.0]
    await hints.aclose()  # type: ignore[attr-defined]


def test_only_rule_files_wake_the_watch(tmp_path: Path) -> None:
    for name, wanted in (
        ("X1.yaml", True), ("x_9.yml", True), (".X1.yaml.swp", False), ("X1.yaml~", False), ("X-1.yaml", False),
        ("X1.yaml.bak", False), ("X1.yaml\n", False), ("X1.txt", False),
    ):  # fmt: skip
        assert directory_module._of_rules(directory_module.Change.added, f"{tmp_path}/{name}") is wanted


# -- settling


async def test_a_change_counts_when_a_second_look_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "X1.yaml"
    path.write_text(rule("X1"))
    store = FilesystemRuleStore(tmp_path, debounce_s=0.25)
    await store.load_compiled()
    heard, paused = Told(store), list[float]()
    saves = iter([rule("X1", 3), rule("X1", 4), None])

    async def sleep(seconds: float) -> None:
        paused.append(seconds)
        text = next(saves, None)
        if text is not None:
            path.write_text(text)

    monkeypatch.setattr("decnet.ttp.store.impl.filesystem.asyncio.sleep", sleep)
    await store.reload()
    assert paused == [], "without news there is nothing to wait for"
    path.write_text(rule("X1", 2))
    await store.reload()
    assert paused == [0.25] * 3
    assert [(c.change_kind, c.new_value.rule_version) for c in heard.changes()] == [("definition", 4)]  # type: ignore[union-attr]


async def test_a_file_that_never_comes_to_rest_is_taken_after_so_many_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "X1.yaml"
    store = FilesystemRuleStore(tmp_path, debounce_s=0.25)
    await store.load_compiled()
    looks = [1]

    async def sleep(_: float) -> None:
        looks[0] += 1
        path.write_text(rule("X1", looks[0]))

    monkeypatch.setattr("decnet.ttp.store.impl.filesystem.asyncio.sleep", sleep)
    path.write_text(rule("X1"))
    await store.reload()
    assert looks[0] == 26
    assert [r.rule_version for r in store.rules()] == [26]


async def test_the_error_of_a_file_is_told_once(tmp_path: Path) -> None:
    from structlog.testing import capture_logs

    store = FilesystemRuleStore(tmp_path)
    (tmp_path / "X1.yaml").write_text("name: [")
    with capture_logs() as logs:
        await store.rescan()
        await store.rescan()
    assert len([log for log in logs if log["log_level"] == "warning"]) == 1


@pytest.mark.fault(
    fault="a system without inotify watches or instances left",
    guard="files are looked at every few seconds instead, and that is said once",
    control="mutant ttp-unwatched-directory-is-deaf",
    figure="a change is seen within one rescan (5 s)",
)
@pytest.mark.parametrize(
    "error", [OSError("OS file watch limit reached"), RuntimeError("Too many open files (os error 24)")]
)
async def test_files_that_cannot_be_watched_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from structlog.testing import capture_logs

    async def awatch(*_: Any, **__: Any) -> AsyncIterator[set[Any]]:
        raise error
        yield set()

    paused: list[float] = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr(directory_module, "awatch", awatch)
    monkeypatch.setattr("decnet.ttp.store.impl.directory.asyncio.sleep", sleep)
    with capture_logs() as logs:
        hints = RuleDirectory(tmp_path).hints(0.25, 5.0)
        for _ in range(3):
            await anext(hints)
        await hints.aclose()
    assert paused == [0.2, 5.0, 5.0]
    assert [log["reason"] for log in logs] == [str(error)]
    assert "every 5 s" in logs[0]["event"]
