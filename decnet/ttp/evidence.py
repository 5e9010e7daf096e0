"""What the evidence of a tag may hold: one TypedDict for each source kind, and the check that nothing else gets in.

Whatever is not named here, or is not of the named type, is left out; a tag is never lost over its
evidence. E-mail evidence holds hashes, counts, header names and domains, canary evidence exactly the
metric and the matched signature, and no evidence a password. Why a rule holds is the caller's to say.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, TypedDict, get_type_hints

from pydantic import AfterValidator, BeforeValidator, StrictBool, StrictFloat, StrictInt, TypeAdapter
from pydantic import ValidationError as Mismatch

from decnet.bounds import bit
from decnet.hostile import storable, storable_text
from decnet.jsontext import Kept
from decnet.ttp.kinds import KNOWN_SOURCE_KINDS
from decnet.ttp.masking import masked

MAX_TEXT = 2000
MAX_ITEMS = 100
EVIDENCE_CUT = "evidence_cut"
"""The name in health of both bounds: texts and lists of evidence that lost their ends."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,79}\Z")
_DOMAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?\Z")
_HEX = re.compile(r"[0-9a-f]{8,128}\Z")


def sha256_of(text: str) -> str:
    """Hex SHA-256 of a text that must not be stored itself."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _shaped(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not pattern.match(value):
            raise ValueError("not of the shape")
        return value

    return check


def _cut_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    bit(EVIDENCE_CUT, len(value) > MAX_TEXT)
    return masked(storable_text(value[:MAX_TEXT]))


def _kept(pattern: re.Pattern[str]) -> Callable[[Any], Any]:
    """The items of the shape; one bad item does not hide the others."""

    def keep(value: Any) -> Any:
        cut = _cut_list(value)
        if not isinstance(cut, list):
            return cut
        return [item for item in cut if isinstance(item, str) and pattern.match(item)]

    return keep


def _cut_list(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        return value
    bit(EVIDENCE_CUT, len(value) > MAX_ITEMS)
    return list(value[:MAX_ITEMS])


Text = Annotated[str, BeforeValidator(_cut_text)]
Name = Annotated[str, AfterValidator(_shaped(_NAME))]
Domain = Annotated[str, AfterValidator(_shaped(_DOMAIN))]
Hex = Annotated[str, AfterValidator(_shaped(_HEX))]
Number = StrictInt | StrictFloat
Texts = Annotated[list[Text], BeforeValidator(_cut_list)]
Names = Annotated[list[Name], BeforeValidator(_kept(_NAME))]
Domains = Annotated[list[Domain], BeforeValidator(_kept(_DOMAIN))]
Hexes = Annotated[list[Hex], BeforeValidator(_kept(_HEX))]
Numbers = Annotated[list[Number], BeforeValidator(_cut_list)]


class Measure(TypedDict, total=False):
    """A number against its threshold, and what a rule over many events counted.

    ``sources`` are ids of the events that took part, ``within_s`` the seconds they lie within.
    """

    metric: Name
    value: Number
    threshold: Number
    count: Number
    within_s: Number
    sources: Texts
    steps: Texts


class Why(Measure, total=False):
    """Where a rule matched: field, text, span in characters, and the view of a command."""

    field: Text
    matched: Text
    span: Numbers
    view: Name


class CommandEvidence(Why, total=False):
    """A command line."""

    command_text: Text
    argv0: Text
    argv: Texts
    user: Text
    uid: Text
    src: Text
    success: StrictBool
    because: Text
    """What the session tells, with the line that it comes from."""


class SessionEvidence(Why, total=False):
    """A session, an attacker's returns, or what a decoy counted in it."""

    service: Text
    protocol: Text
    end_reason: Name
    duration_s: Number
    command_count: Number
    beacon_interval_s: Number
    beacon_jitter_pct: Number
    beacon_returns: Number
    bytes_out: Number
    bytes_read: Number
    request_count: Number
    rows_read: Number
    llmnr_poison_count: Number
    tftp_filename: Text
    path: Text
    signals: Names
    address_kind: Name
    forward_count: Number
    forward_hosts: Texts
    forward_ports: Numbers
    forward_targets: Texts
    download_count: Number
    download_urls: Texts
    download_hosts: Texts
    download_names: Texts
    upload_count: Number
    upload_names: Texts
    fetched_count: Number
    fetch_failed_count: Number
    written_paths: Texts
    exploit_count: Number
    exploit_cves: Texts
    exploit_values: Texts
    sessions_a_minute: Number
    flood_count: Number
    flood_host: Text
    flood_url: Text
    flood_seconds: Number
    version: Text
    hassh: Hex


