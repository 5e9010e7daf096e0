"""What well-known programs do with files, as their words say it: where what they fetch goes, what they unpack.

Sources: the manual pages of wget, curl, busybox (tftp, ftpget), scp, tar, unzip, gcc and chmod.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from decnet.shell.inline import given_text, inline_fetch
from decnet.shell.known import COMMANDS
from decnet.shell.wrappers import SHELLS

_LFTP_GETS = re.compile(r"\b(?:p?get|mget)\s+(?:-c\s+)?([^\s;-]\S*?)(?:\s+-o\s+(\S+?))?\s*(?:;|$)")
_URL = re.compile(r"(?i)(?:https?|ftps?|tftp)://(?P<rest>\S+)")
_HOST_PATH = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}|[\w-]+(?:\.[\w-]+)+)(?::\d+)?/\S+\Z")
_REMOTE = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!//)\S*\Z")
_LOOPBACK = re.compile(r"(?i)(?:\w+://)?(?:127\.|localhost\b|\[::1\])")
"""What comes from here was here before."""
INTERPRETERS = frozenset(
    {"perl", "python", "python2", "python3", "php", "ruby", "node", "lua", "tclsh", "awk"}
)
RUNNERS = SHELLS | INTERPRETERS | {".", "source"}
_LOADER = re.compile(r"ld(?:-linux|-musl|-uClibc)?[\w.-]*\.so(?:\.\d+)?\Z")
EXTRACTORS = frozenset(
    {
        "tar",
        "unzip",
        "gunzip",
        "gzip",
        "bunzip2",
        "bzip2",
        "xz",
        "unxz",
        "lzma",
        "unlzma",
        "zstd",
        "unzstd",
        "7z",
        "7za",
        "7zr",
        "cpio",
        "unrar",
        "zcat",
        "uncompress",
    }
)
COMPILERS = frozenset(
    {"gcc", "cc", "g++", "c++", "clang", "tcc", "musl-gcc", "go", "rustc", "javac", "nasm", "as"}
)
BUILDERS = frozenset({"make", "gmake", "cmake", "ninja", "cargo"})
NO_BUILD = frozenset(
    {"install", "uninstall", "check", "test", "clean", "distclean", "help", "-n", "--dry-run"}
)
"""What a builder is asked for when it makes nothing."""
"""What compiles the sources of the directory it is in."""
EDITORS = frozenset({"vi", "vim", "nano", "ed", "emacs", "pico", "joe"})
UNIT_TOOLS = frozenset({"systemctl", "service", "update-rc.d", "chkconfig", "rc-update", "insserv"})
"""Their words are names of units; the file of one has an ending."""
PASSES_ON = frozenset(
    {
        "cat",
        "tee",
        "gunzip",
        "zcat",
        "gzip",
        "xz",
        "bzip2",
        "sed",
        "tr",
        "rev",
        "head",
        "tail",
        "grep",
        "awk",
        "cut",
    }
)
"""Filters: what they write is what they read, in another shape."""
PACKERS = frozenset({"gzip", "bzip2", "xz", "lzma", "zstd"})
"""Programs that unpack only when they are told to; with an archive of one file, which loses its ending."""
UNPACKERS = PACKERS | {"gunzip", "bunzip2", "unxz", "unlzma", "unzstd"}
TAKES_IN = RUNNERS | EXTRACTORS | {"tee", "dd", "base64", "xxd", "openssl", "xargs", "install", "crontab"}
"""Programs that make something of what a pipe brings them, beside showing it."""
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


def runs_others(name: str) -> bool:
    """Whether a program runs the file that is its first word: shells, interpreters, the loader of libraries."""
    return name in RUNNERS or bool(_LOADER.match(name))


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


def value_of(words: Sequence[str], *names: str) -> str:
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
    return [one for one in maker(words) if not _LOOPBACK.match(one.source)] if maker else []


def _wget(words: Sequence[str]) -> list[Fetch]:
    plain = _plain(words, _WGET_TAKES | {"-O", "-P"})
    urls = _urls(plain) or [word for word in plain[:1] if re.search(r"[.:$]", word)]
    target, folder = value_of(words, "-O", "--output-document"), value_of(words, "-P", "--directory-prefix")
    if target:
        return [Fetch("" if target == "-" else target, url) for url in urls[:1]]
    return [Fetch(posixpath.join(folder, _base(url) or "index.html"), url) for url in urls]


def _to_named(words: Sequence[str]) -> list[Fetch]:
    """Programs whose ``-o`` names the file."""
    urls = _urls(_plain(words, frozenset({"-o", "--out", "--output", "-d", "--dir", "-n", "-s", "-x"})))
    target, folder = value_of(words, "-o", "--out", "--output"), value_of(words, "-d", "--dir")
    return [Fetch(posixpath.join(folder, target or _base(url) or "index.html"), url) for url in urls[:1]]


def mirrored(words: Sequence[str]) -> list[str]:
    """The directories into which a recursive ``wget`` puts what it fetches: of the host, of the path's first part."""
    if not any(re.fullmatch(r"-[A-Za-z]*[rm][A-Za-z]*|--recursive|--mirror", w) for w in words):
        return []
    folder = value_of(words, "-P", "--directory-prefix")
    found: list[str] = []
    for url in _urls(_plain(words, _WGET_TAKES | {"-O", "-P"})):
        host, *parts = url.rpartition("://")[2].split("/")
        found += [posixpath.join(folder, part) for part in (host, *parts[:1]) if part]
    return found


