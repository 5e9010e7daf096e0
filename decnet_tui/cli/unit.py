"""``unit``: a hardened systemd unit for the engine, or for a part of it, made for this installation.

The engine reads logs, writes its own state directory and talks to sockets on this host or to the bus and
database that the settings name; everything else is taken away. What a set-up needs beyond that (another
log directory, the Docker socket for the compose substrate) belongs into a drop-in.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from decnet.home import holds_password
from decnet_tui.cli import common
from decnet_tui.cli.sensor_option import parse_sensors

_STATE = "decnet-tui"


class Role(StrEnum):
    """What the unit runs."""

    ALL = "all"
    """Everything on one host."""
    SENSORS = "sensors"
    """Reads logs beside a honeypot and ships what is in them to a bus elsewhere."""
    ENGINE = "engine"
    """Works on what sensors elsewhere ship (its worker `sensors` takes that in); several share one PostgreSQL."""


_DESCRIPTION = {
    Role.ALL: "Deception network engine (decnet-tui)",
    Role.SENSORS: "Deception network sensor (decnet-tui)",
    Role.ENGINE: "Deception network engine for sensors elsewhere (decnet-tui)",
}
_SUFFIX = {Role.ALL: "", Role.SENSORS: "-sensors", Role.ENGINE: "-engine"}
"""Roles of one host keep to directories of their own."""
_HARDENING = """\
# Nothing beyond what reading logs, the state directory and sockets take
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome={home}
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
PrivateMounts=yes
DevicePolicy=closed
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
UMask=0077
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
IPAddressDeny=any
IPAddressAllow=localhost{networks}
"""


def unit(
    role: Annotated[
        Role, typer.Option(help="What it runs: all, sensors (beside a honeypot), engine (at the centre).")
    ] = Role.ALL,
    sensor: Annotated[list[str] | None, typer.Option(help="KIND=PATH as for the engine. Repeatable.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Group that may read the logs. Repeatable.")] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="Network of an external bus or database. Repeatable.")
    ] = None,
    bus: Annotated[str | None, typer.Option(help="URL of a NATS server elsewhere, without log-in.")] = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
    rules: common.RulesDir = None,
    environment: Annotated[
        Path | None,
        typer.Option(
            "--environment-file",
            help="File of mode 0600 with settings as DECNET_NAME=VALUE, such as passwords.",
        ),
    ] = None,
) -> None:
    """Prints a systemd unit: `decnet-tui unit --sensor cowrie=PATH > /etc/systemd/system/decnet-tui.service`.

    With --role sensors or --role engine it is a part of an engine that is spread over hosts; their bus is named by --bus or
    in the --config file. Passwords belong into that file, or into the one that --environment-file names.
    """
    parse_sensors(sensor)
    _keep_out(db)
    _check(role, sensor, bus, told_elsewhere=config is not None or environment is not None)
    options = [
        ("--config", config),
        ("--rules", rules),
        ("--db", db),
        ("--bus", bus),
        ("--workers", "sensors" if role is Role.SENSORS else None),
    ]
    options += [("--sensor", spec) for spec in sensor or ()]
    given = [part for name, value in options if value is not None for part in (name, str(value))]
    folder = str(data_dir.absolute()) if data_dir else f"%S/{_STATE}{_SUFFIX[role]}"
    own = [f"EnvironmentFile={_word(str(environment.absolute()))}"] if environment else []
    typer.echo(_text(_program(), folder, given, own, group or [], allow or [], role), nl=False)


def _check(role: Role, sensor: list[str] | None, bus: str | None, *, told_elsewhere: bool) -> None:
    """Refuses what would not do its work. Raises typer.BadParameter."""
    if bus is not None and "@" in bus:
        raise typer.BadParameter(
            "a log-in in --bus could be read by everybody on this host: write it into the --config file (bus: {user: …, password: …})"
        )
    if role is not Role.ALL and bus is None and not told_elsewhere:
        raise typer.BadParameter(
            f"--role {role} works on a bus elsewhere: name it with --bus, or in a --config file"
        )
    if role is Role.SENSORS and not sensor and not told_elsewhere:
        raise typer.BadParameter("--role sensors reads logs: name them with --sensor, or in a --config file")
    if role is Role.ENGINE and sensor:
        raise typer.BadParameter(
            "--role engine reads no logs of its own: those hosts have units of --role sensors"
        )


def _keep_out(db: str | None) -> None:
    """A unit, and the arguments of what it starts, can be read by everybody on the host. Raises typer.BadParameter."""
    if db is not None and holds_password(db):
        raise typer.BadParameter(
            "--db holds a password, and everybody on this host can read what a unit starts: write DECNET_DB=URL into"
            " a file of mode 0600 and name it with --environment-file instead"
        )


def _program() -> str:
    """The program as systemd must name it: with its whole path."""
    beside = Path(sys.executable).with_name("decnet-tui")
    return str(beside if beside.exists() else shutil.which("decnet-tui") or beside)


def _text(
    program: str,
    folder: str,
    options: list[str],
    own: list[str],
    groups: list[str],
    networks: list[str],
    role: Role,
) -> str:
    command = " ".join(_word(part) for part in (program, "--headless", "--data-dir", folder, *options))
    in_state = folder.startswith("%S/")
    home = (
        "read-only"
        if Path(program).is_relative_to("/home") or Path(program).is_relative_to("/root")
        else "yes"
    )
    lines = [
        "[Unit]",
        f"Description={_DESCRIPTION[role]}",
        "After=network.target",
        "",
        "[Service]",
        "Type=notify",
        *own,
        f"ExecStart={command}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "WatchdogSec=60",
        "Restart=on-failure",
        "RestartSec=5",
        "TimeoutStopSec=30",
        "DynamicUser=yes",
        *(
            [f"StateDirectory={_STATE}{_SUFFIX[role]}", "StateDirectoryMode=0700"]
            if in_state
            else [f"ReadWritePaths={_word(folder)}"]
        ),
        *([f"SupplementaryGroups={' '.join(groups)}"] if groups else []),
        "LimitNOFILE=65536",
        "",
        _HARDENING.format(home=home, networks="".join(f" {network}" for network in networks)),
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def _word(text: str) -> str:
    """One argument for a unit file; ``%`` of a path stays itself, the state directory's does not."""
    body = text if text.startswith("%S/") else text.replace("%", "%%").replace("$", "$$")
    if shlex.quote(body) == body or body.startswith("%S/"):
        return body
    escaped = body.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(unit)
