"""Who else is told: what a target has to be, and that its secrets are shown nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from decnet.config import Settings, load_settings
from decnet.errors import ConfigError
from decnet.publish_settings import MIN_SECRET, NOTICES

HOOK = {
    "kind": "webhook",
    "name": "soc",
    "url": "https://soc.example/hook?token=zzsecret",
    "secret": "s" * MIN_SECRET,
}
LOG = {"kind": "syslog", "name": "log", "address": "udp://log.example:514"}
FILE = {"kind": "file", "name": "file", "path": "/tmp/x"}


def made(*targets: Any) -> Settings:
    return load_settings(publish={"targets": list(targets)})


def test_nobody_is_told_by_default() -> None:
    assert Settings().publish.targets == ()


def test_each_kind_of_target_hears_of_notices_unless_it_asks_for_more() -> None:
    hook, log, file = made(HOOK, LOG, {**FILE, "topics": ["ttp.>", "notice.*"]}).publish.targets
    assert hook.topics == log.topics == (NOTICES,)
    assert file.topics == ("ttp.>", "notice.*")
    assert (log.facility, file.max_bytes, file.keep, hook.private) == (13, 16 * 2**20, 4, False)  # type: ignore[union-attr]


WRONG = [
    ({**HOOK, "url": "http://soc.example/"}, "only https"),
    ({**HOOK, "url": "https:///x"}, "no URL with a host"),
    ({**HOOK, "url": "https://u:zzsecret@soc.example/"}, "scheme, host, path and query only"),
    ({**HOOK, "url": "https://soc.example/#x"}, "scheme, host, path and query only"),
    ({**HOOK, "url": "https://soc.example/a b"}, "no URL with a host"),
    ({**HOOK, "url": "https://soc.example/\r\nX: y"}, "no URL with a host"),
    ({**HOOK, "url": "https://soc.example:0/"}, "no URL with a host"),
    ({**HOOK, "secret": "s" * (MIN_SECRET - 1)}, "16 characters or more"),
    ({**HOOK, "topics": []}, "at least 1 item"),
    *(({**HOOK, "topics": [topic]}, "pattern|whole tokens") for topic in
      ("", "a..b", ">.a", "a b", "a*", "a.>b", "\u0430", "a\n", "x" * 201)),
    *(({**LOG, "address": address}, "write udp://|no URL") for address in
      ("log.example:514", "udp://log.example", "http://log.example:514", "unix:dev/log", "udp://log.example:514/x", "tcp://u@h:1")),
    ({**LOG, "facility": 24}, "less than or equal to 23"),
    ({**LOG, "facility": -1}, "greater than or equal to 0"),
    ({**FILE, "max_bytes": 65_535}, "greater than or equal to 65536"),
    ({**FILE, "keep": 0}, "greater than or equal to 1"),
    ({**FILE, "name": "A"}, "pattern"),
    ({**FILE, "name": "a\n"}, "pattern"),
    ({**FILE, "name": "x" * 41}, "pattern"),
    ({**FILE, "kind": "carrier-pigeon"}, "webhook"),
    ({**FILE, "colour": "red"}, "unknown key|Extra"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "why"), WRONG)
def test_what_is_no_target_is_refused_without_its_secrets(target: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        made(target)
    assert "zzsecret" not in str(refused.value)


@pytest.mark.parametrize(
    "address", ["udp://127.0.0.1:514", "tcp://[::1]:6514", "tls://log.example:6514", "unix:///dev/log"]
)
def test_ways_to_a_syslog_server(address: str) -> None:
    assert made({**LOG, "address": address}).publish.targets[0].address == address  # type: ignore[union-attr]


def test_two_targets_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two targets have one name"):
        made(LOG, {**FILE, "name": "log"})


def test_secrets_of_a_target_are_shown_nowhere() -> None:
    settings = made(HOOK)
    assert "zzsecret" not in repr(settings) + str(settings.model_dump())
    assert "s" * MIN_SECRET not in repr(settings) + str(settings.model_dump())
