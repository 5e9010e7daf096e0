"""E-mail that a decoy received: hashes, counts and domains; no addresses, no bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from decnet.events.fields import Count, Domain, Sha256, Simhash
from decnet.events.record import FromAttacker

Marker = Literal[
    "ransom", "decrypt", "bitcoin", "monero", "wallet", "pay_to_recover", "btc_address", "xmr_address",
    "wire_transfer", "bank_details", "gift_card", "payroll", "invoice", "urgent", "confidential",
    "change_of_account",
]  # fmt: skip
"""Words that a producer may find in a body; the body itself stays where it is."""


class Received(FromAttacker, frozen=True, kw_only=True, omit_defaults=True):
    """``email.received``; ``urls`` are hosts only, ``body_base64_bytes`` the decoded bytes of base64 in the body."""

    ANCHORED_BY_IDENTITY: ClassVar = True

    decky_id: str | None = None
    service: str | None = None
    session_id: str | None = None
    subject: str = ""
    from_domain: Domain = ""
    mail_from_domain: Domain = ""
    return_path_domain: Domain = ""
    rcpt_count: Count = 0
    rcpt_domains: list[Domain] = []
    x_mailer: str = ""
    dkim_signed: bool | None = None
    dkim_pass: bool | None = None
    spf_pass: bool | None = None
    urls: list[Domain] = []
    attachment_count: Count = 0
    attachment_sha256s: list[Sha256] = []
    attachment_extensions: list[str] = []
    attachment_macros: bool = False
    attachment_password_protected: bool = False
    html_smuggling: bool = False
    mal_hash_match: bool = False
    body_simhash: Simhash = ""
    body_sha256: Sha256 | None = None
    body_base64_bytes: Count = 0
    body_markers: list[Marker] = []

    @classmethod
    def settled(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """No body has no hash, whichever way that is written."""
        known = super().settled(raw)
        return {**known, "body_sha256": None} if known.get("body_sha256") == "" else known
