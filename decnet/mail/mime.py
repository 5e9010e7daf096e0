"""The parts of a message: taken apart by its boundaries, in linear time and within bounds; pure.

The parser of the standard library is used for headers only: on nested parts it recurses, and asks each line for all
boundaries around it. What is beyond a bound is counted, and is looked at as one part where it can be.
"""

from __future__ import annotations

import re
from email.message import Message
from email.parser import HeaderParser
from email.policy import compat32
from typing import Final, NamedTuple

from decnet.bounds import bit
from decnet.mail.charsets import MAX_VALUE, plain, text_of

MAX_DEPTH: Final = 20
"""Levels of parts within parts that are opened."""
MAX_PARTS: Final = 200
"""Parts of one message that are looked at; those that only hold others count."""
MAX_HEAD: Final = 65_536
"""Bytes of the headers of one part that are read."""
MAX_BOUNDARY: Final = 200
DEPTH, PARTS, HEAD = "mail_depth_capped", "mail_parts_capped", "mail_heads_capped"
_END_OF_HEAD: Final = re.compile(rb"(?:\A|\n)\r?\n")
_STRUCTURED: Final = ("content-type", "content-disposition", "content-transfer-encoding")
_PARSER: Final = HeaderParser(policy=compat32)
_FAULTS: Final = (ValueError, LookupError, TypeError, AttributeError, AssertionError)
"""What the standard library is known to raise for parameters that are none."""


class Part(NamedTuple):
    """One part: its headers, its bytes as they came, and how many parts it lies in."""

    head: Message
    raw: bytes
    depth: int

    def header(self, name: str) -> str | None:
        """The first header of a name, as plain text; None without one."""
        found = next((value for key, value in self.head.raw_items() if key.lower() == name), None)
        return None if found is None else plain(str(found))

    def headers(self, name: str, limit: int) -> list[str]:
        """All headers of a name, in order, ``limit`` at most."""
        return [plain(str(value)) for key, value in self.head.raw_items() if key.lower() == name][:limit]

    @property
    def kind(self) -> str:
        """Content type in lower case; ``text/plain`` where none is named."""
        return self.head.get_content_type()

    @property
    def encoding(self) -> str:
        """Transfer encoding in lower case."""
        return (self.header("content-transfer-encoding") or "").strip().lower()

    @property
    def name(self) -> str:
        """The file name that the part claims; empty without one."""
        try:
            return plain(self.head.get_filename("") or "")
        except _FAULTS:
            return ""

    @property
    def attached(self) -> bool:
        """Whether the part is a file beside the message, and no text of it."""
        how = (self.header("content-disposition") or "").strip().lower()
        return how.startswith("attachment") or bool(self.name) or not self.kind.startswith("text/")

    def content(self) -> bytes:
        """The bytes without their transfer encoding; as they came where that is broken. Never raises."""
        holder = Message(policy=compat32)
        holder["Content-Transfer-Encoding"] = self.encoding
        holder.set_payload(self.raw.decode("ascii", "surrogateescape"))
        try:
            found = holder.get_payload(decode=True)
        except _FAULTS:
            return self.raw
        return found if isinstance(found, bytes) else self.raw

    def text(self) -> str:
        """The content as text, by the charset that the part names."""
        try:
            charset = self.head.get_content_charset("")
        except _FAULTS:
            charset = ""
        return text_of(self.content(), charset)


def whole(data: bytes, depth: int = 0) -> Part:
    """A message, or a part of one, with its headers read."""
    found = _END_OF_HEAD.search(data)
    head, body = (data, b"") if found is None else (data[: found.start()], data[found.end() :])
    head = head.removesuffix(b"\r")
    if len(head) > MAX_HEAD:
        bit(HEAD)
        head = head[:MAX_HEAD]
    parsed = _PARSER.parsestr(text_of(head))
    if rest := parsed.get_payload():  # a line that is no header ends them: what follows is body to everybody
        body = str(rest).encode("utf-8", "replace") + b"\r\n\r\n" + body
    for name in _STRUCTURED:
        values = [str(value) for key, value in parsed.raw_items() if key.lower() == name][:1]
        del parsed[name]
        for value in values:
            parsed[name] = value[:MAX_VALUE]
    return Part(parsed, body, depth)


def leaves(message: Part) -> list[Part]:
    """The parts that hold no others, in the order in which they stand; a message in a message is opened too."""
    found: list[Part] = []
    waiting, seen = [message], 0
    while waiting:
        part = waiting.pop()
        seen += 1
        if seen > MAX_PARTS:
            bit(PARTS, 1 + len(waiting))
            break
        inner = _inside(part)
        if inner and part.depth >= MAX_DEPTH:
            bit(DEPTH)
            inner = []
        if not inner or part.kind == "message/rfc822":
            found.append(part)
        waiting += reversed([whole(data, part.depth + 1) for data in inner[: MAX_PARTS - seen + 1]])
        if len(inner) > MAX_PARTS - seen + 1:
            bit(PARTS, len(inner) - (MAX_PARTS - seen + 1))
    return found


def _inside(part: Part) -> list[bytes]:
    """The parts in a part, as bytes; none where it is one itself."""
    kind = part.kind
    if kind == "message/rfc822":
        return [part.content()]
    if not kind.startswith("multipart/"):
        return []
    try:
        boundary = part.head.get_boundary("") or ""
    except _FAULTS:
        boundary = ""
    return _split(part.raw, boundary.encode("utf-8", "replace")) if 0 < len(boundary) <= MAX_BOUNDARY else []


def _split(body: bytes, boundary: bytes) -> list[bytes]:
    line = re.compile(rb"(?:\A|\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\r?\Z)")
    found: list[bytes] = []
    begin: int | None = None
    for mark in line.finditer(body):
        if begin is not None:
            found.append(_part(body[begin : mark.start()]))
        begin = mark.end()
        if mark[1]:
            return found
    return found if begin is None else [*found, _part(body[begin:])]


def _part(data: bytes) -> bytes:
    """Without the rest of the boundary's line, and the line end that belongs to the next one."""
    data = data[1:] if data.startswith(b"\n") else data[2:] if data.startswith(b"\r\n") else data
    return data.removesuffix(b"\r")
