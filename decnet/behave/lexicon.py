"""What kinds of tools there are: program names and a few shapes of command lines.

Patterns run in linear time (re2): the lines are attackers'. Only classes come out of here; which command it was stays in this process. Judging techniques is
left to the rules of ``decnet.ttp``; these classes are as coarse as the registry's labels.
"""

from __future__ import annotations

import re

import re2

_GROUPS = {
    "identity": "whoami id groups who w last lastlog users finger getent logname",
    "system": "uname hostname hostnamectl lsb_release uptime dmesg lscpu lspci lsusb lsmod nproc dmidecode "
    "arch free df lsblk mount fdisk sysctl env printenv set date locale nvidia-smi cpuinfo getconf ver",
    "network": "ifconfig ip netstat ss route arp iwconfig nslookup dig host ping traceroute resolvectl iptables",
    "process": "ps top htop lsof pstree pgrep systemctl service jobs docker crontab",
    "files": "ls dir cat head tail more less find locate which whereis stat file du pwd cd grep egrep wc tree "
    "strings md5sum sha256sum readlink awk sort history type",
    "collection": "tar zip 7z gzip mysqldump pg_dump sqlite3 rsync",
}
GROUP_OF: dict[str, str] = {name: group for group, names in _GROUPS.items() for name in names.split()}
"""Exploring and collecting tools and what they look at; registry: recon is enumeration and data collection."""
LANDING = frozenset(
    [
        "whoami",
        "id",
        "uname",
        "hostname",
        "ip",
        "ifconfig",
        "w",
        "who",
        "pwd",
        "uptime",
        "ps",
        "lscpu",
        "nproc",
    ]
)
"""registry (temporal.lifecycle_markers.landing_ritual): whoami → id → uname -a → hostname → ip addr."""
LEAVING = frozenset({"exit", "logout", "quit", "bye"})
HELP_TOOLS = frozenset({"man", "info", "apropos", "whatis", "tldr", "help"})
_HUMAN_SIZES = frozenset(["ls", "df", "du", "free", "sort", "tree", "ps", "top", "head", "tail", "grep"])
"""Tools whose -h is no call for help."""
FETCHERS = frozenset(["wget", "curl", "tftp", "ftp", "ftpget", "lwp-download", "aria2c", "fetch"])
LATERAL = frozenset(
    [
        "ssh",
        "sshpass",
        "nmap",
        "masscan",
        "zmap",
        "hydra",
        "medusa",
        "ncrack",
        "rsh",
        "rlogin",
        "ssh-keyscan",
        "proxychains",
        "proxychains4",
        "smbclient",
        "crackmapexec",
        "psexec.py",
        "wmiexec.py",
        "fscan",
        "chisel",
        "socat",
    ]
)
PERSISTERS = frozenset(
    [
        "useradd",
        "adduser",
        "usermod",
        "chpasswd",
        "passwd",
        "update-rc.d",
        "chkconfig",
        "ssh-keygen",
        "at",
        "chattr",
    ]
)
DESTROYERS = frozenset(
    [
        "mkfs",
        "mkfs.ext4",
        "mkfs.ext3",
        "wipefs",
        "shred",
        "shutdown",
        "reboot",
        "halt",
        "poweroff",
        "mkswap",
        "cryptsetup",
    ]
)
_PERSIST = re2.compile(
    r"authorized_keys|/etc/cron|/var/spool/cron|rc\.local|/etc/init\.d/|systemctl\s+(?:--now\s+)?enable|"
    r"/etc/systemd/system|/etc/ld\.so\.preload|>>?\s*(?:~|/root|/home/[^/\s]+)/\.(?:bashrc|profile|bash_profile)|"
    r"\|\s*crontab\b|crontab\s+[^-\s]"
)
_DESTROY = re2.compile(
    r"\bdd\s[^|;&]*of=/dev/|>\s*/dev/[sv]d|\brm\s+-[a-zA-Z]*[rR][a-zA-Z]*\s+(?:--no-preserve-root\s+)?/(?:\s|\*|\z)|"
    r"\brm\s+-[a-zA-Z]*[rR][a-zA-Z]*\s+/(?:etc|home|boot|usr|bin|var|lib)/?(?:\s|\z)|\bopenssl\s+enc\b|:\(\)\s*\{"
)
_EXFIL = re2.compile(
    r"\bcurl\b[^|;&]*(?:\s-T\b|\s-F\b|--upload-file|--data-binary|--form\b|\s-d\s*@|--data\s*@)|"
    r"\bwget\b[^|;&]*--post-(?:file|data)|\bscp\b[^|;&]*\s\S+@?[\w.-]+:\S*\s*\z|"
    r"\brsync\b[^|;&]*\s\S+:\S*\s*\z|\b(?:nc|ncat)\b[^|;&]*<\s*\S|\|\s*(?:nc|ncat)\s|"
    r"\|\s*curl\b[^|;&]*@-|\btftp\b[^|;&]*\s-p\b"
)
_HISTORY_OFF = re2.compile(
    r"unset\s[^;|&]*HIST|HISTFILE=(?:/dev/null|[\s;]|\z)|HISTSIZE=0|HISTFILESIZE=0|HISTCONTROL=ignore|"
    r"set\s+\+o\s+history|history\s+-c|history\s+-w\s+/dev/null|\.(?:bash|ash|zsh)_history\b"
)
_LOGS = re2.compile(
    r"(?:\brm\b|\bshred\b|\btruncate\b|>|\bsed\s+-i|\becho\b|\bcp\s+/dev/null)[^;|&]*(?:/var/log|wtmp|utmp|btmp|lastlog)"
)
_REMOVES = re2.compile(r"(?:\A|[;&|]\s*)(?:sudo\s+)?(?:rm|shred|unlink)\s([^;|&]+)")
_MADE = re2.compile(
    r"\bwget\b[^;|&]*?\s-O\s*(\S+)|\bcurl\b[^;|&]*?\s-o\s*(\S+)|[^>&0-9]>>?\s*([^\s;|&<>()]+)|"
    r"\b(?:mkdir|touch)\s+(?:-\S+\s+)*([^\s;|&]+)|\bt(?:ar|ftp)\b[^;|&]*?(?:cz?v?j?f|-l)\s+(\S+)|"
    r"\b(?:cp|mv)\s+(?:-\S+\s+)*\S+\s+([^\s;|&]+)"
)
_FETCHED = re2.compile(r"\b(?:wget|curl\s+(?:-\S+\s+)*-\S*O\S*)\s(?:-\S+\s+)*\S*/([^\s/;|&?]+)")
_QUOTED = re2.compile(r"(?s)\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"")
_CHAIN = re2.compile(r"\|\||&&|[;&\n]")
_NOISE = re2.compile(r"https?://\S+|\d+(?:\.\d+){3}(?::\d+)?|[0-9a-fA-F]{16,}|\d+")
_POWERSHELL = re2.compile(r"(?i)\b(?:get|set|new|invoke|start|stop|remove)-[a-z]{3,}\b|\$env:|\bpowershell\b")
_CMD_EXE = re2.compile(
    r"(?i)%(?:temp|appdata|userprofile|comspec|systemroot)%|\bcmd(?:\.exe)?\s+/c|\bdir\s+/[a-z]\b|\bipconfig\b"
)
_ZSH = re2.compile(r"\bsetopt\s|\bzmodload\s|\bautoload\s+-U|\bbindkey\s|\.zshrc\b|\$\{\(\w\)")
_FISH = re2.compile(r"\bset\s+-(?:x|gx|U)\s|;\s*and\s|;\s*or\s|\bfish_|\bstring\s+(?:match|replace)\s")
_BASH = re2.compile(
    r"\[\[\s|\bshopt\s|<\(|\$'|&>|\bset\s+-o\s+vi\b|\.bashrc\b|\$\{BASH|\bhistory\s+-c\b|<<<|\w\+=\(|\w=\([^)]*\)"
)
SHELL_MARKS = (
    ("powershell", _POWERSHELL),
    ("cmd.exe", _CMD_EXE),
    ("fish", _FISH),
    ("zsh", _ZSH),
    ("bash", _BASH),
)
"""What each shell alone writes; the first that matches counts for a line."""
SET_VI = re2.compile(r"\bset\s+-o\s+vi\b|\bbindkey\s+-v\b")


def pipes(text: str) -> int:
    """The greatest number of pipe signs in one pipeline of a line, quotes left out."""
    if "|" not in text:
        return 0
    plain = _QUOTED.sub("x", text)
    return max(str(part).count("|") for part in _CHAIN.split(plain))


def compound(text: str) -> bool:
    """Whether a line puts several commands together."""
    return any(sign in plain for plain in (_QUOTED.sub("x", text),) for sign in "|;&")


def normalised(text: str) -> str:
    """A line without what changes from one run to the next: addresses, URLs, numbers, long hex."""
    return " ".join(_NOISE.sub("#", text).split())


def asks_for_help(words: tuple[str, ...]) -> bool:
    """man, --help or -h, where -h is not for sizes."""
    if not words:
        return False
    name = words[0].rpartition("/")[2]
    return name in HELP_TOOLS or "--help" in words[1:] or ("-h" in words[1:] and name not in _HUMAN_SIZES)


def persists(text: str, names: tuple[str, ...]) -> bool:
    """Installs something that outlives the session; to look at such a place is none."""
    if any(name in PERSISTERS for name in names):
        return True
    reading = ">" not in text and all(name in GROUP_OF for name in names)
    return bool(_PERSIST.search(text)) and (not reading or "crontab" in names)


def destroys(text: str, names: tuple[str, ...]) -> bool:
    """Wipes, encrypts or sabotages."""
    return bool(_DESTROY.search(text)) or any(name in DESTROYERS for name in names)


def exfiltrates(text: str) -> bool:
    """Sends files out."""
    return bool(_EXFIL.search(text))


def hides_history(text: str) -> bool:
    """Turns the shell's history off or deletes it."""
    return bool(_HISTORY_OFF.search(text)) and not re.match(r"\s*(?:cat|less|more|tail|head|grep)\b", text)


def tampers_with_logs(text: str) -> bool:
    """Changes or deletes system logs."""
    return bool(_LOGS.search(text))


def made(text: str) -> set[str]:
    """Base names of files that a line leaves behind."""
    found = {next((g for g in match.groups() if g), "") for match in _MADE.finditer(text)}
    if not found:
        found = {match[1] for match in _FETCHED.finditer(text)}
    return {
        base
        for name in found
        if (base := _base(name))
        and not name.startswith(("/dev/", "/proc/", "/var/log", "/var/run/utmp", "&", "-"))
    }


def removed(text: str) -> set[str]:
    """Base names of files that a line removes."""
    return {_base(word) for match in _REMOVES.finditer(text) for word in match[1].split() if word[:1] != "-"}


def _base(name: str) -> str:
    return name.strip("'\"").rstrip("/").rpartition("/")[2]
