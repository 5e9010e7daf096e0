"""Whatever a rotation does between two looks, and wherever a crash sets the reader back: each line once, none lost.

Made up from seeds: lines of any length, halves of lines at a rotation, copies and archives caught in the making, numbers
that move up, inodes that are used again. The reader looks at any moment, and is set back to its last checkpoint.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from decnet.config import SensorSettings
from decnet.sensors.files.tailer import Tailer

LIMITS = SensorSettings(read_bytes=4096, max_line_bytes=4000)
TURNS = 12


class Scene:
    """One log, its writer, and a reader that looks when the dice say so."""

    def __init__(self, top: Path, style: str, seed: int) -> None:
        self.dice = random.Random(f"{style}{seed}")
        self.top, self.log = top, top / "cowrie.json"
        self.flags = os.O_WRONLY | os.O_CREAT | (0 if style == "holed" else os.O_APPEND)
        self.renames = style == "renamed"
        self.now = 0.0
        self.made = 0
        self.got: list[bytes] = []
        self.saved: tuple[dict[str, Any], int] | None = None
        self.reader = self._reader()
        self.fd = os.open(self.log, self.flags)

    def _reader(self) -> Tailer:
        return Tailer(self.top, LIMITS, clock=lambda: self.now)

    def look(self, chance: float) -> None:
        """Perhaps a few reads, perhaps a checkpoint, perhaps a crash."""
        if self.dice.random() < chance:
            for _ in range(self.dice.randint(1, 3)):
                self.read()
                if self.dice.random() < 0.3:
                    self.saved = (json.loads(json.dumps(self.reader.to_state())), len(self.got))
        if chance >= 0.2 and self.dice.random() < 0.2:
            self.crash()

    def read(self) -> bool:
        batch = self.reader.read()
        self.got += [line.data for line in batch.lines]
        return batch.consumed > 0

    def crash(self) -> None:
        self.reader.close()
        self.reader = self._reader()
        state, count = self.saved or ({}, 0)
        if self.saved:
            self.reader.restore(state)
        del self.got[count:]

    def line(self) -> bytes:
        self.made += 1
        return json.dumps({"n": self.made, "pad": "p" * self.dice.choice((0, 40, 200, 900))}).encode() + b"\n"

    def turn(self) -> None:
        """Some lines, then a rotation, perhaps in the middle of one."""
        for _ in range(self.dice.randint(0, 8)):
            os.write(self.fd, self.line())
            self.look(0.15)
        text = self.line()
        half = self.dice.choice((0, self.dice.randint(1, len(text) - 1)))
        os.write(self.fd, text[:half])
        self.look(0.5)
        self.shift()
        (self.rename if self.renames else self.copy)()
        self.look(0.3)
        os.write(self.fd, text[half:])
        self.look(0.3)

    def shift(self) -> None:
        for number in range(TURNS + 2, 1, -1):
            old = Path(f"{self.log}.{number}.gz")
            if old.exists():
                old.rename(f"{self.log}.{number + 1}.gz")
                self.look(0.03)
        first, packed = Path(f"{self.log}.1"), Path(f"{self.log}.2.gz")
        if first.exists():
            data = gzip.compress(first.read_bytes())
            packed.write_bytes(data[: len(data) // 2])
            self.look(0.1)
            packed.write_bytes(data)
            self.look(0.2)
            first.unlink()
            self.look(0.2)

    def rename(self) -> None:
        self.log.rename(f"{self.log}.1")
        self.look(0.3)
        os.close(self.fd)
        self.fd = os.open(self.log, self.flags)

    def copy(self) -> None:
        data = self.log.read_bytes()
        with open(f"{self.log}.1", "wb") as copy:
            copy.write(data[: len(data) // 2])
            copy.flush()
            self.look(0.3)
            copy.write(data[len(data) // 2 :])
        self.look(0.3)
        os.truncate(self.log, 0)

    def rest(self) -> None:
        """A last line, and time enough for whatever waits."""
        os.write(self.fd, self.line())
        while self.read():
            pass
        self.now = 1e12
        while self.read():
            pass
        os.close(self.fd)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("style", ["renamed", "copied", "holed"])
def test_each_line_is_read_once_whatever_happens_between_two_looks(
    tmp_path: Path, style: str, seed: int
) -> None:
    scene = Scene(tmp_path, style, seed)
    for _ in range(TURNS):
        scene.turn()
    scene.rest()
    assert sorted(json.loads(text)["n"] for text in scene.got) == list(range(1, scene.made + 1))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("style", ["renamed", "copied", "holed"])
def test_the_same_for_many_more(tmp_path: Path, style: str) -> None:
    for seed in range(5, 45):
        folder = tmp_path / str(seed)
        folder.mkdir()
        test_each_line_is_read_once_whatever_happens_between_two_looks(folder, style, seed)
