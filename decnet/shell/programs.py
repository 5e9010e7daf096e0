"""What well-known programs do with files, as their words say it: where what they fetch goes, what they unpack.

Sources: the manual pages of wget, curl, busybox (tftp, ftpget), scp, tar, unzip, gcc and chmod.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from decnet.shell.wrappers import SHELLS

_URL = re.compile(r"(?i)(?:https?|ftps?|tftp)://(?P<rest>\S+)")
_HOST_PATH = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}|[\w-]+(?:\.[\w-]+)+)(?::\d+)?/\S+\Z")
_REMOTE = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!//)\S*\Z")
INTERPRETERS = frozenset(
    {"perl", "python", "python2", "python3", "php", "ruby", "node", "lua", "tclsh", "awk"}
)
RUNNERS = SHELLS | INTERPRETERS | {".", "source"}
EXTRACTORS = frozenset(
    {
        "tar",
        "unzip",
        "gunzip",
        "gzip",
        "bunzip2",
        "xz",
        "unxz",
        "7z",
        "7za",
        "7zr",
        "cpio",
        "unrar",
        "zcat",
        "uncompress",
    }
)
COMPILERS = frozenset({"gcc", "cc", "g++", "c++", "clang", "tcc", "musl-gcc"})
RECON = frozenset(
    {
        "uname", "nproc", "lscpu", "free", "w", "who", "id", "whoami", "ps", "df", "ifconfig", "ip", "netstat", "ss",
        "hostname", "uptime", "last", "lspci", "dmidecode", "top", "lsblk", "mount", "arch", "history", "groups", "pwd",
    }
)  # fmt: skip
"""Programs that tell about the machine, and change nothing as they are called here."""
_CURL_TAKES = frozenset(
    {"-A", "-H", "-d", "-e", "-u", "-x", "-X", "-b", "-c", "-m", "-F", "-T", "--retry", "--connect-timeout", "--max-time", "--user-agent"}
)  # fmt: skip
_WGET_TAKES = frozenset(
    {"-U", "-t", "-T", "-w", "-o", "-a", "-e", "--user-agent", "--tries", "--timeout", "--header"}
)


class Fetch(NamedTuple):
    """What a program fetches: the file it makes (empty: standard output) and from where."""

    name: str
    source: str


def _base(url: str) -> str:
    found = _URL.match(url)
    rest = (found["rest"] if found else url).split("?", 1)[0].split("#", 1)[0]
    return posixpath.basename(rest.rstrip("/")) if "/" in rest else ""


def _urls(words: Iterable[str]) -> list[str]:
    return [
        w for w in words if not w.startswith("-") and (_URL.match(w) or _HOST_PATH.match(w) or "://" in w)
    ]


def _option(words: Sequence[str], *names: str) -> str:
    """The value of an option, written apart or together; empty when it is not there."""
    for i, word in enumerate(words):
        for name in names:
            if word == name:
                return words[i + 1] if i + 1 < len(words) else ""
            if name.startswith("--") and word.startswith(name + "="):
                return word[len(name) + 1 :]
            short = not name.startswith("--") and not word.startswith("--") and word.startswith("-")
            if short and len(word) > 2 and name[1] in word[1:]:
                head, _, value = word[1:].partition(name[1])
                if head.isalpha() or not head:
                    return value or (words[i + 1] if i + 1 < len(words) else "")
    return ""


def _plain(words: Sequence[str], takes: frozenset[str] = frozenset()) -> list[str]:
    """Words that are neither options nor the values of some."""
    out, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in takes:
            skip = True
        elif not word.startswith("-"):
            out.append(word)
    return out


def fetches(name: str, words: Sequence[str]) -> list[Fetch]:
    """What ``name`` with the arguments ``words`` brings here; empty when it is no fetch."""
    maker = _FETCHERS.get(name)
    return maker(words) if maker else []


def _wget(words: Sequence[str]) -> list[Fetch]:
    urls = _urls(_plain(words, _WGET_TAKES | {"-O", "-P"})) or _plain(words, _WGET_TAKES | {"-O", "-P"})[:1]
    target, folder = _option(words, "-O", "--output-document"), _option(words, "-P", "--directory-prefix")
    if target:
        return [Fetch("" if target == "-" else target, url) for url in urls[:1]]
    return [Fetch(posixpath.join(folder, _base(url) or "index.html"), url) for url in urls]


def _curl(words: Sequence[str]) -> list[Fetch]:
    if any(w.startswith(("-T", "--upload-file")) for w in words):
        return []
    urls = _urls(_plain(words, _CURL_TAKES | {"-o"}))
    target = _option(words, "-o", "--output")
    named = any(w == "--remote-name" or re.fullmatch(r"-[A-Za-z]*O[A-Za-z]*", w) for w in words)
    if target:
        return [Fetch("" if target == "-" else target, url) for url in urls[:1]]
    return [Fetch(_base(url) if named else "", url) for url in urls]


def _tftp(words: Sequence[str]) -> list[Fetch]:
    remote, local = _option(words, "-r"), _option(words, "-l")
    plain = _plain(words, frozenset({"-r", "-l", "-b", "-c"}))
    host = plain[0] if plain else ""
    if "get" in words:
        names = [w for w in words[words.index("get") + 1 :] if not w.startswith("-")]
        return [Fetch(posixpath.basename(names[-1]), f"{host}/{names[0]}")] if names else []
    if remote or local:
        return [Fetch(local or posixpath.basename(remote), f"{host}/{remote or local}")]
    return []


def _ftpget(words: Sequence[str]) -> list[Fetch]:
    plain = _plain(words, frozenset({"-u", "-p", "-P"}))
    return [Fetch(plain[1], f"{plain[0]}/{plain[-1]}")] if len(plain) > 1 else []


def _copied_here(words: Sequence[str]) -> list[Fetch]:
    """``scp`` and ``rsync`` from another host."""
    plain = _plain(words, frozenset({"-P", "-i", "-o", "-l", "-c", "-F", "-e"}))
    if len(plain) < 2 or not all(_REMOTE.match(w) for w in plain[:-1]) or _REMOTE.match(plain[-1]):
        return []
    target = plain[-1]
    folder = target in (".", "./") or target.endswith("/")
    return [Fetch(posixpath.join(target, posixpath.basename(w)) if folder else target, w) for w in plain[:-1]]


def _git(words: Sequence[str]) -> list[Fetch]:
    plain = _plain(words)
    if plain[:1] != ["clone"] or len(plain) < 2:
        return []
    return [Fetch(plain[2] if len(plain) > 2 else _base(plain[1]).removesuffix(".git"), plain[1])]


def _ftp(words: Sequence[str]) -> list[Fetch]:
    urls = [w for w in _plain(words) if _URL.match(w)]
    return [Fetch(_base(url), url) for url in urls]


_FETCHERS = {
    "wget": _wget,
    "curl": _curl,
    "tftp": _tftp,
    "atftp": _tftp,
    "ftpget": _ftpget,
    "scp": _copied_here,
    "rsync": _copied_here,
    "git": _git,
    "fetch": _curl,
    "aria2c": _wget,
    "axel": _wget,
    "lwp-download": _wget,
    "ftp": _ftp,
    "lftp": _ftp,
}


def scp_sink(words: Sequence[str]) -> str | None:
    """Where ``scp -t`` puts what the client sends; None when it is none."""
    options = [w for w in words if w.startswith("-") and not w.startswith("--")]
    if not any("t" in w[1:] for w in options) or any("f" in w[1:] for w in options):
        return None
    plain = _plain(words)
    return plain[-1] if plain else "."


def grants_running(words: Sequence[str]) -> bool:
    """Whether the mode of a ``chmod`` lets somebody run the file."""
    mode = next((w for w in words if not w.startswith("-") or re.match(r"-[rwx]+\Z", w)), "")
    if re.fullmatch(r"[0-7]{3,4}", mode):
        return any(int(digit) & 1 for digit in mode[-3:])
    return bool(re.search(r"[+=][rwXst]*x", mode))


def compiled_to(words: Sequence[str]) -> tuple[list[str], str]:
    """Sources of a compiler's call, and what it makes."""
    sources = [w for w in words if re.search(r"\.(?:c|cc|cpp|cxx|C|S|s|go)\Z", w)]
    target = _option(words, "-o")
    if not target and "-c" in words and sources:
        target = re.sub(r"\.\w+\Z", ".o", posixpath.basename(sources[0]))
    return sources, target or "a.out"


def extracted_to(name: str, words: Sequence[str]) -> tuple[list[str], str]:
    """Archives of a call that unpacks, and where to; no archives when it does something else."""
    if name == "tar":
        return _untar(words)
    plain = _plain(words, frozenset({"-d", "-C"}))
    if name == "gzip" and not any(re.fullmatch(r"-[a-z]*d[a-z]*", w) for w in words):
        return [], "."
    if name in ("7z", "7za", "7zr", "unrar"):
        plain = plain[1:] if plain[:1] in (["x"], ["e"]) else []
    return plain[:1], _option(words, "-d") if name == "unzip" else "."


def _untar(words: Sequence[str]) -> tuple[list[str], str]:
    flags = words[0] if words else ""
    letters = flags if not flags.startswith("--") else ""
    if "x" not in letters and "--extract" not in words and "-x" not in words:
        return [], "."
    plain = [w for w in _plain(words[1:], frozenset({"-C", "-f"})) if w != letters]
    archive = _option(words[1:], "-f", "--file") or (plain[0] if plain else "")
    return ([archive] if archive and archive != "-" else []), _option(words, "-C", "--directory") or "."
