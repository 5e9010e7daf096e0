"""Disks that are full and have room again: a small file system of its own, or a limit on how long a file may be."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import pytest


class Room(Protocol):
    """Somewhere to write."""

    def fill(self) -> None:
        """No room from now on."""
        ...

    def free(self) -> None:
        """Room again."""
        ...


class FileSystem:
    """A tmpfs; it is full for everybody, as a disk is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Takes what is left."""
        with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    def free(self) -> None:
        """Gives it back."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def file_system(folder: Path, megabytes: int) -> Iterator[FileSystem]:
    """A tmpfs on ``folder``. Skips where nobody may mount one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(folder)]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a file system of its own needs the right to mount one")
    try:
        yield FileSystem(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


class FileSize:
    """A limit on the length of files that one process writes (EFBIG, as a quota gives EDQUOT)."""

    def __init__(self, pid: int, longest: int) -> None:
        self.pid, self.longest = pid, longest

    def fill(self) -> None:
        """No file may be longer."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (self.longest, hard))

    def free(self) -> None:
        """Any file may be as long as it likes."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (hard, hard))
