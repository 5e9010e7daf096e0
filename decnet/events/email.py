"""E-mail that a decoy received: hashes, counts and domains; no addresses, no bodies."""

from __future__ import annotations

from typing import ClassVar

from decnet.events.record import FromAttacker


class Received(FromAttacker, frozen=True, kw_only=True, omit_defaults=True):
    """``email.received``; ``urls`` are hosts only, ``body_base64_bytes`` the decoded bytes of base64 in the body."""

    ANCHORED_BY_IDENTITY: ClassVar = True

    source_id: str
    decky_id: str | None = None
    service: str | None = None
    session_id: str | None = None
    subject: str = ""
    from_domain: str = ""
    mail_from_domain: str = ""
    return_path_domain: str = ""
    rcpt_count: int = 0
    rcpt_domains: list[str] = []
    x_mailer: str = ""
    dkim_signed: bool | None = None
    dkim_pass: bool | None = None
    spf_pass: bool | None = None
    urls: list[str] = []
    attachment_count: int = 0
    attachment_sha256s: list[str] = []
    attachment_extensions: list[str] = []
    attachment_macros: bool = False
    attachment_password_protected: bool = False
    html_smuggling: bool = False
    mal_hash_match: bool = False
    body_simhash: str = ""
    body_sha256: str = ""
    body_base64_bytes: int = 0
    body_markers: list[str] = []
