"""``nats.conf`` for a server of one's own that remote sensors report to: a user for each, and what each may do.

A sensor publishes below its own prefix and hears its own inbox and control; that is all that storing takes. The
engine may do everything. A console reads; it makes readers of its own for that, but touches none of the workers'.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nkeys

from decnet.bus.nats.server import STORE_SLACK, SYNC_S
from decnet.bus.remote import control_topic, inbox_prefix, prefix, worker_name
from decnet.config import BusSettings

ENGINE, CONSOLE = "engine", "console"
_READING = (
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.MSG.GET.*",
    "$JS.API.DIRECT.GET.>",
    "$JS.API.CONSUMER.LIST.*",
    "$JS.API.CONSUMER.INFO.*.*",
    "$JS.API.CONSUMER.CREATE.>",
    "$JS.API.CONSUMER.DELETE.*.*",
    "$JS.API.CONSUMER.MSG.NEXT.*.*",
    "$JS.FC.>",
)


@dataclass(frozen=True, slots=True)
class User:
    """One user of the server; a password, or the public half of an nkey."""

    name: str
    password: str = field(default="", repr=False)
    nkey: str = ""


def user_of(sensor: str) -> str:
    """The user of a remote sensor."""
    return worker_name(sensor)


def with_passwords(names: Iterable[str]) -> list[User]:
    """Users with a new random password each."""
    return [User(name, password=secrets.token_urlsafe(32)) for name in names]


def with_nkeys(names: Iterable[str], folder: Path) -> list[User]:
    """Users with an nkey each, whose seed is ``folder/<name>.nk`` (0600); one that is there already is kept.

    Raises OSError, and ValueError for a file that holds no seed.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return [User(name, nkey=_public_key(folder / f"{name}.nk")) for name in names]


def _public_key(path: Path) -> str:
    try:
        seed = path.read_bytes().strip()
    except FileNotFoundError:
        seed = bytes(nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER))
        write_once(path, seed.decode("ascii") + "\n")
    try:
        return str(nkeys.from_seed(bytearray(seed)).public_key.decode("ascii"))
    except Exception as error:  # the library raises its own and those of the one below it
        raise ValueError(f"{path}: not a seed of an nkey") from error


def write_once(path: Path, text: str) -> None:
    """A new file that only its owner can read. Raises FileExistsError, or another OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def server_config(
    users: Mapping[str, User],
    sensors: Sequence[str],
    workers: Iterable[str],
    settings: BusSettings,
    *,
    listen: str,
    store: Path,
    tls: tuple[Path, Path] | None = None,
) -> str:
    """The text of ``nats.conf``. ``users`` by name, ``workers`` whose consumers a console leaves alone.

    ``tls`` is the files of certificate and key; paths should be absolute.
    """
    room = settings.max_stream_bytes + settings.max_blob_store_bytes + STORE_SLACK
    lines = [
        "# Made by `decnet-tui bus config`. It holds secrets: for the user of nats-server only.",
        f"listen: {json.dumps(listen)}",
        'server_name: "decnet"',
        f"max_payload: {max(2**20, 2 * settings.max_event_bytes)}",
        "jetstream {",
        f"  store_dir: {json.dumps(str(store))}",
        f"  max_file_store: {room}",
        f"  max_memory_store: {STORE_SLACK}",
        f'  sync_interval: "{SYNC_S}s"',
        "}",
        *(_tls(*tls) if tls else []),
        "authorization {",
        "  timeout: 5",
        "  users = [",
        _entry(users[ENGINE], [">"], [">"]),
        _entry(users[CONSOLE], _READING, [">"], _kept(settings.stream, workers)),
        *(
            _entry(
                users[user_of(name)], [f"{prefix(name)}>"], [f"{inbox_prefix(name)}.>", control_topic(name)]
            )
            for name in sensors
        ),
        "  ]",
        "}",
        "",
    ]
    return "\n".join(lines)


def _tls(certificate: Path, key: Path) -> list[str]:
    return [
        "tls {",
        f"  cert_file: {json.dumps(str(certificate))}",
        f"  key_file: {json.dumps(str(key))}",
        "  timeout: 5",
        "}",
    ]


def _entry(user: User, publish: Sequence[str], subscribe: Sequence[str], never: Sequence[str] = ()) -> str:
    who = (
        f"nkey: {user.nkey}"
        if user.nkey
        else f"user: {json.dumps(user.name)}, password: {json.dumps(user.password)}"
    )
    told = f", deny: {json.dumps(list(never))}" if never else ""
    rights = f"publish: {{ allow: {json.dumps(list(publish))}{told} }}, subscribe: {{ allow: {json.dumps(list(subscribe))} }}"
    return f"    # {user.name}\n    {{ {who}, permissions: {{ {rights} }} }}"


def _kept(stream: str, workers: Iterable[str]) -> list[str]:
    """Requests about the workers' own consumers: one that is deleted reads everything again."""
    places = [f"{stream}.{worker}" for worker in workers]
    asked = ("DELETE.{0}", "MSG.NEXT.{0}", "CREATE.{0}", "CREATE.{0}.>")
    return [f"$JS.API.CONSUMER.{form.format(place)}" for place in places for form in asked]
