"""``unit``: a hardened systemd unit for the engine, made for this installation.

The engine reads logs, writes its own state directory and talks to sockets on this host or to the bus and
database that the settings name; everything else is taken away. What a set-up needs beyond that (another
log directory, the Docker socket for the compose substrate) belongs into a drop-in.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from decnet.home import holds_password
from decnet_tui.cli import common
from decnet_tui.cli.sensor_option import parse_sensors

_STATE = "decnet-tui"
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
    sensor: Annotated[list[str] | None, typer.Option(help="KIND=PATH as for the engine. Repeatable.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Group that may read the logs. Repeatable.")] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="Network of an external bus or database. Repeatable.")
    ] = None,
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
    """Prints a systemd unit: `decnet-tui unit --sensor cowrie=PATH > /etc/systemd/system/decnet-tui.service`."""
    parse_sensors(sensor)
    _keep_out(db)
    options = [("--config", config), ("--rules", rules), ("--db", db)]
    options += [("--sensor", spec) for spec in sensor or ()]
    given = [part for name, value in options if value is not None for part in (name, str(value))]
    folder = str(data_dir.absolute()) if data_dir else f"%S/{_STATE}"
    own = [f"EnvironmentFile={_word(str(environment.absolute()))}"] if environment else []
    typer.echo(_text(_program(), folder, given, own, group or [], allow or []), nl=False)


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
    program: str, folder: str, options: list[str], own: list[str], groups: list[str], networks: list[str]
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
        "Description=Deception network engine (decnet-tui)",
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
            [f"StateDirectory={_STATE}", "StateDirectoryMode=0700"]
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
