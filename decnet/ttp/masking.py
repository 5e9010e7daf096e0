"""Passwords out of texts that are kept as evidence. Knows where tools take them; the rest of a text stays as it was.

Linear in time, since the text is an attacker's. What may stand in evidence at all is for
:mod:`decnet.ttp.evidence`; credentials that the decoys captured themselves never come here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Any

import re2

from decnet.patterns import options

_VALUE = r"""('[^'\n]{1,200}'|"[^"\n]{1,200}"|[^\s'"|;&<>]{1,200})"""
_REST = r"[^;|\n]*?\s"
_TO_SUDO = r"\s*\|\s*(?:\S*/)?(?:sudo\s+(?:-\w+\s+)*)?(?:\S*/)?"
_PLACES = (
    r"(://[^\s/:@]{0,200}:)([^\s/@]{1,200})(@)",
    r"(\b[\w.$-]{1,64}:)([^\s@/:'\"]{1,100})(@[\w.-]+)",
    r"(?i)((?:passw(?:or)?d|pass|pwd|secret|token|api_?key|access_?key)\w{0,20}=)" + _VALUE + "()",
    r"(?i)((?:passw(?:or)?d|pass|pwd|secret|token|api_?key)[\"']?\s{0,2}:\s{0,2})" + _VALUE + "()",
    r"(?i)(\s--?(?:\w{1,20}-)?(?:passw(?:or)?d|pass|passphrase|token|secret|auth-?token|auth-?key)[ =]+)"
    + _VALUE
    + "()",
    r"(?i)((?:authorization|x-[\w-]{1,20}(?:key|token)|api-key):\s*(?:(?:bearer|basic|token|digest)\s+)?)([^\s'\"|;]{1,500})()",
    r"(\bsshpass\s+-p\s*)" + _VALUE + "()",
    r"([\w.-]{1,64}:)([^\s|'\"\\]{1,200})((?:\\n)?['\"]?" + _TO_SUDO + r"chpasswd\b)",
    r"(\bchpasswd\b[^;|&\n]*?<<<?\s*['\"]?(?:\w+\s+)?[\w.-]{1,64}:)([^\s'\"]{1,200})()",
    r"((?:echo|printf)\s+(?:-\w+\s+)*)([^|;\n]{1,300}?)(" + _TO_SUDO + r"passwd\b)",
    r"((?:echo|printf)\s+(?:-\w+\s+)*)([^|;\n]{1,300}?)(\s*\|\s*(?:\S*/)?sudo\s+(?:-\w+\s+)*-\w*S\b)",
    r"(\bpasswd\b[^;|&\n<]{0,100}<<<\s*)" + _VALUE + "()",
    r"(\b(?:mysql|mariadb)\w{0,20}\s(?:" + _REST + r")?-p)" + _VALUE + "()",
    r"(\b(?:curl|wget)\s(?:"
    + _REST
    + r")?(?:-[uU]\s*|--(?:proxy-)?user[ =])['\"]?[^\s:'\"]{1,100}:)([^\s'\"|;]{1,200})()",
    r"(\b(?:useradd|usermod|adduser)\s(?:" + _REST + r")?-p\s*)" + _VALUE + "()",
    r"(\bopenssl\s+passwd(?:\s+-(?:salt\s+\S+|\w+))*\s+)" + _VALUE + "()",
    r"(\bopenssl\s(?:" + _REST + r")?(?:-[kK]\s+|-pass(?:in|out)?\s+\w+:))" + _VALUE + "()",
    r"(\b(?:zip|unzip|sqlcmd|bcp)\s(?:" + _REST + r")?-P\s*)" + _VALUE + "()",
    r"(\b(?:7z[ar]?|u?n?rar|hydra|medusa|nxc|netexec|cme|crackmapexec|evil-winrm|mongo\w*|ftpget|ftpput|ncftp\w*|\w*rig|minerd|smbmap|(?:docker|podman|az|oc)\s+login)\s(?:"
    + _REST
    + r")?-p\s*)"
    + _VALUE
    + "()",
    r"(\b(?:redis-cli\s(?:" + _REST + r")?-a|ldap\w+\s(?:" + _REST + r")?-w)\s+)" + _VALUE + "()",
    r"(\s-U\s*['\"]?[^\s%'\"]{1,100}%)([^\s'\"]{1,200})()",
    r"(\bhtpasswd\s+(?:-\w+\s+)*-\w*b\w*\s+(?:-\w+\s+)*\S+\s+\S+\s+)" + _VALUE + "()",
    r"(\bnet\s+user\s+\S+\s+)([^\s/]\S{0,200})()",
)
"""Before, secret, behind."""
_SHOWN = "***"
_OURS = frozenset({"field", "view", "span"})
"""Words of the engine, not the attacker's."""
_LINE_ENDS = re.compile(r"\\[nr]")
"""Written out between two lines of one text: a password that is typed twice, or an old and a new one."""
_SHORT = 4
"""Shorter secrets are hidden as words only: one letter is part of everything."""


_HINT = re2.compile(
    r"(?i)pass|pwd|secret|token|key[\"']?\s{0,2}[:=]|authorization|:[^\s@:]{1,200}@|\s-\w*[pu]|-user[ =]|\s-[awk]\s"
    r"|sudo\s+-|net\s+user",
    options=options(),
)
"""What every place needs: most texts hold none of it, and one search costs less than all of them."""


@cache
def _pattern(number: int) -> Any:
    """The pattern of a place, compiled when a text first holds it."""
    return re2.compile(_PLACES[number], options=options())


@cache
def _hints() -> Any:
    """Which places a text may hold, by one search; made for the first text that may hold any."""
    hints = re2.Filter()
    for pattern in _PLACES:
        hints.Add(pattern, options())
    hints.Compile()
    return hints


@lru_cache(maxsize=1024)
def _places(text: str) -> tuple[int, ...]:
    """Numbers of the places that ``text`` holds."""
    return tuple(sorted(_hints().Match(text) or ())) if _HINT.search(text) is not None else ()


def masked(text: str) -> str:
    """``text`` without the passwords that stand in known places: URLs, options, assignments, pipes to passwd."""
    for number in _places(text):
        text = _pattern(number).sub(rf"\1{_SHOWN}\3", text)
    return text


@lru_cache(maxsize=512)
def secrets_in(text: str) -> tuple[str, ...]:
    """The passwords in known places of ``text``, longest first."""
    found: set[str] = set()
    for number in _places(text):
        for match in _pattern(number).finditer(text):
            whole = match.group(2).strip().strip("'\"")
            found.update((whole, *_LINE_ENDS.split(whole)))
    return tuple(sorted(found - {"", _SHOWN}, key=lambda secret: (-len(secret), secret)))


def without(secrets: Iterable[str], text: str) -> str:
    """``text`` without those secrets, wherever they stand."""
    for secret in secrets:
        if len(secret) >= _SHORT:
            text = text.replace(secret, _SHOWN)
        else:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _SHOWN, text)
    return text


def concealed(why: Mapping[str, Any], whole: str) -> dict[str, Any]:
    """``why`` without the passwords of the whole text: a matched part may not show what makes one a password."""
    secrets = secrets_in(whole)
    if not secrets:
        return dict(why)
    return {name: value if name in _OURS else _hidden(secrets, value) for name, value in why.items()}


def _hidden(secrets: tuple[str, ...], value: Any) -> Any:
    if isinstance(value, str):
        return without(secrets, value)
    if isinstance(value, (list, tuple)):
        return [_hidden(secrets, item) for item in value]
    return value
