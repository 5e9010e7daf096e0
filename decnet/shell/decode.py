"""Decodes literals that a command line would decode itself: base64, hex, escapes; one level, bounded."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

import re2

MAX_TEXTS = 1024
"""Literals that are decoded in one line."""
_MARK = re.compile(r"base64|xxd|\\x[0-9a-fA-F]|\\0?[0-7]{3}|\$'|openssl")
_ARG = r"""(?P<{0}>'[^']*'|"[^"]*"|[A-Za-z0-9+/=_:.-]+)"""
_PIPED = re.compile(
    r"""\b(?:echo|printf)(?:[ \t]+-[neE]+|[ \t]+['"]?%[sb](?:\\n)?['"]?)*[ \t]+"""
    + _ARG.format("arg")
    + r"[ \t]*\|[ \t]*(?P<tool>(?:busybox[ \t]+)?(?:/[\w/]*)?(?:base64|openssl|xxd)\b[^|;&\n]*)"
)
_HERE = re.compile(r"<<<[ \t]*" + _ARG.format("arg"))
_TOOL = re.compile(r"\b(?:base64|xxd|openssl)\b[^|;&\n<]*\Z")
_TOOL_CHARS = 200
_ESCAPES = re.compile(
    r"""(?:\\x[0-9a-fA-F]{1,2}|\\0?[0-7]{3}){2,}|\b(?:echo|printf)\b[^|;&\n]*|\$'(?:[^'\\]|\\.)*'"""
)
_TO_SHELL = re2.compile(
    r"""\b(?:echo|printf)(?:[ \t]+-\w+)*[ \t]+(?:'([^']*)'|"([^"]*)"|([^|;&'"\n]*))"""
    r"""[ \t]*\|[ \t]*(?:sudo[ \t]+)?(?:[\w./-]*/)?(?:ba|da|a|z|k)?sh(?:[ \t]+-\w*)*[ \t]*(?:$|[;&|)>"'\n])"""
)
"""Text that a shell is given to read; RE2, since spaces could be split between its parts in many ways."""
_ARGUMENT = re.compile(r"""(?:echo|printf)[ \t]+(?:-\w+[ \t]+)*(?:'([^']*)|"([^"]*)|(.*))""", re.DOTALL)
_BRACES = re.compile(r"\{((?:\S*/)?(?:echo|printf|base64|openssl|xxd)(?:,[^\s{}|;&]*)+)\}")
"""A command without a space, as in ``{echo,aWQ=}|{base64,-d}``."""
_ONE = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|0?([0-7]{3}))")
_DECODE_FLAG = re.compile(r"(?:^|\s)(?:-[a-zA-Z]*[dD][a-zA-Z]*|--decode)\b")
_PLAIN_FLAG = re.compile(r"\s-(?:r|p|ps|rp|pr|rps|psr|r\s+-ps?|ps?\s+-r)\b")


def decoded_texts(line: str, limit: int) -> tuple[list[str], bool]:
    """Decoded texts in ``line`` and whether more than ``limit`` characters of them were cut."""
    if not _MARK.search(line) and not _feeds_a_shell(line):
        return [], False
    if "{" in line:
        line = _BRACES.sub(lambda match: match[1].replace(",", " "), line)
    out: dict[str, None] = {}
    room = limit
    for count, text in enumerate(_candidates(line)):
        if count >= MAX_TEXTS:
            return list(out), True
        if not text or text in out:
            continue
        if len(text) > room:
            return [*out, text[:room]] if room else list(out), True
        out[text] = None
        room -= len(text)
    return list(out), False


def _feeds_a_shell(line: str) -> bool:
    """Whether it is worth while to look for text that a shell is given."""
    bar = line.find("|")
    return bar > 0 and "sh" in line[bar:] and ("echo" in line or "printf" in line)


def _candidates(line: str) -> Iterator[str]:
    if "base64" in line or "xxd" in line or "openssl" in line:
        for match in _PIPED.finditer(line):
            yield _decode(_unquote(match["arg"]), match["tool"]) or ""
        for match in _HERE.finditer(line):
            tool = _TOOL.search(line[max(0, match.start() - _TOOL_CHARS) : match.start()])
            yield (_decode(_unquote(match["arg"]), tool.group()) or "") if tool else ""
    if _feeds_a_shell(line):
        for match in _TO_SHELL.finditer(line):
            yield next(filter(None, match.groups()), "")
    if "\\" in line:
        for match in _ESCAPES.finditer(line):
            if _ONE.search(match.group()):
                yield _unescape(match.group())
                argument = _ARGUMENT.match(match.group())
                yield _unescape(next(filter(None, argument.groups()), "")) if argument else ""


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
