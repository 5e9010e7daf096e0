"""Keyed hashes of captured secrets: the key file, and the one function that hashes with it.

Sensors hash what they capture; the credential lifter hashes its list of default pairs the same way.
Nothing that leaves the sensor holds a secret, unless the operator asked for it. Who uses the hashes is left to them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from decnet.errors import SensorError

KEY_FILE = "secret.key"
KEY_BYTES = 32
_ID = b"decnet:key-id:v1"
_ID_DIGITS = 12


def key_id(key: bytes) -> str:
    """What a key is called beside the hashes that it made: the same on every host that has it, and of no use to find it."""
    return hmac.new(key, _ID, hashlib.sha256).hexdigest()[:_ID_DIGITS]


def keyed_hash(key: bytes, kind: str, secret: str) -> str:
    """Keyed HMAC-SHA256 in hex: equal secrets can be seen to be equal, and nothing else."""
    return hmac.new(key, f"{kind}\0{secret}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


LABEL_DIGITS = 4


def login_label(username: str | None, secret_hmac: str | None, secret: str | None = None) -> str:
    """A log-in in one word for screens and lists: ``root/#a1b2``, the start of the secret's keyed hash.

    The clear text stands there only where it was kept, by the setting ``credentials.keep_clear``.
    """
    shown = f"#{secret_hmac[:LABEL_DIGITS]}" if secret is None and secret_hmac else secret
    return (username or "-") if shown is None else f"{username or ''}/{shown}"


def load_key(data_dir: Path, shared: Path | None = None) -> bytes:
    """The key of a data directory, made at first use (mode 0600), or the one in a file that several hosts ``shared``.

    Raises SensorError when it cannot be read or made, or is too short to be one; a shared one is never made here.
    """
    path = shared or data_dir / KEY_FILE
    try:
        if shared is None:
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                _make(path)
        key = path.read_bytes()
    except OSError as error:
        raise SensorError(f"{path}: {error.strerror or error}") from error
    if len(key) < KEY_BYTES:
        cure = (
            "move it away to have a new one made" if shared is None else "make one: head -c 32 /dev/urandom"
        )
        raise SensorError(f"{path}: shorter than {KEY_BYTES} bytes; {cure}")
    return key


def _make(path: Path) -> None:
    """Writes the key whole or not at all; of two processes the first one's key counts."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
