"""The page about mail is true: its settings, bounds and figures are those of the code, and its example loads."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from decnet.config import InboxSettings, Settings
from decnet.decoy_settings import MailSettings
from decnet.decoys.mail.listener import FIGURES
from decnet.mail import mime
from decnet.mail.facts import BOUNDS
from decnet.sensors.inbox.folder import DONE, LISTS, PART, REJECTED
from decnet.sensors.inbox.lists import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "mail.md").read_text("utf-8")


def test_the_example_is_taken() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    mail = Settings(**yaml.safe_load(example)).decoys.mail
    assert (mail.enabled, mail.decky, mail.hostname) == (True, "mx-01", "mx1.example.net")


def test_every_bound_of_the_decoy_is_told_with_its_default() -> None:
    told = dict(re.findall(r"\| `(\w+)`(?:, `\w+`)? \| ([^|]+?) \|", PAGE))
    defaults = MailSettings()
    assert told["max_message_bytes"] == f"{defaults.max_message_bytes // 2**20} MiB"
    assert told["max_recipients"] == str(defaults.max_recipients)
    assert told["max_connections"].startswith(f"{defaults.max_connections}, {defaults.max_connections_peer} ")
    assert told["max_messages"] == f"{defaults.max_messages} of one connection"
    assert told["session_s"] == f"{defaults.session_s:g} s in all"
    assert told["max_folder_bytes"] == f"{defaults.max_folder_bytes // 2**30} GiB"
    bounds = {name for name in MailSettings.model_fields if name.startswith("max_")} | {"session_s"}
    assert bounds == told.keys() | {"max_connections_peer"}


def test_figures_that_are_named_are_there() -> None:
    named = set(re.findall(r"`(mail_\w+)`", PAGE))
    assert named <= {*FIGURES, *BOUNDS}
    assert {name for name in BOUNDS if name.endswith("_capped")} <= named
    assert (mime.MAX_DEPTH, mime.MAX_PARTS) == (20, 200)


def test_places_and_providers_of_the_inbox() -> None:
    assert all(f"`{name}`" in PAGE for name in (DONE, LISTS, REJECTED, PART))
    assert f"({InboxSettings().lists_every_s:g})" in PAGE.replace("`inbox.lists_every_s`, ", "")
    flat = PAGE.lower().replace(" tracker", "")
    assert all(kind.name in flat for kind in KINDS)
