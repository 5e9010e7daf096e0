"""What external producers put on the bus: one model for each event, and the JSON Schemas made from them.

The taggers take any payload; the models say what a producer has to send so that it is understood.
``python -m decnet.ttp.payloads DIRECTORY`` writes the schemas that ship in ``decnet/_data/schemas``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

Domain = Annotated[str, StringConstraints(pattern=r"^[^@\s/]{0,253}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Simhash = Annotated[str, StringConstraints(pattern=r"^(?:[0-9a-f]{8,64})?$")]
Marker = Literal[
    "ransom",
    "decrypt",
    "bitcoin",
    "monero",
    "wallet",
    "pay_to_recover",
    "btc_address",
    "xmr_address",
    "wire_transfer",
    "bank_details",
    "gift_card",
    "payroll",
    "invoice",
    "urgent",
    "confidential",
    "change_of_account",
]
"""Words that a producer may find in a body; the body itself stays where it is."""


class _Payload(BaseModel):
    """Keys beyond the known ones are allowed: adding is no breaking change."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class _FromAttacker(_Payload):
    attacker_uuid: str | None = None
    """Derived from the address when it is left out."""
    attacker_ip: str | None = None
    identity_uuid: str | None = None

    @model_validator(mode="after")
    def _anchored(self) -> Self:
        if not (self.attacker_uuid or self.identity_uuid or self.attacker_ip):
            raise ValueError("one of attacker_uuid, identity_uuid, attacker_ip is needed")
        return self


class EmailReceived(_FromAttacker):
    """``email.received``: hashes, counts and domains of one e-mail; no addresses, no bodies."""

    source_id: str
    decky_id: str
    service: str
    subject: str = ""
    from_domain: Domain = ""
    mail_from_domain: Domain = ""
    return_path_domain: Domain = ""
    rcpt_count: int = Field(0, ge=0)
    rcpt_domains: list[Domain] = []
    x_mailer: str = ""
    dkim_signed: bool | None = None
    dkim_pass: bool | None = None
    spf_pass: bool | None = None
    urls: list[Domain] = Field(default=[], description="Hosts only.")
    attachment_count: int = Field(0, ge=0)
    attachment_sha256s: list[Sha256] = []
    attachment_extensions: list[str] = []
    attachment_macros: bool = False
    attachment_password_protected: bool = False
    html_smuggling: bool = False
    mal_hash_match: bool = False
    body_simhash: Simhash = ""
    body_sha256: Sha256 | Literal[""] = ""
    body_base64_bytes: int = Field(0, ge=0, description="Decoded bytes of base64 in the body.")
    body_markers: list[Marker] = Field(default=[], description="Words of this list found in the body.")


class IntelEnriched(_FromAttacker):
    """``attacker.intel.enriched``: what providers say about an address."""

    aggregate_verdict: str = "unknown"
    providers: list[str] = []
    abuseipdb_score: float | None = Field(None, ge=0, le=100)
    abuseipdb_categories: list[int] = []
    greynoise_classification: str | None = None
    greynoise_name: str | None = None
    greynoise_tags: list[str] = []
    feodo_listed: bool = False
    feodo_malware_family: str | None = None
    threatfox_listed: bool = False
    threatfox_threat_types: list[str] = []
    threatfox_ioc_types: list[str] = []
    threatfox_malware_families: list[str] = []


class CanaryTriggered(_FromAttacker):
    """``canary.<token>.triggered``: who set a token off, and what the browser told."""

    token_id: str
    trigger_id: str
    decky_id: str | None = None
    user_agent: str = ""
    request_path: str = ""
    dns_qname: str | None = None
    navigator_webdriver: bool | None = None
    automation_hash: str | None = None
    webrtc_geo_mismatch: bool | None = None
    tz_mismatch_zones: int | None = Field(None, ge=0)
    lang_country_mismatch: bool | None = None
    platform_mismatch: bool | None = None
    ua_signature: str | None = None


class Fingerprinted(_FromAttacker):
    """``attacker.fingerprinted`` of probers and web decoys: ``value``, or the field that the type is named after."""

    type: Literal[
        "hassh", "jarm", "ja4", "ja4h", "h2", "quic", "tcpfp", "ipv6_leak", "http_request", "payload"
    ]
    decky_id: str | None = None
    value: str | None = None
    hassh: str | None = None
    jarm: str | None = None
    ja4: str | None = None
    ja4h: str | None = None
    h2: str | None = Field(None, description="SETTINGS|WINDOW_UPDATE|PRIORITY|pseudo-header order.")
    quic: str | None = None
    tcpfp: str | None = Field(None, description="window_options_mss_scale, as JA4T.")
    address: str | None = None
    addresses: list[str] = []
    method: str | None = None
    host: str | None = None
    raw_url: str | None = None
    status: int | None = None
    user_agent: str | None = None
    bytes_out: int | None = Field(None, ge=0)
    request_count: int | None = Field(None, ge=0)
    op_text: str | None = None
    note_text: str | None = None
    signals: list[str] = []


class SessionFacts(_FromAttacker):
    """What decoys other than shells add to ``attacker.session.ended``: what they counted and were asked for."""

    session_id: str
    op_text: str | None = Field(None, description="A statement or operation of a database or object store.")
    note_text: str | None = Field(None, description="A note that was left.")
    bytes_out: int | None = Field(None, ge=0, description="Bytes sent to the attacker.")
    request_count: int | None = Field(None, ge=0)
    rows_read: int | None = Field(None, ge=0)
    bytes_read: int | None = Field(None, ge=0)
    path: str | None = Field(None, description="A file that was asked for.")
    signals: list[str] = Field(default=[], description="Steps that the decoy recognised, in its own words.")
    llmnr_poison_count: int | None = Field(None, ge=0)
    tftp_filename: str | None = None


class IdentityMerged(_Payload):
    """``identity.merged``: two identities are one."""

    winner_uuid: str
    loser_uuid: str


MODELS: Mapping[str, type[BaseModel]] = {
    "attacker.fingerprinted": Fingerprinted,
    "attacker.intel.enriched": IntelEnriched,
    "attacker.session.ended": SessionFacts,
    "canary.triggered": CanaryTriggered,
    "email.received": EmailReceived,
    "identity.merged": IdentityMerged,
}
"""Topic (a canary's without its token) → model."""


def payload_errors(topic: str, payload: Mapping[str, Any]) -> list[str]:
    """What is wrong with a payload of an external producer; empty for a good one and for other topics."""
    parts = topic.split(".")
    name = "canary.triggered" if parts[0] == "canary" and parts[-1] == "triggered" else topic
    model = MODELS.get(name)
    if model is None:
        return []
    try:
        model.model_validate(dict(payload))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        return [f"{'.'.join(map(str, item['loc'])) or 'payload'}: {item['msg']}" for item in found]
    return []


def schema_files() -> dict[str, str]:
    """File name → text of each JSON Schema."""
    return {
        f"{name}.schema.json": json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()},
            indent=1,
            sort_keys=True,
        )
        + "\n"
        for name, model in MODELS.items()
    }


def schemas_dir() -> Path:
    """Where the shipped schemas are."""
    return Path(str(files("decnet"))) / "_data" / "schemas"


def write_schemas(directory: Path) -> None:
    """Writes every schema into ``directory``, which is made when need be."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in schema_files().items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]) if len(sys.argv) > 1 else schemas_dir())
