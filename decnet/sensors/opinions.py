"""What output plug-ins of a honeypot were told about an address, as fields of ``attacker.intel.enriched``; pure.

Read are answers, not what a plug-in did: that it has started, waits, or failed to report says nothing of anybody.
Whom an answer is about stands in the answer; which session it was given in is left to the assembler.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from decnet.events.fields import number
from decnet.sensors.values import MAX_NAME, Data, address, as_text

_SEEN = re.compile(
    r"GreyNoise: (?P<ip>\S+) has been observed scanning the Internet\. GreyNoise ?classification ?is (?P<word>.+?)"
    r" and the believed owner is (?P<name>.*)",
    re.DOTALL,
)
_SERVICE = re.compile(
    r"GreyNoise: (?P<ip>\S+) belongs to a benign service or provider\. The owner is (?P<name>.*?)\.?",
    re.DOTALL,
)
RIOT = "RIOT"
"""GreyNoise's name for its list of services that harm nobody; an address on it may still be seen scanning."""
MAX_TAGS = 100
Answer = Data
"""``about`` is the address (None where a line does not name it), the rest are fields of the event."""


def answer_of(eventid: str, fields: Mapping[str, Any]) -> Answer | None:
    """The answer in one line's own fields; None when it has none."""
    read = ANSWERS.get(eventid.removeprefix("cowrie."))
    found = read(fields) if read else None
    return None if found is None else {"about": _address(fields.get("IP")), **found}


def together(answers: Iterable[tuple[float, Answer]]) -> tuple[float, Answer]:
    """Lines of one query as one answer, with the time of the newest, in whatever order they are given.

    GreyNoise's old interface told one tag a line; a service may be told of on a line of its own, and does not make
    harmless what was seen. Raises ValueError for no answer.
    """
    lines = sorted(
        answers, key=lambda line: (line[0], RIOT not in line[1].get("greynoise_tags", ()), str(line[1]))
    )
    if not lines:
        raise ValueError("no answer")
    services = [line for line in lines if RIOT in line[1].get("greynoise_tags", ())]
    told: Answer = {}
    for _, answer in [*services, *(line for line in lines if line not in services)]:
        told |= answer
    tags = sorted({tag for _, answer in lines for tag in answer.get("greynoise_tags", ())})[:MAX_TAGS]
    return lines[-1][0], {**told, **({"greynoise_tags": tags} if tags else {})}


def _greynoise(fields: Mapping[str, Any]) -> Answer | None:
    """What GreyNoise says, in words (today's plug-in) or in fields (those of before 2021)."""
    message = as_text(fields.get("message"), 4096) or ""
    seen, service = _SEEN.fullmatch(message), _SERVICE.fullmatch(message)
    if service:
        name = as_text(service["name"], MAX_NAME)
        told: Answer = {
            "greynoise_classification": "benign",
            "greynoise_name": name,
            "greynoise_tags": [RIOT],
        }
        return _answered("greynoise", {"about": _address(service["ip"]), **told})
    about: Answer = {"about": _address(seen["ip"])} if seen else {}
    word = as_text(seen["word"] if seen else fields.get("classification"), MAX_NAME)
    tag = as_text(fields.get("tag"), MAX_NAME)
    if not word and not tag:
        return None
    said: Answer = {
        "greynoise_classification": word.strip("'\" ").lower() if word else None,
        "greynoise_name": as_text(seen["name"] if seen else fields.get("name"), MAX_NAME),
        "greynoise_tags": [tag] if tag else None,
    }
    return _answered("greynoise", {**about, **said})


def _abuseipdb(fields: Mapping[str, Any]) -> Answer | None:
    """AbuseIPDB's own score, which it tells whoever reports an address to it.

    The categories of that report are the plug-in's, and the same for everybody: they are no answer.
    """
    score = number(fields.get("confidence"))
    if score is None or not 0 <= score <= 100:
        return None
    return _answered("abuseipdb", {"abuseipdb_score": score})


def _answered(provider: str, said: Answer) -> Answer:
    return {**{name: value for name, value in said.items() if value is not None}, "providers": [provider]}


def _address(value: Any) -> str | None:
    text = as_text(value, 64)
    return address(text.strip("'\"")) if text else None


ANSWERS: Mapping[str, Callable[[Mapping[str, Any]], Answer | None]] = {
    "greynoise.result": _greynoise,
    "abuseipdb.reportedip": _abuseipdb,
}
"""Event of Cowrie → what reads it. The other lines of its plug-ins stay extras:

``abuseipdb.started``, ``reportfail``, ``ratelimited`` and ``wakeup`` say what the plug-in did; what
``urlhaus.submitted``, ``malwarebazaar.submitted`` and ``threatjammer.*`` say is that something was sent there; what
``virustotal.*`` says is about a file or a URL, and is shown with it.
"""