def found_by_name(words: Sequence[str]) -> tuple[list[str], str]:
    """The names that a ``find`` looks for, and the program that it runs on what it finds (empty: none)."""
    names = [b for a, b in pairwise(words) if a in ("-name", "-iname", "-path")]
    runs = [b for a, b in pairwise(words) if a in ("-exec", "-execdir", "-ok", "-okdir")]
    return names, runs[0] if runs and "{}" in words else ""


def _curl(words: Sequence[str]) -> list[Fetch]:
    if any(w.startswith(("-T", "--upload-file")) for w in words):
        return []
    urls = _urls(_plain(words, _CURL_TAKES | {"-o"}))
    target = value_of(words, "-o", "--output")
    named = any(w == "--remote-name" or re.fullmatch(r"-[A-Za-z]*O[A-Za-z]*", w) for w in words)
    if target:
        return [Fetch("" if target == "-" else target, url) for url in urls[:1]]
    return [Fetch(_base(url) if named else "", url) for url in urls]


def _tftp(words: Sequence[str]) -> list[Fetch]:
    remote, local = value_of(words, "-r"), value_of(words, "-l")
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
    if plain[:1] != ["clone"] or len(plain) < 2 or not re.search(r"://|^[\w.@-]+:|\$", plain[1]):
        return []
    return [Fetch(plain[2] if len(plain) > 2 else _base(plain[1]).removesuffix(".git"), plain[1])]


def _ftp(words: Sequence[str]) -> list[Fetch]:
    urls = [w for w in _plain(words) if _URL.match(w)]
    return [Fetch(_base(url), url) for url in urls]


def _lftp(words: Sequence[str]) -> list[Fetch]:
    """``lftp`` with its commands as one argument; what they name is relative to the host that they or the words name."""
    script = value_of(words, "-c", "-e")
    host = next((w for w in _plain(words, frozenset({"-c", "-e", "-u", "-p"}))), "")
    got = [(found[1], found[2] or _base(found[1])) for found in _LFTP_GETS.finditer(script)]
    return [Fetch(name, what if _URL.match(what) else f"{host}/{what}") for what, name in got] or _ftp(words)


def _inline(words: Sequence[str]) -> list[Fetch]:
    """An interpreter that is given a text which fetches."""
    found = inline_fetch(given_text(words))
    return [Fetch(*found)] if found else []


def _stdout(words: Sequence[str]) -> list[Fetch]:
    """Programs that only print what they fetch."""
    return [Fetch("", url) for url in _urls(words)[:1]]


_FETCHERS = dict.fromkeys(INTERPRETERS - {"awk"}, _inline) | {
    "wget": _wget,
    "curl": _curl,
    "tftp": _tftp,
    "atftp": _tftp,
    "ftpget": _ftpget,
    "scp": _copied_here,
    "rsync": _copied_here,
    "git": _git,
    "fetch": _curl,
    "aria2c": _to_named,
    "axel": _to_named,
    "lwp-download": _wget,
    "ftp": _ftp,
    "lftp": _lftp,
    "lynx": _stdout,
    "links": _stdout,
    "w3m": _stdout,
    "GET": _stdout,
    "lwp-request": _stdout,
}
_READERS = frozenset({"cat", "base64", "xxd", "gunzip", "zcat", "gzip", "xz", "unxz", "bunzip2", "uudecode"})
"""Programs that read their standard input when they are given no file."""


