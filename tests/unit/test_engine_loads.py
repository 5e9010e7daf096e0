"""An engine loads the workers that it runs: a host that only ships its logs has no room for the others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from decnet.config import load_settings
from decnet.engine import Engine
from decnet.errors import ConfigError
from decnet.runtime import KNOWN_WORKERS

BUILDING = """
import json, sys
from pathlib import Path
from decnet.config import load_settings
from decnet.engine import Engine
engine = Engine(load_settings(data_dir=Path(sys.argv[1]), workers=("sensors",)))
made = [worker.name for worker in engine._workers()]
print(json.dumps([made, sorted(name for name in sys.modules if name.endswith(".worker"))]))
"""
LIBRARIES = ("alembic", "cryptography", "dnslib", "aiosmtpd", "h11", "textual", "pygments")


def test_workers_that_are_not_asked_for_are_not_loaded(tmp_path: Path) -> None:
    script = BUILDING + f"print(json.dumps([name for name in {LIBRARIES!r} if name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True, timeout=60
    )
    (made, loaded), libraries = map(json.loads, done.stdout.splitlines())
    assert made == ["sensors"]
    assert loaded == ["decnet.runtime.worker", "decnet.sensors.worker"]
    assert libraries == []


def test_every_worker_can_be_built_and_no_other(tmp_path: Path) -> None:
    engine = Engine(load_settings(data_dir=tmp_path, workers=KNOWN_WORKERS[::-1]))
    engine.rules = None  # type: ignore[assignment]  # looked at when it starts
    assert [worker.name for worker in engine._workers()] == list(KNOWN_WORKERS)
    with pytest.raises(ConfigError, match=r"unknown worker 'nobody'; this version runs: sensors, recorder"):
        Engine(load_settings(data_dir=tmp_path, workers=("nobody",)))._workers()
