"""Engines side by side on one bus server and one database, each on a data directory of its own."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from tests.fault.scene import CONFIG, Scene
from tests.natskit import PASSWORD, USER
from tests.programkit import Daemon, launched, until

CONFIG_OF_A_SERVER = CONFIG.replace("bus: {", f"bus: {{user: {USER}, password: {PASSWORD}, ")
STARTED_S = 60.0


class Crew:
    """All of them are started at once; the first one reads the log. What they take over of rules is in ``truths``."""

    def __init__(self, scene: Scene, names: Sequence[str], given: Sequence[str | Path]) -> None:
        self.scene, self.given = scene, tuple(given)
        self.folders = [scene.top / name for name in names]
        self.truths = [scene.top / f"{name}.truth" for name in names]
        for folder in self.folders:
            shutil.copytree(scene.data, folder)  # ids of credentials are made with its key
        self.engines = [self._launched(number) for number in range(len(names))]
        for engine in self.engines:
            until(engine.attachable, STARTED_S, f"{engine.data_dir}")
        self._turn = cycle(range(len(names)))

    def _launched(self, number: int) -> Daemon:
        folder = self.folders[number]
        reads = self.scene.sensor() if number == 0 else ()
        program = (sys.executable, "-m", "tests.fault.without", "--truth", str(self.truths[number]), "--")
        return launched(folder, folder.with_suffix(".log"), *reads, *self.given, program=program)

    def kill(self, number: int) -> None:
        """SIGKILL of one of them."""
        self.engines[number].kill()

    def start(self, number: int) -> None:
        """Starts one again that was killed."""
        self.engines[number] = self._launched(number)
        until(self.engines[number].attachable, STARTED_S, f"{self.folders[number]}")

    def replace(self) -> None:
        """Kills one, each in its turn, and starts it again."""
        number = next(self._turn)
        self.kill(number)
        self.start(number)

    def took(self, number: int, rule: str, state: str) -> float:
        """When an engine took over that a rule is in this state, in epoch seconds; infinity when it has not."""
        try:
            lines = self.truths[number].read_text("utf-8").splitlines()
        except FileNotFoundError:
            return float("inf")
        told = [said for said in map(json.loads, lines) if (said["rule"], said["state"]) == (rule, state)]
        return min((float(said["at"]) for said in told), default=float("inf"))

    def end(self) -> None:
        """Ends all of them."""
        for engine in self.engines:
            engine.end()
