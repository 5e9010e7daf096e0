"""One log and two data directories with one key: the engine on the one is disturbed, on the other it is not."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from decnet.keyed import KEY_FILE
from decnet.processes import process_alive
from tests.fault.growing import log_lines
from tests.fault.outcome import Outcome, outcome, written
from tests.fault.scale import seconds
from tests.programkit import Daemon, cli, daemon, surroundings

LIMIT_S = float(seconds(1800, 120))
"""For what is waited for at once: there is more between two faults of a larger run."""
CONFIG = "bus: {ack_wait_s: 2}\nruntime: {heartbeat_s: 0.5}\n"
"""What a killed engine was given and had not acknowledged comes again only when its time is over."""


_KEY = hashlib.sha256(b"a scene").digest()
"""Ids of credentials are made with the key of the data directory: one for all, so that outcomes can be compared."""
_CALM: dict[tuple[str, ...], Outcome] = {}
"""What came of a log when nobody disturbed, by the log and the arguments: it takes as long as the faults themselves."""


def keyed(data: Path) -> Path:
    """A new data directory whose ids are those of every other one."""
    data.mkdir(mode=0o700)
    (data / KEY_FILE).touch(0o600)
    (data / KEY_FILE).write_bytes(_KEY)
    return data


def url_of(data: Path) -> str:
    """URL of the SQLite database of a data directory."""
    return f"sqlite:///{data / 'decnet.sqlite'}"


def server_pid(data: Path) -> int:
    """Process id of the running embedded bus server; 0 when there is none."""
    try:
        pid = int((data / "bus" / "nats-server.pid").read_text("ascii"))
    except (OSError, ValueError):
        return 0
    return pid if process_alive(pid) else 0


class Scene:
    """``lines`` is what the log holds in the end; who disturbs writes it."""

    def __init__(self, top: Path, sessions: int, config: str = CONFIG) -> None:
        self.top, self.log, self.sessions = top, top / "cowrie.json", sessions
        self.data, self.calm = top / "data", top / "calm"
        self.config, self.engine_log = top / "settings.yaml", top / "engine.log"
        self.config.write_text(config, "utf-8")
        self._plain = top / "plain.yaml"
        self._plain.write_text(CONFIG, "utf-8")
        self.lines = log_lines(sessions)
        self.made = written(self.lines)
        keyed(self.data)
        keyed(self.calm)

    def sensor(self) -> tuple[str, str]:
        """Arguments that read the log."""
        return "--sensor", f"cowrie={self.log}"

    def running(self, *more: str | Path) -> AbstractContextManager[Daemon]:
        """A daemon on the disturbed directory."""
        return daemon(self.data, self.engine_log, *self.sensor(), "--config", self.config, *more)

    def to_the_end(self, data: Path, *more: str | Path) -> None:
        """An engine that works everything off and ends."""
        config = self._plain if data == self.calm else self.config
        given = (*self.sensor(), "--config", config, "--data-dir", data, *more)
        done = cli("--headless", *given, "--until-idle", "1", timeout=seconds(1800, 180))
        assert done.returncode == 0, done.stderr.decode()[-3000:]

    def undisturbed(self, *more: str | Path) -> Outcome:
        """What comes of the log when nobody disturbs; found once for one log, unless something is there already."""
        if (self.calm / "decnet.sqlite").exists():
            return self._found(*more)
        known = (hashlib.sha256(self.log.read_bytes()).hexdigest(), *map(str, more))
        if known not in _CALM:
            _CALM[known] = self._found(*more)
        return _CALM[known]

    def _found(self, *more: str | Path) -> Outcome:
        self.to_the_end(self.calm, *more)
        return outcome(url_of(self.calm))

    def dies(self, place: str, *more: str | Path, without: str = "") -> None:
        """An engine that kills itself at a place, perhaps without one of its guards; see tests/fault/without.py."""
        taken = ("--without", without) if without else ()
        given = (*self.sensor(), "--config", self.config, "--data-dir", self.data, *more)
        words = ["-m", "tests.fault.without", "--die", place, *taken, "--", "--headless", *given]
        with self.engine_log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, *map(str, words)], stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=surroundings()
            )  # fmt: skip
        try:
            code = process.wait(LIMIT_S)
        finally:
            process.kill()
            process.wait()
        assert code == -signal.SIGKILL, self.said()

    def said(self) -> str:
        """The end of what the engines wrote."""
        return self.engine_log.read_text("utf-8", "replace")[-3000:]
