"""What is typed in plain mode: a line names a command that reads, and its answer is written as lines, then events go on.

The commands are those of the shell, run on the same data; what changes something is left to the shell itself.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from decnet.home import with_database
from decnet.hostile import visible

READS = (
    "status", "summary", "alerts", "attackers", "attacker", "sessions", "session", "identities", "identity", "campaigns",
    "campaign", "playbooks", "tags", "stats", "find", "rules", "fleet", "sensors", "workers", "deadletters", "credentials",
)  # fmt: skip
"""Commands that may be typed; of groups only their lists: a word of their own may change something."""
GROUPS = frozenset({"rules", "fleet", "alerts"})
_SHOWN = frozenset({"list", "show"})
MAX_LINE = 1000
ANSWER_S = 60.0
"""Seconds that an answer may take."""
HELP = f"type a command and Enter: {', '.join(READS)}; hold stops the events, go on resumes them, quit ends"


class Asked:
    """Lines as they are typed, one after the other. ``say`` writes a line; ``held`` stops the events meanwhile."""

    def __init__(
        self, data_dir: Path, db: str | None, say: Callable[[str], None], stop: asyncio.Event
    ) -> None:
        self._data_dir, self._db, self._say, self._stop = data_dir, db, say, stop
        self._typed: asyncio.Queue[str] = asyncio.Queue()
        self._rest = b""
        self.held = False

    def listen(self, fd: int) -> None:
        """Takes what is typed at a terminal, line by line, until its end."""
        loop = asyncio.get_running_loop()

        def ready() -> None:
            data = os.read(fd, 4096)
            if not data:
                loop.remove_reader(fd)
            self.take(data)

        loop.add_reader(fd, ready)

    def take(self, data: bytes) -> None:
        """Some bytes that were typed; a line that is too long is none."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[: MAX_LINE + 1]
        for line in lines:
            if len(line) <= MAX_LINE:
                self._typed.put_nowait(line.decode(errors="replace").strip())

    async def run(self) -> None:
        """For ever: one line after the other."""
        while True:
            await self._answer(await self._typed.get())

    async def _answer(self, line: str) -> None:
        if line in ("quit", "q"):
            self._stop.set()
        elif line in ("hold", "go on"):
            self.held = line == "hold"
            self._say("events wait; go on resumes them" if self.held else "events go on")
        elif words := self._words(line):
            for said in await self._run(words):
                self._say(visible(said, MAX_LINE))
            self._say("that is all")

    def _words(self, line: str) -> list[str]:
        """The command that is meant; what is none, or changes something, is explained."""
        if line in ("", "help", "?"):
            self._say(HELP)
            return []
        try:
            words = shlex.split(line)
        except ValueError as error:
            self._say(f"{error}: {HELP}")
            return []
        if words[0] not in READS:
            self._say(f"{visible(words[0], 40)} is no command here. {HELP}")
            return []
        named = next((word for word in words[1:] if not word.startswith("-")), "list")
        if words[0] in GROUPS and named not in _SHOWN:
            self._say(f"{words[0]} {visible(named, 40)} is for the shell; here it lists: {words[0]} list")
            return []
        return words

    async def _run(self, words: list[str]) -> list[str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "decnet_tui", *words, "--data-dir", str(self._data_dir),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env=with_database(self._db),
        )  # fmt: skip
        try:
            out, _ = await asyncio.wait_for(process.communicate(), ANSWER_S)
        except TimeoutError:
            return ["no answer within a minute"]
        finally:
            if process.returncode is None:
                process.kill()
        return out.decode(errors="replace").splitlines()
