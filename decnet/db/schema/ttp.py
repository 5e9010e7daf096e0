"""The tables of tagging: tags, rules with their states and changes, hits of window rules, bodies of e-mail.

No table points at the recorder's with a foreign key: workers run in any order.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index

from decnet.db.partial import TOLD
from decnet.db.schema.columns import Stored, counter, json_column, moment, number, real, text, text_key


class TagRow(Stored, table=True):
    """One technique seen in one piece of evidence; never changes once stored, but for what else stands for it now.

    ``superseded_by`` names the tag that says the same better (a newer version of the rule, a flood's first request),
    ``replaced_by`` the one that says something else of the same line, or the session as a whole, which gives the tag
    no more. Either takes the tag out of lists, counts and exports. ``seen_at`` is when the attacker did it (event time), ``created_at`` when the tag was made (wall clock).
    """

    __tablename__ = "ttp_tag"
    __table_args__ = (
        CheckConstraint("attacker_uuid IS NOT NULL OR identity_uuid IS NOT NULL", name="ttp_tag_anchor"),
        CheckConstraint("confidence >= 0 AND confidence <= 1", name="ttp_tag_confidence"),
        Index("ix_ttp_tag_attacker", "attacker_uuid", "seen_at"),
        Index("ix_ttp_tag_told", "created_at", sqlite_where=TOLD, postgresql_where=TOLD),
        Index("ix_ttp_tag_identity", "identity_uuid"),
        Index(
            "ix_ttp_tag_session",
            *("session_id", "technique_id", "sub_technique_id", "superseded_by", "replaced_by"),
        ),
        Index(
            "ix_ttp_tag_rule",
            *("rule_id", "seen_at", "technique_id", "sub_technique_id", "tactic"),
            *("superseded_by", "replaced_by"),
        ),
        Index("ix_ttp_tag_created", "created_at"),
        Index("ix_ttp_tag_seen", "seen_at"),
        Index("ix_ttp_tag_first", "technique_id", "sub_technique_id", "seen_at"),
    )
    uuid: str = text_key()
    source_kind: str = text()
    source_id: str = text()
    attacker_uuid: str | None = text(None)
    identity_uuid: str | None = text(None)
    session_id: str | None = text(None)
    decky_id: str | None = text(None)
    tactic: str = text()
    technique_id: str = text()
    sub_technique_id: str | None = text(None)
    confidence: float = real()
    rule_id: str = text()
    rule_version: int = number()
    evidence: dict[str, Any] | None = json_column()
    attack_release: str = text("")
    mitre_url: str = text("")
    seen_at: datetime | None = moment(None)
    created_at: datetime = moment(nullable=False)
    superseded_by: str | None = text(None)
    replaced_by: str | None = text(None)


class TagKind(Stored, table=True):
    """What a tag says: the rule and what it stands for. ``sub_technique_id`` is empty for none; rows stay for ever."""

    __tablename__ = "tag_kind"
    __table_args__ = (
        Index("ix_tag_kind", "rule_id", "technique_id", "sub_technique_id", "tactic", unique=True),
    )
    kind_id: int | None = counter()
    rule_id: str = text()
    technique_id: str = text()
    sub_technique_id: str = text()
    tactic: str = text()


class TagCount(Stored, table=True):
    """How many tags of a kind an attacker has that stand, and when it did that last.

    Triggers of the database write it, with every tag that comes, changes or goes (revision 0021); nobody else does.
    Attacker and identity are what the tags have, empty for none.
    """

    __tablename__ = "tag_count"
    __table_args__ = {"sqlite_with_rowid": False}
    attacker_uuid: str = text_key()
    identity_uuid: str = text_key()
    kind_id: int = number(primary_key=True, sa_column_kwargs={"autoincrement": False})
    tags: int = number()
    last: datetime | None = moment(None)


class TTPRule(Stored, table=True):
    """One rule definition as its file has it; ``error`` says why a file does not load."""

    __tablename__ = "ttp_rule"
    rule_id: str = text_key()
    version: int = number()
    name: str = text()
    yaml: str = text()
    file: str = text()
    error: str | None = text(None)
    updated_at: datetime = moment(nullable=False)


class TTPRuleState(Stored, table=True):
    """What an operator did to a rule; a rule without a row is enabled."""

    __tablename__ = "ttp_rule_state"
    rule_id: str = text_key()
    state: str = text()
    confidence_max: float | None = real(None)
    expires_at: datetime | None = moment(None)
    reason: str | None = text(None)
    set_by: str | None = text(None)
    set_at: datetime | None = moment(None)


class RuleChangeRow(Stored, table=True):
    """The sequence that other engines follow; written with the change itself."""

    __tablename__ = "rule_change"
    __table_args__ = {"sqlite_autoincrement": True}
    seq: int | None = counter()
    rule_id: str = text()
    kind: str = text()
    ts: datetime = moment(nullable=False)


class WindowHitRow(Stored, table=True):
    """One view of one event that counts. ``slot`` is rule, version and key; ``ts`` event time in epoch seconds.

    ``keep_until`` (wall clock, epoch seconds) bounds the table.
    """

    __tablename__ = "ttp_window_hit"
    __table_args__ = (Index("ix_ttp_window_hit_keep", "keep_until"),)
    slot: str = text_key()
    source_kind: str = text_key()
    source_id: str = text_key()
    pos: int = number(primary_key=True, sa_column_kwargs={"autoincrement": False})
    ts: float = real()
    steps: int = number()
    value: str = text()
    who: dict[str, Any] | None = json_column()
    why: dict[str, Any] | None = json_column()
    keep_until: float = real()


class WindowFireRow(Stored, table=True):
    """A rule came true for one key at ``ts`` (event time); it stays, so that nothing moves later."""

    __tablename__ = "ttp_window_fire"
    slot: str = text_key()
    source_kind: str = text_key()
    source_id: str = text_key()
    ts: float = real()


class SessionPartToJudge(Stored, table=True):
    """One part of a session's end that comes in several, as it is judged with the others; see ``decnet.ttp.parts``.

    ``keep_until`` (wall clock, epoch seconds) bounds the table.
    """

    __tablename__ = "ttp_part"
    __table_args__ = (Index("ix_ttp_part_keep", "keep_until"),)
    session_id: str = text_key()
    generation: str = text_key()
    part: int = number(primary_key=True, sa_column_kwargs={"autoincrement": False})
    parts: int = number()
    body: dict[str, Any] | None = json_column()
    keep_until: float = real()


class EmailBody(Stored, table=True):
    """One e-mail as ``email.received`` told of it; ``ts`` is epoch seconds of event time."""

    __tablename__ = "email_body"
    __table_args__ = (Index("ix_email_body_ts", "ts"),)
    attacker_uuid: str = text_key()
    simhash: str = text_key()
    source_id: str = text_key()
    ts: float = real()
    rcpt_count: int = number()
    session_id: str | None = text(None)
    decky_id: str | None = text(None)
