"""Everything that an engine keeps is its owner's alone, whatever the umask, and what an earlier version left open is shut."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from decnet.bus.nats.server import EmbeddedServer
from tests.cowriegen import write_log
from tests.programkit import run_until_idle


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> dict[str, str]:
    """What others than the owner may do something with, by its path below ``folder``."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if not path.is_symlink() and mode & 0o077:
            found[str(path.relative_to(folder))] = oct(mode)
    return found


@pytest.mark.fault(
    fault="an open umask",
    guard="what the engine and its server write is made private",
    control="mutant bus-server-files-for-all",
    figure="0 files open to others",
)
def test_all_files_of_an_engine_are_its_owners_alone(open_umask: None, tmp_path: Path) -> None:
    log, data = tmp_path / "cowrie.json", tmp_path / "data"
    write_log(log, 30, 11)
    done = run_until_idle(log, data, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert {path.name for path in data.iterdir()} >= {"bus", "decnet.sqlite", "secret.key"}
    assert (data / "bus" / "nats-server.log").stat().st_size > 0
    assert open_to_others(data) == {}


@pytest.mark.fault(
    fault="files that an earlier version left open",
    guard="they are shut at the start",
    control="mutant bus-server-old-files-stay-open",
    figure="0 files open to others",
)
async def test_files_of_an_earlier_version_are_shut(open_umask: None, tmp_path: Path) -> None:
    folder = tmp_path / "bus"
    folder.mkdir(mode=0o700)
    for name in ("lock", "nats-server.log", "nats-server.log.2026.01.01"):
        (folder / name).touch(0o644)
    server = EmbeddedServer(tmp_path)
    await server.start()
    await server.stop()
    assert open_to_others(folder) == {}
