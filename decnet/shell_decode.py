"""Decodes literals that a command line would decode itself: base64, hex, escapes; one level, bounded."""

from __future__ import annotations

import base64
import binascii
import re

_MARK = re.compile(r"base64|xxd|\\x[0-9a-fA-F]|\\0?[0-7]{3}|\$'|openssl")
_ARG = r"""(?P<{0}>'[^']*'|"[^"]*"|[A-Za-z0-9+/=_:.-]+)"""
_PIPED = re.compile(
    r"\b(?:echo|printf)(?:[ \t]+-[neE]+|[ \t]+'?%[sb](?:\\n)?'?)*[ \t]+"
    + _ARG.format("arg")
    + r"[ \t]*\|[ \t]*(?P<tool>(?:busybox[ \t]+)?(?:/[\w/]*)?(?:base64|openssl|xxd)\b[^|;&\n]*)"
)
_HERE = re.compile(r"\b(?P<tool>base64|xxd|openssl)\b(?P<opts>[^|;&\n<]*)<<<[ \t]*" + _ARG.format("arg"))
_ESCAPES = re.compile(
    r"""(?:\\x[0-9a-fA-F]{1,2}|\\0?[0-7]{3}){2,}|\b(?:echo|printf)\b[^|;&\n]*|\$'(?:[^'\\]|\\.)*'"""
)
_ONE = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|0?([0-7]{3}))")
_DECODE_FLAG = re.compile(r"(?:^|\s)(?:-[a-zA-Z]*[dD][a-zA-Z]*|--decode)\b")
_PLAIN_FLAG = re.compile(r"\s-(?:r|p|rp|pr|r\s+-p|p\s+-r)\b")


def decoded_texts(line: str, limit: int) -> tuple[list[str], bool]:
    """Decoded texts in ``line`` and whether more than ``limit`` characters of them were cut."""
    if not _MARK.search(line):
        return [], False
    out: list[str] = []
    room = limit
    for text in _candidates(line):
        if not text or text in out:
            continue
        if len(text) > room:
            return [*out, text[:room]] if room else out, True
        out.append(text)
        room -= len(text)
    return out, False


def _candidates(line: str) -> list[str]:
    found: list[str | None] = []
    if "base64" in line or "xxd" in line or "openssl" in line:
        found += [_decode(_unquote(m["arg"]), m["tool"]) for m in _PIPED.finditer(line)]
        found += [_decode(_unquote(m["arg"]), m["tool"] + m["opts"]) for m in _HERE.finditer(line)]
    if "\\" in line:
        found += [_unescape(m.group()) for m in _ESCAPES.finditer(line) if _ONE.search(m.group())]
    return [text for text in found if text is not None]


def _unquote(arg: str) -> str:
    return arg[1:-1] if len(arg) > 1 and arg[0] in "'\"" and arg[-1] == arg[0] else arg


def _decode(arg: str, tool: str) -> str | None:
    """The decoded argument, or None when the tool would not decode it."""
    try:
        if "xxd" in tool:
            return (
                _text(bytes.fromhex(re.sub(r"[^0-9a-fA-F]", "", arg))) if _PLAIN_FLAG.search(tool) else None
            )
        if not _DECODE_FLAG.search(tool):
            return None
        body = re.sub(r"[^A-Za-z0-9+/]", "", arg)
        return _text(base64.b64decode(body[: len(body) - (len(body) % 4 == 1)] + "=" * (-len(body) % 4)))
    except (ValueError, binascii.Error):
        return None


def _unescape(text: str) -> str:
    return _ONE.sub(lambda m: chr(int(m[1], 16) if m[1] else int(m[2], 8) & 0xFF), text)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
