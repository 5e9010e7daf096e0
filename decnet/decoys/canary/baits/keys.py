"""Keys that trip when they come back: an AWS access key and an Ed25519 SSH key, derived from the slug.

The private key protects nothing: it is a bait, made by the arithmetic of RFC 8032 without care for its timing.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from functools import lru_cache
from typing import Final

from decnet.decoys.canary.baits.derived import derived

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT: Final = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]
_NAME: Final = b"ssh-ed25519"
_COMMENT: Final = b"root@backup"
_LINE = 70


def aws_key_id(slug: str) -> str:
    """The public half, as it stands in requests: ``AKIA`` and 16 letters and digits of base32."""
    return "AKIA" + base64.b32encode(derived(slug, "aws-id", 10)).decode()


def aws_file(slug: str) -> str:
    """``~/.aws/credentials``."""
    secret = base64.b64encode(derived(slug, "aws-secret", 30)).decode()
    return f"[default]\naws_access_key_id = {aws_key_id(slug)}\naws_secret_access_key = {secret}\nregion = eu-central-1\n"


def ssh_fingerprint(slug: str) -> str:
    """Of the public key, as servers log it: ``SHA256:`` and base64 without its padding."""
    return sha256_fingerprint(public_blob(slug))


def sha256_fingerprint(blob: bytes) -> str:
    """The same of any public key in the wire format of SSH."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def md5_fingerprint(blob: bytes) -> str:
    """The older form, which Cowrie logs: 16 bytes in hex with colons."""
    return hashlib.md5(blob, usedforsecurity=False).digest().hex(":")


@lru_cache(maxsize=1024)
def public_blob(slug: str) -> bytes:
    """The public key in the wire format of SSH."""
    return _text(_NAME) + _text(_public(derived(slug, "ssh-seed")))


def ssh_file(slug: str) -> str:
    """``~/.ssh/id_ed25519`` in the format of OpenSSH, without a passphrase."""
    seed = derived(slug, "ssh-seed")
    public, check = _public(seed), derived(slug, "ssh-check", 4)
    private = check + check + _text(_NAME) + _text(public) + _text(seed + public) + _text(_COMMENT)
    private += bytes(range(1, 1 + -len(private) % 8))
    whole = b"openssh-key-v1\0" + _text(b"none") + _text(b"none") + _text(b"") + struct.pack("!I", 1)
    whole += _text(public_blob(slug)) + _text(private)
    text = base64.b64encode(whole).decode()
    lines = [text[place : place + _LINE] for place in range(0, len(text), _LINE)]
    return "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])


def _text(value: bytes) -> bytes:
    return struct.pack("!I", len(value)) + value


def _public(seed: bytes) -> bytes:
    """The Ed25519 public key of a seed (RFC 8032, 5.1.5)."""
    digest = bytearray(hashlib.sha512(seed).digest()[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    return _compressed(_times(int.from_bytes(digest, "little"), _base()))


def _base() -> _Point:
    y = 4 * pow(5, _P - 2, _P) % _P
    x2 = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(x2, (_P + 3) // 8, _P)
    x = x * _ROOT % _P if (x * x - x2) % _P else x
    x = _P - x if x & 1 else x
    return x, y, 1, x * y % _P


def _add(one: _Point, two: _Point) -> _Point:
    """In extended coordinates (RFC 8032, 5.1.4)."""
    a, b = (one[1] - one[0]) * (two[1] - two[0]) % _P, (one[1] + one[0]) * (two[1] + two[0]) % _P
    c, d = 2 * one[3] * two[3] * _D % _P, 2 * one[2] * two[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(factor: int, point: _Point) -> _Point:
    found: _Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            found = _add(found, point)
        point, factor = _add(point, point), factor >> 1
    return found


def _compressed(point: _Point) -> bytes:
    inverse = pow(point[2], _P - 2, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")
