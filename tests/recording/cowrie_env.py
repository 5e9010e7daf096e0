"""A real Cowrie for tests: installed in an environment of its own, started, watched until ready, stopped.

``async with running_cowrie(tmp_path) as pot`` is the whole interface; ``pot.ssh_port``, ``pot.log_path`` and
``pot.tty_dir`` are what a test needs. Environments are made once per version and kept under ``cache_root()``.
Cowrie refuses to run as root, so root starts it as an unprivileged user; everybody else starts it as himself.
What Cowrie does and logs is left to Cowrie, but for the two changes told in ``cowrie_launch``.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.alone import alone

DEFAULT_VERSION = "3.1.4"
UNPRIVILEGED = 65534
"""User and group id that Cowrie runs as when we are root."""
READY = "Ready to accept SSH connections"
START_TIMEOUT = 90.0
"""Seconds; the first start makes host keys and reads a large file system picture."""
STOP_TIMEOUT = 15.0
LAUNCHER = Path(__file__).with_name("cowrie_launch.py")
HONEYFS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nwww-data:x:33:\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\n",
    "etc/issue.net": "Debian GNU/Linux 12\n",
    "etc/motd": "",
}
"""The few files that 2.8 and 2.9 insist on and whose wheels do not carry."""
_STARTING = re.compile(
    r"Cowrie(SSH|Telnet)Factory starting on (\d+)|HoneyPot(SSH|Telnet)Factory starting on (\d+)"
)


class CowrieError(RuntimeError):
    """Cowrie could not be installed or did not come up; the message ends with its own last words."""


@dataclass(frozen=True, slots=True)
class Cowrie:
    """A running honeypot. All paths stay readable after it has been stopped."""

    version: str
    sensor: str
    ssh_port: int
    telnet_port: int | None
    state_dir: Path

    @property
    def log_path(self) -> Path:
        """The JSON lines log."""
        return self.state_dir / "var/log/cowrie/cowrie.json"

    @property
    def tty_dir(self) -> Path:
        """Terminal recordings, one file each, named by Cowrie."""
        return self.state_dir / "var/lib/cowrie/tty"

    @property
    def downloads_dir(self) -> Path:
        """What attackers have fetched or uploaded, named by sha256."""
        return self.state_dir / "var/lib/cowrie/downloads"

    @property
    def output_path(self) -> Path:
        """Cowrie's own diagnostics, for a human."""
        return self.state_dir / "cowrie.out"

    def events(self) -> list[dict[str, object]]:
        """The complete lines of the JSON log so far."""
        text = self.log_path.read_text("utf-8") if self.log_path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def cache_root() -> Path:
    """Where environments are kept: ``$DECNET_TEST_CACHE``, else the user's cache; for root a place others can
    enter.
    """
    chosen = os.environ.get("DECNET_TEST_CACHE")
    if chosen:
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/cache/decnet-tests")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "decnet-tests"


def ensure_environment(version: str = DEFAULT_VERSION, *, cache: Path | None = None) -> Path:
    """The directory of a virtual environment that holds Cowrie ``version``; made with uv when it is not
    there.
    """
    target = (cache or cache_root()) / "cowrie" / version
    with alone("cowrie"):
        if not (target / "complete").exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _uv("venv", "--clear", "--python", _interpreter(), str(target))
            _uv("pip", "install", "--python", str(target / "bin/python"), f"cowrie=={version}")
            (target / "complete").touch()
    return target


