"""One whole engine in a process of its own, on a log that waits for it; prints what it took as one line of JSON."""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from decnet.config import SensorSpec, load_settings
from decnet.engine import Engine
from decnet.logs import configure_logging
from decnet.runtime.idle import IdleWatch

LOOK_S = 0.05
QUIET_S = 1.0
"""Seconds without work after which nothing comes any more; they do not count."""


async def run(log: Path, data: Path, workers: tuple[str, ...]) -> dict[str, Any]:
    """Seconds until all is stored and published, rows, memory and room on disk."""
    sensors = (SensorSpec(kind="cowrie", path=log),)
    engine = Engine(load_settings(data_dir=data, sensors=sensors, workers=workers or None))
    begun = time.perf_counter()
    await engine.start()
    started = time.perf_counter()
    try:
        ended = await _quiet_since(IdleWatch(engine.supervisor, engine.sensors))
    finally:
        await engine.stop(5.0)
    with closing(sqlite3.connect(f"file:{data / 'decnet.sqlite'}?mode=ro", uri=True)) as db:
        sessions = db.execute("SELECT count(*) FROM session").fetchone()[0]
        tags = db.execute("SELECT count(*) FROM ttp_tag").fetchone()[0]
    return {
        "start_s": started - begun,
        "seconds": ended - begun,
        "sessions": sessions,
        "tags": tags,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "disk_bytes": sum(file.stat().st_size for file in data.rglob("*") if file.is_file()),
    }


async def _quiet_since(watch: IdleWatch) -> float:
    since: float | None = None
    while True:
        now = time.perf_counter()
        left = await watch.work_left()
        since = None if left else now if since is None else since
        if since is not None and now - since >= QUIET_S:
            return since
        await asyncio.sleep(LOOK_S)


def main() -> None:
    """``LOG DATA_DIR WORKERS``; no workers are all of them."""
    log, data, workers = sys.argv[1:4]
    configure_logging(level="ERROR")
    names = tuple(filter(None, workers.split(",")))
    sys.stdout.write(json.dumps(asyncio.run(run(Path(log), Path(data), names))) + "\n")


if __name__ == "__main__":
    main()
