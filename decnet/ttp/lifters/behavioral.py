"""What a session, a request or an e-mail does: beaconing, destruction, ransom, theft, escape. Pure.

The numbers come from the recorder's returns of an attacker and from decoys that count; shell
commands themselves are the rule pack's.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from decnet.ttp.lifter_registry import Finding, Knobs, lifter_kind
from decnet.ttp.lifters import facts
from decnet.ttp.lifters.facts import Patterns, Payload

_SESSION, _WEB = frozenset({"session"}), frozenset({"session", "http_request"})
_OPERATIONS = ("op_text", "command_text")
_PATHS = ("path", "file_path", "request_path", "raw_url", "op_text")
_NOTES = ("body_text", "note_text")
_BTC = r"\b(?:bc1[02-9ac-hj-np-z]{11,71}|[13][1-9A-HJ-NP-Za-km-z]{25,34})\b"
_XMR = r"\b[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}\b"
_PAYMENT = r"(?i)\b(?:ransom|decrypt\w*|bitcoins?|btc|monero|xmr|wallet|pay(?:ment)?|restore your|your (?:files|data|databases?))\b"
PAYMENT_MARKERS = frozenset({"ransom", "decrypt", "bitcoin", "monero", "wallet", "pay_to_recover"})
ADDRESS_MARKERS = frozenset({"btc_address", "xmr_address"})


class BeaconKnobs(Knobs):
    """Seconds between returns at least, and their mean deviation as a share of the interval at most."""

    beacon_interval_s: float = Field(10.0, gt=0)
    beacon_jitter_pct: float = Field(0.15, ge=0, le=1)


@lifter_kind("behavioral_beaconing", _WEB, BeaconKnobs)
def beaconing(payload: Payload, knobs: BeaconKnobs) -> Finding | None:
    """Regular returns: ``beacon_interval_s`` and ``beacon_jitter_pct``."""
    interval, jitter = facts.number(payload, "beacon_interval_s"), facts.number(payload, "beacon_jitter_pct")
    if interval is None or jitter is None:
        return None
    if interval < knobs.beacon_interval_s or not 0 <= jitter <= knobs.beacon_jitter_pct:
        return None
    evidence = {"beacon_interval_s": interval, "beacon_jitter_pct": jitter}
    returns = facts.number(payload, "beacon_returns")
    return Finding("beacon_interval_s", facts.sample(interval), evidence | {"beacon_returns": returns})


class DestructionKnobs(Knobs):
    """What destroys data, in databases, object stores and file systems."""

    patterns: Patterns = facts.listed(
        r"(?i)\bdrop\s+(?:database|schema|table)\b",
        r"(?i)\btruncate\s+table\b",
        r"(?i)\bdelete\s+from\s+[\w.\"`\[\]]+\s*(?:;|$)",
        r"(?i)\bflush(?:all|db)\b",
        r"(?i)\bdropdatabase\b|\bdb\.\w+\.drop\(",
        r"(?i)^delete\s+/(?:_all|\*|[\w*-]+)\s*$",
        r"\brm\s+-\w*r\w*\s+(?:-\S+\s+)*/(?:\*|etc|home|var|boot|usr)?(?:\s|$|/\*)",
        r"\b(?:shred|wipefs|mkfs(?:\.\w+)?)\b\s+\S",
        r"\bdd\b.*\bof=/dev/(?:sd|vd|nvme|mmcblk|hd)",
    )


@lifter_kind("behavioral_data_destruction", _WEB, DestructionKnobs)
def data_destruction(payload: Payload, knobs: DestructionKnobs) -> Finding | None:
    """``op_text`` or ``command_text`` destroys data."""
    return facts.search(knobs.patterns, payload, _OPERATIONS)


class RansomKnobs(Knobs):
    """Words of a demand, and the addresses that are paid to."""

    payment: Patterns = facts.listed(_PAYMENT)
    bitcoin: Patterns = facts.listed(_BTC)
    monero: Patterns = facts.listed(_XMR)


@lifter_kind("behavioral_ransom_note", {"session", "email", "http_request"}, RansomKnobs)
def ransom_note(payload: Payload, knobs: RansomKnobs) -> Finding | None:
    """A demand together with an address to pay to, in ``body_text``, ``note_text`` or an e-mail's markers."""
    for name in _NOTES:
        if facts.search(knobs.payment, payload, [name]) is None:
            continue
        for kind, patterns in (("btc", knobs.bitcoin), ("xmr", knobs.monero)):
            found = facts.search(patterns, payload, [name])
            if found is not None:
                return Finding(name, found.text, {**found.evidence, "address_kind": kind})
    return _ransom_mail(payload, knobs)


def _ransom_mail(payload: Payload, knobs: RansomKnobs) -> Finding | None:
    markers = set(facts.texts(payload, "body_markers"))
    demand = len(markers & PAYMENT_MARKERS) + bool(facts.search(knobs.payment, payload, ["subject"]))
    if not demand or not markers & ADDRESS_MARKERS:
        return None
    return Finding("body_markers", "", {"metric": "ransom_markers", "value": demand, "threshold": 1})


class WebExfilKnobs(Knobs):
    """Bytes sent out, or requests made, of one session at least."""

    bytes_out: int = Field(1_048_576, ge=1)
    request_count: int = Field(50, ge=1)


