"""What an e-mail shows of who sent it and why, from facts that hold no address and no text of it. Pure.

Findings name header names, hashes, counts and domains; the subject is looked at and never told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

from decnet.ttp.lifter_registry import Finding, Knobs, NoKnobs, lifter_kind
from decnet.ttp.lifters import facts
from decnet.ttp.lifters.facts import Patterns, Payload

_EMAIL = frozenset({"email"})
SEEN_AGE = "simhash_age_s"
"""Set by the lifter: how many seconds ago this attacker last sent an e-mail with the same body."""


class RelayKnobs(Knobs):
    """Recipients at least."""

    rcpt_count: int = Field(10, ge=1)


@lifter_kind("email_open_relay", _EMAIL, RelayKnobs)
def open_relay(payload: Payload, knobs: RelayKnobs) -> Finding | None:
    """Many recipients, and the From domain is not the envelope's."""
    shown, envelope = facts.domain(payload, "from_domain"), facts.domain(payload, "mail_from_domain")
    if not shown or not envelope or shown == envelope:
        return None
    found = facts.at_least(payload, "rcpt_count", knobs.rcpt_count)
    if found is None:
        return None
    return Finding("rcpt_count", "", {**found.evidence, "domains": [shown, envelope]})


class MassKnobs(Knobs):
    """Recipients at least, and the seconds within which the same body was seen before."""

    rcpt_count: int = Field(25, ge=1)
    window_s: float = Field(86_400.0, gt=0)


@lifter_kind("email_mass_phish", _EMAIL, MassKnobs)
def mass_phish(payload: Payload, knobs: MassKnobs) -> Finding | None:
    """Many recipients and a ``body_simhash`` that this attacker has sent before; see ``SEEN_AGE``."""
    simhash, age = facts.text(payload, "body_simhash").strip(), facts.number(payload, SEEN_AGE)
    if not simhash or age is None or not 0 <= age <= knobs.window_s:
        return None
    found = facts.at_least(payload, "rcpt_count", knobs.rcpt_count)
    if found is None:
        return None
    return Finding(
        "body_simhash", "", {**found.evidence, "body_simhash": simhash.lower(), "within_s": knobs.window_s}
    )


class KitKnobs(Knobs):
    """X-Mailer lines of mass mailers and phishing kits."""

    patterns: Patterns = facts.listed(
        r"(?i)\bgophish\b|\bking[ -]?phisher\b|\bevilginx\b|\bsocialfish\b",
        r"(?i)\bleaf\s*php\s*mailer\b|\bphpmailer\s+(?:[1-5]\.|6\.0)",
        r"(?i)\bsendblaster\b|\batomic mail sender\b|\bturbo[ -]?mailer\b|\bmass mailer\b|\bgammadyne\b",
        r"(?i)\bswaks\b|\bsendemail-?1\.",
    )


@lifter_kind("email_xmailer_kit", _EMAIL, KitKnobs)
def xmailer_kit(payload: Payload, knobs: KitKnobs) -> Finding | None:
    """``x_mailer`` names a kit."""
    found = facts.search(knobs.patterns, payload, ["x_mailer"])
    return Finding("x_mailer", found.text, {"headers": ["X-Mailer"]}) if found else None


@lifter_kind("email_idn_url", _EMAIL, NoKnobs)
def idn_url(payload: Payload, _: NoKnobs) -> Finding | None:
    """A host in ``urls`` with a punycode label."""
    hosts = (value.strip().rstrip(".").lower() for value in facts.texts(payload, "urls"))
    found = [host for host in hosts if any(label.startswith("xn--") for label in host.split("."))]
    return (
        Finding("urls", "", {"metric": "idn_hosts", "value": len(found), "domains": found[:20]})
        if found
        else None
    )


class MasqueradeKnobs(Knobs):
    """Which contradictions count."""

    domains_differ: bool = True
    dkim_failed: bool = True
    spf_failed: bool = True