def _uv(*arguments: str) -> None:
    beside = Path(sys.executable).with_name("uv")
    program = str(beside) if beside.exists() else shutil.which("uv")
    if program is None:
        raise CowrieError("uv is needed to make an environment for Cowrie")
    done = subprocess.run([program, "--quiet", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CowrieError(f"uv {arguments[0]} failed: {done.stderr.strip()[-2000:]}")


def _interpreter() -> str:
    """A Python that the unprivileged user can execute too; one under root's home will not do."""
    for name in (os.path.realpath(sys.executable), "/usr/bin/python3", "/usr/local/bin/python3"):
        if os.path.exists(name) and _runs_unprivileged(name):
            return name
    raise CowrieError("no Python interpreter that an unprivileged user can execute")


def _runs_unprivileged(program: str) -> bool:
    try:
        done = subprocess.run([program, "-c", ""], check=False, cwd="/", capture_output=True, **_identity())
    except PermissionError:
        return False
    return bool(done.returncode == 0)


def _identity() -> dict[str, Any]:
    """Arguments for subprocess that shed root; none when there is nothing to shed."""
    if os.geteuid() != 0:
        return {}
    return {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []}


@asynccontextmanager
async def running_cowrie(
    workdir: Path,
    *,
    version: str = DEFAULT_VERSION,
    sensor: str = "web-01",
    telnet: bool = True,
    bait_port: int | None = None,
    settings: Mapping[str, Mapping[str, str]] | None = None,
    users: Sequence[str] = (),
    cache: Path | None = None,
) -> AsyncIterator[Cowrie]:
    """Run Cowrie on free loopback ports while the block runs; ``workdir`` keeps its state, log and
    recordings.

    ``sensor`` is both the sensor's name in the log and the host name that attackers see. With ``bait_port``
    the honeypot's ``wget`` and ``curl`` reach the server on that loopback port. ``settings`` are laid over
    ours, by section; ``users`` are lines of Cowrie's userdb.txt (``root:x:!secret`` keeps out, ``root:x:*``
    lets in). Raises CowrieError when it does not come up within START_TIMEOUT.
    """
    environment = await asyncio.to_thread(ensure_environment, version, cache=cache)
    with _state_directory(workdir / f"cowrie-{sensor}") as state:
        _write_config(state, sensor=sensor, telnet=telnet, settings=settings or {}, users=users)
        async with _process(environment, state, bait_port) as process:
            ports = await _wait_until_ready(process, state / "cowrie.out", telnet=telnet)
            yield Cowrie(version, sensor, ports["SSH"], ports.get("Telnet"), workdir / f"cowrie-{sensor}")


@contextmanager
def _state_directory(place: Path) -> Iterator[Path]:
    """Cowrie's directory at ``place``; as root it lives, while in use, where the unprivileged user can reach
    it.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        place.mkdir()
        yield place
        return
    real = Path(tempfile.mkdtemp(prefix="decnet-cowrie-"))
    place.symlink_to(real, target_is_directory=True)
    try:
        yield real
    finally:
        place.unlink()
        shutil.move(real, place)


def _write_config(
    state: Path, *, sensor: str, telnet: bool, settings: Mapping[str, Mapping[str, str]], users: Sequence[str]
) -> None:
    for name in ("etc", "honeyfs", "var/log/cowrie", "var/lib/cowrie/tty", "var/lib/cowrie/downloads"):
        (state / name).mkdir(parents=True, exist_ok=True)
    for name, text in HONEYFS.items():
        (state / "honeyfs" / name).parent.mkdir(parents=True, exist_ok=True)
        (state / "honeyfs" / name).write_text(text, "utf-8")
    merged = _defaults(sensor, telnet=telnet)
    for section, values in settings.items():
        merged.setdefault(section, {}).update(values)
    lines = [f"[{s}]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()) for s, values in merged.items()]
    (state / "etc/cowrie.cfg").write_text("\n".join(lines), "utf-8")
    if users:
        (state / "etc/userdb.txt").write_text("".join(f"{line}\n" for line in users), "ascii")
    if os.geteuid() == 0:
        _give_away(state)


def _give_away(state: Path) -> None:
    for path in (state, *state.rglob("*")):
        os.chown(path, UNPRIVILEGED, UNPRIVILEGED)


def _defaults(sensor: str, *, telnet: bool) -> dict[str, dict[str, str]]:
    return {
        "honeypot": {
            "sensor_name": sensor,
            "hostname": sensor,
            "log_path": "var/log/cowrie",
            "state_path": "var/lib/cowrie",
            "download_path": "var/lib/cowrie/downloads",
            "ttylog_path": "var/lib/cowrie/tty",
            "etc_path": "etc",
            "internet_facing_ip": "192.0.2.10",
            "internet_facing_ipv6": "2001:db8::10",
            "ttylog": "true",
            "timezone": "UTC",
            "logtype": "plain",
            "backend": "shell",
        },
        "ssh": {
            "enabled": "true",
            "listen_endpoints": "tcp:0:interface=127.0.0.1",
            "forwarding": "true",
            "sftp_enabled": "true",
            "rsa_public_key": "var/lib/cowrie/ssh_host_rsa_key.pub",
            "rsa_private_key": "var/lib/cowrie/ssh_host_rsa_key",
            "ecdsa_public_key": "var/lib/cowrie/ssh_host_ecdsa_key.pub",
            "ecdsa_private_key": "var/lib/cowrie/ssh_host_ecdsa_key",
            "ed25519_public_key": "var/lib/cowrie/ssh_host_ed25519_key.pub",
            "ed25519_private_key": "var/lib/cowrie/ssh_host_ed25519_key",
        },
        "telnet": {"enabled": str(telnet).lower(), "listen_endpoints": "tcp:0:interface=127.0.0.1"},
        "output_jsonlog": {"enabled": "true", "logfile": "var/log/cowrie/cowrie.json"},
        "output_crashreporter": {"enabled": "false"},
    }


@asynccontextmanager
async def _process(
    environment: Path, state: Path, bait_port: int | None
) -> AsyncIterator[asyncio.subprocess.Process]:
    launcher = shutil.copy(LAUNCHER, state / "launch.py")
    surroundings = {"HOME": str(state), "PATH": os.defpath, "TZ": "UTC", "LANG": "C.UTF-8"}
    if bait_port is not None:
        surroundings["DECNET_BAIT_PORT"] = str(bait_port)
    with (state / "cowrie.out").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            str(environment / "bin/python"), str(launcher), cwd=state, env=surroundings,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **_identity(),
        )  # fmt: skip
    try:
        yield process
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _wait_until_ready(
    process: asyncio.subprocess.Process, output: Path, *, telnet: bool
) -> dict[str, int]:
    """The ports by protocol, once every listener asked for is up."""
    wanted = {"SSH", "Telnet"} if telnet else {"SSH"}
    deadline = asyncio.get_running_loop().time() + START_TIMEOUT
    while asyncio.get_running_loop().time() < deadline:
        said = output.read_text("utf-8", "replace")
        ports = {m[1] or m[3]: int(m[2] or m[4]) for m in _STARTING.finditer(said)}
        if READY in said and wanted <= ports.keys():
            return ports
        if process.returncode is not None:
            raise CowrieError(f"Cowrie ended with {process.returncode}: {said[-2000:]}")
        await asyncio.sleep(0.1)
    raise CowrieError(
        f"Cowrie was not ready in {START_TIMEOUT:.0f} s: {output.read_text('utf-8', 'replace')[-2000:]}"
    )
