"""Which of Sigma's log sources are read here, and what their fields are called in our events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from decnet.ttp.sigma.reading import SigmaDocument
from decnet.ttp.sigma.refusal import Refusal

PROGRAM = "(program)"
"""A field that is the path of the program: its name as it was typed stands for it."""
PATH = "(path)"
"""A field that is a URL without what stands behind the question mark."""


@dataclass(frozen=True, slots=True)
class Place:
    """A kind of event: Sigma's fields by ours, those that words without a field look at, and what to say of others."""

    kind: str
    fields: Mapping[str, str]
    words: tuple[str, ...]
    says: str
    keys: Mapping[str, str] = field(default_factory=dict)
    """Fields that group events, as ours."""


_WHO = {
    **dict.fromkeys(("Computer", "ComputerName", "Hostname", "hostname", "host", "host.name", "dst_ip"), "decky_id"),
    **dict.fromkeys(("src_ip", "SourceIp", "SourceIP", "IpAddress", "c-ip", "source.ip", "clientip"), "attacker_uuid"),
}  # fmt: skip
_COMMAND = Place(
    "command",
    {
        "CommandLine": "command_text", "commandline": "command_text", "process.command_line": "command_text",
        "Image": PROGRAM, "NewProcessName": PROGRAM, "process.executable": PROGRAM,
    },
    ("command_text",),
    "which a typed command does not say",
    {**_WHO, **dict.fromkeys(("User", "user", "LogonId", "TerminalSessionId", "ParentProcessId"), "session_id")},
)  # fmt: skip
_REQUEST = Place(
    "http_request",
    {
        "cs-method": "method", "cs-uri": "raw_url", "cs-uri-query": "raw_url", "c-uri": "raw_url", "c-uri-query": "raw_url",
        "cs-uri-stem": PATH, "sc-status": "status", "cs-user-agent": "user_agent", "c-useragent": "user_agent",
        "cs-host": "host",
    },
    ("raw_url", "user_agent"),
    "which a request at a decoy does not say",
    {**_WHO, "cs-host": "host", "cs-user-agent": "user_agent", "c-useragent": "user_agent"},
)  # fmt: skip


def place_of(rule: SigmaDocument) -> Place:
    """The kind of event that a rule speaks of. Raises Refusal for one that is not seen here."""
    source = rule.part("logsource")
    category, product, service = (str(source.get(key) or "") for key in ("category", "product", "service"))
    if category == "process_creation" and product in ("linux", ""):
        return _COMMAND
    if category == "webserver" and not service:
        return _REQUEST
    told = ", ".join(f"{key} {value}" for key, value in (("category", category), ("product", product), ("service", service)) if value)  # fmt: skip
    if category == "proxy":
        raise Refusal("it speaks of what leaves a network (category proxy): a decoy sees what comes")
    if service in ("apache", "nginx"):
        raise Refusal(
            f"it speaks of a web server's own errors (service {service}): a decoy's requests are read"
        )
    raise Refusal(f"it speaks of what is not read here ({told or 'no log source'})")