def read_from_host(name: str, words: Sequence[str]) -> list[Fetch]:
    """``ssh host 'cat file'``, whose output goes to a file here."""
    said = " ".join(words).split()
    reads = name == "ssh" and any(word in ("cat", "dd", "tar", "base64", "gzip") for word in said)
    return [Fetch("", said[0])] if reads else []


def receiver(name: str, words: Sequence[str], target: str) -> str:
    """The file that a command fed by nobody fills with the client's bytes; empty when it is none.

    ``target`` is the file that its output goes to.
    """
    plain = [word for word in words if not word.startswith("-") and word != "/dev/stdin"]
    if name == "tee":
        return plain[0] if plain else ""
    if name == "dd" and not any(word.startswith("if=") for word in words):
        return next((word[3:] for word in words if word.startswith("of=")), "")
    reads = not plain if name in _READERS else name == "head" and "-c" in words and len(plain) == 1
    return target if reads else ""


def copied_program(words: Sequence[str]) -> tuple[str, str]:
    """The program of the system that ``cp``, ``mv`` or ``ln`` gives another name, and the name; empty for none."""
    plain = _plain(words)
    if len(plain) != 2 or not re.match(r"/(?:usr/(?:local/)?)?s?bin/", plain[0]):
        return "", ""
    program, target = posixpath.basename(plain[0]), plain[1]
    if program not in COMMANDS and program not in _FETCHERS and program not in RUNNERS:
        return "", ""
    return program, posixpath.join(target, program) if target.endswith(("/", ".")) else target


def made_by(name: str, words: Sequence[str]) -> list[str]:
    """The files and directories that ``touch``, ``mkdir`` or an editor make, by their names."""
    if name == "touch" and any(re.match(r"-\w*[rtd]|--", word) for word in words):
        return []  # times of files that are there
    return [word for word in words if not word.startswith(("-", "+")) and "$" not in word]


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
    sources = [w for w in words if re.search(r"\.(?:c|cc|cpp|cxx|C|S|s|go|rs|asm|java)\Z", w)]
    target = value_of(words, "-o")
    if not target and "-c" in words and sources:
        target = re.sub(r"\.\w+\Z", ".o", posixpath.basename(sources[0]))
    return sources, target or "a.out"


def named_after_source(name: str, words: Sequence[str]) -> str:
    """What a compiler makes that names it after the source (go, rustc); empty for others."""
    sources, _ = compiled_to(words)
    if name not in ("go", "rustc") or not sources or value_of(words, "-o"):
        return ""
    return posixpath.splitext(posixpath.basename(sources[0]))[0]


def untars_input(name: str, words: Sequence[str]) -> bool:
    """Whether a call unpacks its standard input."""
    if name == "tar":
        letters = _tar_letters(words)
        archive = value_of(words, "-f", "--file")
        named = archive or ("f" in letters and not words[0].startswith("-"))
        return ("x" in letters or "--extract" in words) and (not named or archive == "-" or "-" in words)
    return name == "cpio" and any(re.match(r"-\w*i", w) for w in words) and not value_of(words, "-F")


def extracted_to(name: str, words: Sequence[str]) -> tuple[list[str], str]:
    """Archives of a call that unpacks, and where to; no archives when it does something else."""
    if name == "tar":
        return _untar(words)
    plain = _plain(words, frozenset() if name in UNPACKERS else frozenset({"-d", "-C"}))
    if name in PACKERS and not any(re.fullmatch(r"-[a-z]*d[a-z]*|--(?:de|un)compress", w) for w in words):
        return [], "."
    if name in ("7z", "7za", "7zr", "unrar"):
        plain = plain[1:] if plain[:1] in (["x"], ["e"]) else []
    return plain[:1], value_of(words, "-d") if name == "unzip" else "."


def _untar(words: Sequence[str]) -> tuple[list[str], str]:
    letters = _tar_letters(words)
    if "x" not in letters and "--extract" not in words:
        return [], "."
    plain = [w for w in _plain(words, frozenset({"-C", "-f"})) if w != words[0] or words[0].startswith("-")]
    archive = value_of(words, "-f", "--file") or (plain[0] if plain else "")
    return ([archive] if archive and archive != "-" else []), value_of(words, "-C", "--directory") or "."


def _tar_letters(words: Sequence[str]) -> str:
    """The short options of ``tar``; the first word may do without its hyphen."""
    first = words[0] if words and not words[0].startswith("-") else ""
    return first + "".join(w[1:] for w in words if re.match(r"-[A-Za-z]+\Z", w))