@lifter_kind("behavioral_exfil_over_web", _WEB, WebExfilKnobs)
def exfil_over_web(payload: Payload, knobs: WebExfilKnobs) -> Finding | None:
    """``bytes_out`` or ``request_count``."""
    sent = facts.at_least(payload, "bytes_out", knobs.bytes_out)
    return sent or facts.at_least(payload, "request_count", knobs.request_count)


class MassReadKnobs(Knobs):
    """Rows or bytes read from a database in one session at least."""

    rows_read: int = Field(10_000, ge=1)
    bytes_read: int = Field(5 * 1_048_576, ge=1)


@lifter_kind("behavioral_db_mass_read", _SESSION, MassReadKnobs)
def db_mass_read(payload: Payload, knobs: MassReadKnobs) -> Finding | None:
    """``rows_read`` or ``bytes_read``."""
    rows = facts.at_least(payload, "rows_read", knobs.rows_read)
    return rows or facts.at_least(payload, "bytes_read", knobs.bytes_read)


class SecretPathKnobs(Knobs):
    """Files that hold credentials."""

    patterns: Patterns = facts.listed(
        r"(?:^|/)\.env(?:\.\w+)?(?:$|[?#\s])",
        r"(?:^|/)\.aws/credentials\b|(?:^|/)\.boto\b|(?:^|/)\.s3cfg\b",
        r"(?:^|/)\.git-credentials\b|(?:^|/)\.git/config\b|(?:^|/)\.netrc\b|(?:^|/)\.pgpass\b|(?:^|/)\.my\.cnf\b",
        r"(?:^|/)\.docker/config\.json\b|(?:^|/)\.kube/config\b",
        r"(?:^|/)\.ssh/id_\w+\b|(?:^|/)id_(?:rsa|dsa|ecdsa|ed25519)(?:$|[?#\s])",
        r"(?:^|/)etc/shadow\b|(?:^|/)\.htpasswd\b|(?:^|/)wp-config\.php\b",
        r"(?i)(?:^|/)(?:credentials|secrets?)\.(?:json|ya?ml|xml|ini|txt)\b",
    )


@lifter_kind("behavioral_credentials_in_files", _WEB, SecretPathKnobs)
def credentials_in_files(payload: Payload, knobs: SecretPathKnobs) -> Finding | None:
    """A path of a secrets file."""
    return facts.search(knobs.patterns, payload, _PATHS)


class K8sKnobs(Knobs):
    """Where a pod keeps its service account token."""

    patterns: Patterns = facts.listed(
        r"/(?:var/)?run/secrets/(?:kubernetes\.io|eks\.amazonaws\.com)/serviceaccount",
        r"/api/v1/namespaces/[^/\s]+/serviceaccounts/[^/\s]+/token\b",
    )
    signals: list[str] = facts.listed("k8s_sa_token")


@lifter_kind("behavioral_k8s_sa_token", _WEB, K8sKnobs)
def k8s_sa_token(payload: Payload, knobs: K8sKnobs) -> Finding | None:
    """A service account token was reached for, by path or by the decoy's own word in ``signals``."""
    return facts.search(knobs.patterns, payload, _PATHS) or _signalled(payload, knobs.signals)


class DockerKnobs(Knobs):
    """What decoys call the steps out of a container."""

    signals: Annotated[list[str], Field(min_length=1)] = facts.listed(
        "privileged_container",
        "host_mount",
        "docker_sock",
        "host_pid",
        "host_network",
        "nsenter_host",
        "cgroup_release_agent",
        "cap_sys_admin",
    )


@lifter_kind("behavioral_docker_escape", _WEB, DockerKnobs)
def docker_escape(payload: Payload, knobs: DockerKnobs) -> Finding | None:
    """One of the words in ``signals``."""
    return _signalled(payload, knobs.signals)


def _signalled(payload: Payload, wanted: list[str]) -> Finding | None:
    found = sorted(set(facts.texts(payload, "signals")) & set(wanted))
    return Finding("signals", found[0], {"signals": found}) if found else None


class LlmnrKnobs(Knobs):
    """Poisoned answers at least."""

    llmnr_poison_count: int = Field(1, ge=1)


@lifter_kind("behavioral_llmnr_poisoning", _SESSION, LlmnrKnobs)
def llmnr_poisoning(payload: Payload, knobs: LlmnrKnobs) -> Finding | None:
    """``llmnr_poison_count``: answers to names that do not exist."""
    return facts.at_least(payload, "llmnr_poison_count", knobs.llmnr_poison_count)


class TftpKnobs(Knobs):
    """Names of router configurations."""

    patterns: Patterns = facts.listed(
        r"(?i)(?:startup|running)[-_.]?config",
        r"(?i)(?:^|/)(?:router|switch|cisco|network)[\w-]*[-_.]?(?:confg?|cfg|config)\b",
        r"(?i)-confg$|(?:^|/)config\.(?:text|boot|bin)$",
    )


@lifter_kind("behavioral_tftp_router_config", _SESSION, TftpKnobs)
def tftp_router_config(payload: Payload, knobs: TftpKnobs) -> Finding | None:
    """``tftp_filename`` is a device's configuration."""
    return facts.search(knobs.patterns, payload, ["tftp_filename"])
