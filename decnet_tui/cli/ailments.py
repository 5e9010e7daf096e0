"""What ``doctor`` knows of logs, clocks and servers that do not answer: what is wrong, and what helps."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path

from decnet.config import SensorSpec, Settings
from decnet.errors import DecnetError, SensorError
from decnet.home import packaged_rules_dir
from decnet.runtime.health import AHEAD_S
from decnet_tui.cli import common
from decnet_tui.model.words import counted

Finding = tuple[str, str, str]
"""Subject, ok or WARN or FAIL, what was found and what to do."""

_NAMED = ("cowrie", "opencanary", "jsonl")
"""Kinds that one reader takes; of tables several may fit."""


def wrong_with(spec: SensorSpec, settings: Settings) -> str:
    """Why nothing can be read of a sensor, and what to do; empty for one that can be read."""
    path = spec.path
    if not path.exists():
        return f"{path} is not there: correct the path, or start the honeypot first"
    if not os.access(path, os.R_OK):
        return f"{path} cannot be read: give its group to the user of the engine (`chgrp`, `chmod g+r`)"
    if not path.is_file() or not path.stat().st_size:
        return ""
    from decnet.sensors.trying import try_file

    try:
        tried = try_file(path, settings)
    except SensorError as error:
        return f"{error}; `decnet-tui sensors formats` says what is read"
    if spec.kind in _NAMED and tried.kind != spec.kind:
        return f"{path} is no log of {spec.kind}: name it as --sensor {tried.kind}={path}"
    if tried.refused and not tried.events:
        told = f"{counted(sum(tried.refused.values()), 'line')} refused, last {tried.last_refusal}"
        return f"{path}: no line is read as {spec.kind} ({told}); see `decnet-tui sensors try {path}`"
    return ""


async def clock(settings: Settings) -> Finding:
    """Whether this host's clock can be right: the program is older than now, and nothing here was written later."""
    now = time.time()
    built = packaged_rules_dir().stat().st_mtime
    written = {str(spec.path): _written(spec.path) for spec in settings.sensors}
    try:
        async with common.repository(settings) as repo:
            for beat in await repo.heartbeats():
                said = beat["payload"] or {}
                if isinstance(ts := said.get("ts"), (int, float)):
                    written[f"the heartbeat of {said.get('worker')}"] = ts
    except DecnetError:
        pass  # said by the check of the database
    what, latest = max(written.items(), key=lambda one: one[1], default=("", 0.0))
    cure = "set the clock (NTP: `timedatectl set-ntp true`); times of events are the honeypot's, what is new is told by them"
    if latest > now + AHEAD_S:
        return (
            "clock",
            "WARN",
            f"{_at(now)} here, but {what} is of {_at(latest)}: one of two clocks is off: {cure}",
        )
    if built > now + AHEAD_S:
        return "clock", "WARN", f"{_at(now)} here, but the program is of {_at(built)}: {cure}"
    return "clock", "ok", _at(now)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _at(ts: float) -> str:
    return datetime.fromtimestamp(ts).astimezone().isoformat(" ", "seconds")


def database_cure(error: str) -> str:
    """What a database said, and what to do where it does not say it itself."""
    if error.startswith("the database cannot be reached"):
        return f"{error}: start it, or correct host, port, user and password in `db` (config file, or --db)"
    if error.startswith("the database is locked"):
        return f"{error}: end it, or wait for it; work goes on by itself then"
    return error


def bus_cure(error: str) -> str:
    """What the bus said, and what to do."""
    if "cannot be reached" in error:
        return f"{error}: start it, or correct bus.url, user and password (config file, or --bus)"
    if "refused the credentials" in error:
        return f"{error}: correct bus.user and bus.password, or token or nkeys_seed, in the config file; the server's own configuration names its users"
    return error
