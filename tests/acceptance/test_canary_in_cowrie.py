"""A token's page lies in a real Cowrie: somebody reads it over SSH, a remote controlled browser opens it, the tag is there."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import pytest

from decnet.bus.factory import get_bus
from decnet.config import Settings
from tests.dbkit import migrated
from tests.decoykit import free_port, said
from tests.programkit import cli, daemon, listed, until
from tests.recording.cowrie_env import ensure_environment, running_cowrie

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LIMIT_S = 30.0
PATH = "/srv/share/pass.html"


@contextmanager
def readable_by_all() -> Iterator[Path]:
    """A directory that Cowrie's own user may enter too."""
    place = Path(tempfile.mkdtemp(prefix="decnet-canary-"))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place)


async def _read_over_ssh(port: int) -> str:
    async with asyncssh.connect(
        "127.0.0.1", port, username="root", password="secret-enough", known_hosts=None, client_keys=None, agent_path=None, config=None,
    ) as connection:  # fmt: skip
        shell = await connection.create_process(term_type="xterm", term_size=(400, 24))
        await shell.stdout.readuntil("# ")
        shell.stdin.write(f"ls -la {PATH.rpartition('/')[0]}\r")
        listing = await shell.stdout.readuntil("# ")
        assert "pass.html" in listing
        shell.stdin.write(f"cat {PATH}\r")
        text = await shell.stdout.readuntil("</html>")
        shell.stdin.write("exit\r")
        await asyncio.wait_for(shell.wait_closed(), LIMIT_S)
        return str(text)


async def _opened_by_a_browser(port: int, script: str) -> None:
    """What a remote controlled browser does with the page: it fetches the script, and the script reports."""
    path = script.removeprefix(f"http://127.0.0.1:{port}")
    agent = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0\r\nHost: a\r\n"
    code = await said(port, f"GET {path} HTTP/1.1\r\n{agent}\r\n".encode())
    nonce = re.search(rb"r\?n=[0-9a-f]{32}", code)
    assert nonce is not None
    body = json.dumps({"webdriver": True, "platform": "Linux x86_64", "tz": "Europe/Paris"})
    report = f"POST {path.removesuffix('s.js')}{nonce[0].decode()} HTTP/1.1\r\n{agent}Content-Length: {len(body)}\r\n\r\n"
    assert (await said(port, report.encode() + body.encode())).startswith(b"HTTP/1.1 200 ")


async def test_a_page_in_cowrie_is_read_tripped_and_tagged(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    data.mkdir()
    await migrated(data / "decnet.sqlite")
    config = tmp_path / "config.yaml"
    own = {"enabled": True, "port": port, "base_url": f"http://127.0.0.1:{port}"}
    config.write_text(json.dumps({"decoys": {"canary_http": own, "watch_keys": True}}))
    own_picture = next(ensure_environment().glob("lib/python3*/site-packages/cowrie/data/fs.pickle"))
    with readable_by_all() as place:
        common = ("--data-dir", data, "--config", config)
        done = cli("canary", "mint", "page", "--decky", "web-01", "--path", PATH, "--json", *common)
        token = json.loads(done.stdout)["token_id"]
        key = json.loads(cli("canary", "mint", "ssh", "--decky", "web-01", "--json", *common).stdout)
        picture = place / "fs.pickle"
        done = cli("canary", "place", token, "--cowrie", own_picture, "--out", picture, *common)
        assert done.returncode == 0, done.stderr
        shell = {"shell": {"filesystem": str(picture)}, "honeypot": {"sensor_name": "web-01"}}
        async with running_cowrie(tmp_path, telnet=False, users=("root:x:*",), settings=shell) as pot:
            with daemon(
                data, tmp_path / "engine.log", "--sensor", f"cowrie={pot.log_path}", "--config", config
            ) as engine:
                script = re.search(
                    rf"http://127\.0\.0\.1:{port}/i/\w+/s\.js", await _read_over_ssh(pot.ssh_port)
                )
                assert script is not None
                await asyncio.to_thread(until, lambda: f":{port}" in _listening(port), LIMIT_S, "the port")
                await asyncio.to_thread(until, lambda: _reader(data, token), LIMIT_S, "who read it")
                await _opened_by_a_browser(port, script[0])
                await asyncio.to_thread(until, lambda: _tagged(data), LIMIT_S, "a tag of the token")
                (tag,) = _tagged(data)
                await _offered(pot.ssh_port, key["content"])
                await asyncio.to_thread(
                    until, lambda: _trips(data, key["token_id"]), LIMIT_S, "the key's trip"
                )
                shown = next(row for row in _tokens(data) if row["token_id"] == token)
                page = cli("session", str(shown["read_session_id"]), "--data-dir", data).stdout.decode()
                news = await _first_trip(data, token)
                assert engine.stop() == 0, engine.said()
    assert (tag["rule_id"], tag["attacker_ip"], tag["decky_id"]) == ("L0401", "127.0.0.1", "web-01")
    assert (shown["token_id"], shown["state"], shown["trips"], shown["last_peer"]) == (
        token,
        "placed",
        2,
        "127.0.0.1",
    )
    events = [line for line in engine.said().splitlines() if "set off for the first time" in line]
    assert [ident in line for ident, line in zip((token, key["token_id"]), events, strict=True)] == [
        True,
        True,
    ]
    assert f"{PATH}, token {token}" in page
    assert (shown["read_ip"], news["read_session_id"]) == ("127.0.0.1", shown["read_session_id"])
    assert (news["kind"], news["path"], news["read_ip"]) == ("page", PATH, "127.0.0.1")


async def _offered(port: int, key: str) -> None:
    """Somebody tries the key that he found where he found it."""
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            "127.0.0.1", port, username="root", known_hosts=None, client_keys=[asyncssh.import_private_key(key)],
            agent_path=None, config=None, preferred_auth="publickey",
        )  # fmt: skip


async def _first_trip(data: Path, token: str) -> dict[str, object]:
    """The event of a token's first trip."""
    bus = get_bus("test", Settings(data_dir=data))
    await bus.connect()
    try:
        found = await bus.read_back(f"canary.{token}.triggered", 10)
    finally:
        await bus.close()
    return next(event.payload for event in found if event.payload.get("first_trip"))


def _reader(data: Path, token: str) -> object:
    return next(row["read_ip"] for row in _tokens(data) if row["token_id"] == token)


def _tokens(data: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(cli("canary", "list", "--json", "--data-dir", data).stdout)
    return rows


def _trips(data: Path, token: str) -> object:
    return next(row["trips"] for row in _tokens(data) if row["token_id"] == token)


def _listening(port: int) -> str:
    """Local addresses that accept connections, from the kernel's own table."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return " ".join(f":{int(row[1].split(':')[1], 16)}" for row in rows if row[3] == "0A")


def _tagged(data: Path) -> list[dict[str, object]]:
    return [row for row in listed("tags", data) if row["source_kind"] == "canary_fingerprint"]
