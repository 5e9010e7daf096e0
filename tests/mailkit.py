"""Messages for tests: the cases of mail, and what is easily made of parts."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from decnet.mail.facts import Envelope, received

CASES = Path(__file__).parent / "fixtures" / "cases" / "producers.json"
PEER = "203.0.113.9"


def case(name: str) -> dict[str, Any]:
    """A case of a producer by its name."""
    cases = json.loads(CASES.read_text("utf-8"))["cases"]
    return next(one for one in cases if one["id"] == name)  # type: ignore[no-any-return]


def case_bytes(one: Mapping[str, Any]) -> bytes:
    return base64.b64decode(one["input"]["eml_base64"])


def case_envelope(one: Mapping[str, Any]) -> Envelope:
    said = one["input"]["envelope"]
    return Envelope(said["peer"], said["decky"], said["mail_from"], len(said["rcpt"]), said["rcpt"])


def facts(data: bytes, **more: Any) -> dict[str, Any]:
    """The payload of a message from somebody."""
    return received(data, Envelope(PEER, **more)).build()


def message(body: str | bytes = "", *headers: str, kind: str = "text/plain; charset=utf-8") -> bytes:
    """A message of one part."""
    head = "\r\n".join(["From: a@one.example", f"Content-Type: {kind}", *headers])
    return head.encode() + b"\r\n\r\n" + (body.encode() if isinstance(body, str) else body)


def part(content: bytes, kind: str, name: str = "", encoding: str = "base64") -> bytes:
    """A part of a message; with a name it is an attachment."""
    lines = [f"Content-Type: {kind}"]
    lines += [f'Content-Disposition: attachment; filename="{name}"'] if name else []
    lines += [f"Content-Transfer-Encoding: {encoding}"] if encoding else []
    told = base64.encodebytes(content) if encoding == "base64" else content
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + told


def mixed(*parts: bytes, boundary: str = "b0") -> bytes:
    """A message of several parts."""
    mark = f"--{boundary}".encode()
    body = b"".join(mark + b"\r\n" + one + b"\r\n" for one in parts) + mark + b"--\r\n"
    return message(body, kind=f'multipart/mixed; boundary="{boundary}"')


def archive(*names: str, locked: bool = False) -> bytes:
    """A zip archive with files of these names; ``locked`` marks them as encrypted."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name in names:
            made.writestr(zipfile.ZipInfo(name), b"x")
    data = bytearray(out.getvalue())
    if locked:
        for mark, at in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
            place = data.find(mark)
            while place >= 0:
                data[place + at] |= 1
                place = data.find(mark, place + 4)
    return bytes(data)