class HttpRequestEvidence(Why, total=False):
    """A request to a web decoy."""

    method: Name
    host: Text
    raw_url: Text
    path: Text
    status: Number
    user_agent: Text
    bytes_out: Number
    request_count: Number
    signals: Names
    address_kind: Name


class PayloadEvidence(Why, total=False):
    """A file that came or could not, a connection through the host, an attempt at a known weakness."""

    direction: Name
    url: Text | Texts
    url_host: Text | Texts
    url_scheme: Name | Names
    name: Text | Texts
    sha256: Hex
    size: Number
    payload_text: Text | Texts
    destfile: Text | Texts
    failed: Name
    error: Text
    host: Text
    port: Number
    spoke: Names
    place: Name
    cve: Text
    success: Name


class IntelEvidence(Why, total=False):
    """What others say about an address."""

    provider: Name
    verdict: Text
    aggregate_verdict: Name
    providers: Texts
    abuseipdb_score: Number
    categories: Numbers
    classification: Name
    tags: Texts
    family: Text
    families: Texts
    threat_types: Texts


class EmailEvidence(Measure, total=False):
    """An e-mail: hashes, counts, header names, domains; never an address, a header's value or a body."""

    field: Name
    matched_sha256: Hex
    span: Numbers
    headers: Names
    domains: Domains
    from_domain: Domain
    mail_from_domain: Domain
    return_path_domain: Domain
    rcpt_domains: Domains
    rcpt_count: Number
    attachment_count: Number
    attachment_sha256s: Hexes
    body_simhash: Hex
    body_sha256: Hex
    body_base64_bytes: Number
    signals: Names


class CanaryEvidence(TypedDict):
    """A canary token that went off."""

    metric: Text
    signature: Text


class IdentityEvidence(Why, total=False):
    """All attackers that are one actor."""

    account_count: Number
    target_count: Number
    secret_kind: Name


class CredentialEvidence(Why, total=False):
    """A captured credential; its secret never, not even hashed."""

    username: Text
    secret_kind: Name
    service: Text
    services: Texts
    deckies: Texts
    reuse_count: Number
    target_count: Number
    success: StrictBool


class AuthAttemptEvidence(CredentialEvidence, total=False):
    """Log-ins of one attacker."""

    fail_count: Number
    prior_fail_count: Number
    secret_count: Number
    attempt_count: Number
    session_count: Number
    window_s: Number


class HttpFingerprintEvidence(Why, total=False):
    """A fingerprint of an attacker's tool; with ``client`` forwarded, of whoever used the attacker's tunnel."""

    type: Name
    version: Text
    client: Name
    through: Text
    """Where what was forwarded went."""


class Ipv6LeakEvidence(Why, total=False):
    """An address that was not meant to be seen."""

    address: Text


EVIDENCE: Mapping[str, type] = {
    "command": CommandEvidence,
    "session": SessionEvidence,
    "http_request": HttpRequestEvidence,
    "payload": PayloadEvidence,
    "intel": IntelEvidence,
    "email": EmailEvidence,
    "canary_fingerprint": CanaryEvidence,
    "identity": IdentityEvidence,
    "credential": CredentialEvidence,
    "auth_attempt": AuthAttemptEvidence,
    "http_fingerprint": HttpFingerprintEvidence,
    "ipv6_leak": Ipv6LeakEvidence,
}
"""Source kind → shape of its evidence."""
assert EVIDENCE.keys() == KNOWN_SOURCE_KINDS


@cache
def _checks(source_kind: str) -> Mapping[str, TypeAdapter[Any]]:
    hints = get_type_hints(EVIDENCE[source_kind], include_extras=True)
    return {name: TypeAdapter(hint) for name, hint in hints.items()}


def checked_evidence(source_kind: str, why: Mapping[str, Any]) -> Kept:
    """The part of ``why`` that may be stored, storable on both databases. Never raises."""
    if source_kind not in EVIDENCE:
        return Kept()
    checks = _checks(source_kind)
    out: dict[str, Any] = {}
    for name, value in _by_kind(source_kind, why).items():
        check = checks.get(name)
        if check is None or value is None:
            continue
        try:
            out[name] = check.validate_python(value)
        except Mismatch:
            continue
    return Kept(storable(out))


def _by_kind(source_kind: str, why: Mapping[str, Any]) -> Mapping[str, Any]:
    """The kinds whose matched text has another name, or must not be told."""
    matched = why.get("matched")
    text = matched if isinstance(matched, str) else ""
    if source_kind == "canary_fingerprint":
        return {"metric": str(why.get("field") or ""), "signature": text}
    if source_kind == "email" and text:
        return {**why, "matched_sha256": sha256_of(text)}
    return why