@lifter_kind("email_sender_masquerade", _EMAIL, MasqueradeKnobs)
def sender_masquerade(payload: Payload, knobs: MasqueradeKnobs) -> Finding | None:
    """The sender's domains contradict each other, or DKIM or SPF is there and failed; absent is not failed."""
    names = ("from_domain", "return_path_domain", "mail_from_domain")
    domains = {name: facts.domain(payload, name) for name in names}
    signals = []
    if knobs.domains_differ and len({domain for domain in domains.values() if domain}) > 1:
        signals.append("domains_differ")
    dkim = facts.flag(payload, "dkim_signed") is True and facts.flag(payload, "dkim_pass") is False
    if knobs.dkim_failed and dkim:
        signals.append("dkim_failed")
    if knobs.spf_failed and facts.flag(payload, "spf_pass") is False:
        signals.append("spf_failed")
    if not signals:
        return None
    headers = ["From", "Return-Path"] if "domains_differ" in signals else ["From"]
    shown = [domain for domain in domains.values() if domain]
    return Finding(signals[0], "", {"signals": signals, "headers": headers, "domains": shown})


class AttachmentKnobs(Knobs):
    """Extensions that carry code past a mail filter."""

    extensions: list[str] = facts.listed(
        "lnk", "iso", "img", "vhd", "vhdx", "hta", "js", "jse", "vbs", "wsf", "scr"
    )


_ATTACHMENT_FLAGS = {
    "attachment_macros": "macros",
    "attachment_password_protected": "password_protected",
    "html_smuggling": "html_smuggling",
    "mal_hash_match": "known_hash",
}


@lifter_kind("email_malicious_attachment", _EMAIL, AttachmentKnobs)
def malicious_attachment(payload: Payload, knobs: AttachmentKnobs) -> Finding | None:
    """Macros, a password, smuggling, a known hash, or an extension that carries code."""
    signals = [word for name, word in _ATTACHMENT_FLAGS.items() if facts.flag(payload, name) is True]
    wanted = {extension.lower() for extension in knobs.extensions}
    seen = {value.strip().lstrip(".").lower() for value in facts.texts(payload, "attachment_extensions")}
    signals += [f"extension.{extension}" for extension in sorted(seen & wanted)]
    if not signals:
        return None
    hashes = [value.lower() for value in facts.texts(payload, "attachment_sha256s")][:20]
    return Finding("attachments", "", {"signals": signals, "attachment_sha256s": hashes})


def _known(values: list[str]) -> list[str]:
    return [value.lower() for value in values]


class BecKnobs(Knobs):
    """Words of the subject, the producer's markers of the body, and how many of both together."""

    subject: Patterns = facts.listed(
        r"(?i)\b(?:urgent|immediate|confidential)\b",
        r"(?i)\b(?:wire|bank) (?:transfer|details?)\b|\bpayment (?:request|instruction|details?)\b",
        r"(?i)\b(?:overdue|outstanding) invoice\b|\binvoice (?:due|payment)\b",
        r"(?i)\bgift ?cards?\b|\bpayroll\b|\bdirect deposit\b|\bare you (?:available|at your desk)\b",
    )
    markers: Annotated[list[str], AfterValidator(_known)] = facts.listed(
        "wire_transfer",
        "bank_details",
        "gift_card",
        "payroll",
        "invoice",
        "urgent",
        "confidential",
        "change_of_account",
    )
    least_markers: int = Field(1, ge=1)


@lifter_kind("email_bec", _EMAIL, BecKnobs)
def bec(payload: Payload, knobs: BecKnobs) -> Finding | None:
    """Subject and body both speak of money or haste: words of the subject, and ``body_markers``."""
    found = facts.search(knobs.subject, payload, ["subject"])
    markers = _among(facts.texts(payload, "body_markers"), knobs.markers)
    if found is None or len(markers) < knobs.least_markers:
        return None
    evidence = {"metric": "bec_markers", "value": len(markers), "threshold": knobs.least_markers}
    return Finding("subject", found.text, {**evidence, "headers": ["Subject"]})


def _among(values: Iterable[str], wanted: Iterable[str]) -> set[str]:
    return {value.lower() for value in values} & set(wanted)


class EncodedKnobs(Knobs):
    """Decoded bytes of base64 in the body at least."""

    body_base64_bytes: int = Field(4096, ge=1)


@lifter_kind("email_encoded_payload", _EMAIL, EncodedKnobs)
def encoded_payload(payload: Payload, knobs: EncodedKnobs) -> Finding | None:
    """``body_base64_bytes``."""
    found = facts.at_least(payload, "body_base64_bytes", knobs.body_base64_bytes)
    return found and Finding(found.field, "", found.evidence)
