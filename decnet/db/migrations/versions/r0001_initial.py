"""The first schema.

Revision 0001. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _attacker() -> None:
    op.create_table(
        "attacker",
        sa.Column("attacker_uuid", sa.Text(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ignored_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("attacker_uuid"),
    )
    op.create_index("ix_attacker_ip", "attacker", ["ip"], unique=False)
    op.create_index("ix_attacker_last_seen", "attacker", ["last_seen"], unique=False)


def _attribution_state() -> None:
    op.create_table(
        "attribution_state",
        sa.Column("identity_uuid", sa.Text(), nullable=False),
        sa.Column("primitive", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("current_value", JSON, nullable=True),
        sa.Column("confidence", sa.Float(53), nullable=False),
        sa.Column("observation_count", sa.BigInteger(), nullable=False),
        sa.Column("last_change_ts", sa.Float(53), nullable=True),
        sa.Column("last_observation_ts", sa.Float(53), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("identity_uuid", "primitive"),
    )


def _behave_part() -> None:
    op.create_table(
        "behave_part",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("generation", sa.Text(), nullable=False),
        sa.Column("part", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("parts", sa.BigInteger(), nullable=False),
        sa.Column("body", JSON, nullable=True),
        sa.PrimaryKeyConstraint("session_id", "generation", "part"),
    )


def _behave_session() -> None:
    op.create_table(
        "behave_session",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("attacker_uuid", sa.Text(), nullable=False),
        sa.Column("rank", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.Float(53), nullable=False),
        sa.Column("ended_at", sa.Float(53), nullable=False),
        sa.Column("hours", JSON, nullable=True),
        sa.PrimaryKeyConstraint("session_id"),
    )
    op.create_index(
        "ix_behave_session_attacker",
        "behave_session",
        ["attacker_uuid", "started_at", "session_id"],
        unique=False,
    )
    op.create_index("ix_behave_session_version", "behave_session", ["version"], unique=False)


def _command() -> None:
    op.create_table(
        "command",
        sa.Column("command_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("command_text", sa.Text(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=True),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("uid", sa.Text(), nullable=True),
        sa.Column("src", sa.Text(), nullable=True),
        sa.Column("pwd", sa.Text(), nullable=True),
        sa.Column("success", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("command_id"),
    )
    op.create_index("ix_command_session", "command", ["session_id", "ts"], unique=False)
    op.create_index("ix_command_ts", "command", ["ts"], unique=False)


def _credential() -> None:
    op.create_table(
        "credential",
        sa.Column("credential_id", sa.Text(), nullable=False),
        sa.Column("attacker_uuid", sa.Text(), nullable=True),
        sa.Column("decky_id", sa.Text(), nullable=True),
        sa.Column("service", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("username", sa.Text(), nullable=True),
        sa.Column("secret_hmac", sa.Text(), nullable=True),
        sa.Column("secret_kind", sa.Text(), nullable=True),
        sa.Column("success", sa.Boolean(), nullable=True),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("credential_id"),
    )
    op.create_index("ix_credential_attacker", "credential", ["attacker_uuid", "first_seen"], unique=False)
    op.create_index("ix_credential_last_seen", "credential", ["last_seen"], unique=False)
    op.create_index("ix_credential_secret", "credential", ["secret_kind", "secret_hmac"], unique=False)


def _dead_letter() -> None:
    op.create_table(
        "dead_letter",
        sa.Column("id", COUNTER, autoincrement=True, nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("worker", "seq", name="uq_dead_letter_worker_seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_dead_letter_ts", "dead_letter", ["ts"], unique=False)


def _failure_count() -> None:
    op.create_table(
        "failure_count",
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker", "seq"),
    )


def _fingerprint() -> None:
    op.create_table(
        "fingerprint",
        sa.Column("fingerprint_id", sa.Text(), nullable=False),
        sa.Column("attacker_uuid", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fields", JSON, nullable=True),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("fingerprint_id"),
    )
    op.create_index("ix_fingerprint_attacker", "fingerprint", ["attacker_uuid"], unique=False)


def _identity() -> None:
    op.create_table(
        "identity",
        sa.Column("identity_uuid", sa.Text(), nullable=False),
        sa.Column("attacker_uuid", sa.Text(), nullable=True),
        sa.Column("merged_into", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("identity_uuid"),
    )
    op.create_index("ix_identity_attacker", "identity", ["attacker_uuid"], unique=False)
    op.create_index("ix_identity_merged_into", "identity", ["merged_into"], unique=False)


def _identity_merge() -> None:
    op.create_table(
        "identity_merge",
        sa.Column("loser_uuid", sa.Text(), nullable=False),
        sa.Column("winner_uuid", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("loser_uuid", "winner_uuid"),
    )
    op.create_index("ix_identity_merge_winner", "identity_merge", ["winner_uuid"], unique=False)


def _lease() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def _observation() -> None:
    op.create_table(
        "observation",
        sa.Column("observation_id", sa.Text(), nullable=False),
        sa.Column("evidence_ref", sa.Text(), nullable=False),
        sa.Column("primitive", sa.Text(), nullable=False),
        sa.Column("identity_uuid", sa.Text(), nullable=True),
        sa.Column("attacker_uuid", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("value", JSON, nullable=True),
        sa.Column("confidence", sa.Float(53), nullable=True),
        sa.Column("ts", sa.Float(53), nullable=False),
        sa.Column("window_start", sa.Float(53), nullable=True),
        sa.Column("window_end", sa.Float(53), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("observation_id"),
        sa.UniqueConstraint("evidence_ref", "primitive", name="uq_observation_evidence_primitive"),
    )
    op.create_index(
        "ix_observation_attacker", "observation", ["attacker_uuid", "primitive", "ts"], unique=False
    )
    op.create_index(
        "ix_observation_identity", "observation", ["identity_uuid", "primitive", "ts"], unique=False
    )
    op.create_index("ix_observation_session", "observation", ["session_id"], unique=False)


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("row_id", COUNTER, autoincrement=True, nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("headers", JSON, nullable=True),
        sa.PrimaryKeyConstraint("row_id"),
        sqlite_autoincrement=True,
    )


def _recording() -> None:
    op.create_table(
        "recording",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )


def _rule_change() -> None:
    op.create_table(
        "rule_change",
        sa.Column("seq", COUNTER, autoincrement=True, nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )


def _schema_meta() -> None:
    op.create_table(
        "schema_meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )


def _sensor_checkpoint() -> None:
    op.create_table(
        "sensor_checkpoint",
        sa.Column("sensor_key", sa.Text(), nullable=False),
        sa.Column("state", JSON, nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sensor_key"),
    )


def _session() -> None:
    op.create_table(
        "session",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("attacker_uuid", sa.Text(), nullable=True),
        sa.Column("attacker_ip", sa.Text(), nullable=True),
        sa.Column("decky_id", sa.Text(), nullable=True),
        sa.Column("service", sa.Text(), nullable=True),
        sa.Column("protocol", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.Column("duration_s", sa.Float(53), nullable=True),
        sa.Column("command_count", sa.BigInteger(), nullable=True),
        sa.Column("client", JSON, nullable=True),
        sa.Column("auth", JSON, nullable=True),
        sa.Column("downloads", JSON, nullable=True),
        sa.Column("uploads", JSON, nullable=True),
        sa.Column("forwards", JSON, nullable=True),
        sa.Column("keystrokes_ref", sa.Text(), nullable=True),
        sa.Column("tagged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ignored_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("session_id"),
    )
    op.create_index("ix_session_attacker", "session", ["attacker_uuid"], unique=False)
    op.create_index("ix_session_keystrokes", "session", ["keystrokes_ref"], unique=False)
    op.create_index("ix_session_started", "session", ["started_at"], unique=False)
    op.create_index("ix_session_tagged", "session", ["tagged_at", "ended_at"], unique=False)


def _session_part() -> None:
    op.create_table(
        "session_part",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("generation", sa.Text(), nullable=False),
        sa.Column("part", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("parts", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("body", JSON, nullable=True),
        sa.PrimaryKeyConstraint("session_id", "generation", "part"),
    )


def _ttp_rule() -> None:
    op.create_table(
        "ttp_rule",
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("yaml", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("rule_id"),
    )


def _ttp_rule_state() -> None:
    op.create_table(
        "ttp_rule_state",
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("confidence_max", sa.Float(53), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("set_by", sa.Text(), nullable=True),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("rule_id"),
    )


def _ttp_tag() -> None:
    op.create_table(
        "ttp_tag",
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.Column("source_kind", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("attacker_uuid", sa.Text(), nullable=True),
        sa.Column("identity_uuid", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("decky_id", sa.Text(), nullable=True),
        sa.Column("tactic", sa.Text(), nullable=False),
        sa.Column("technique_id", sa.Text(), nullable=False),
        sa.Column("sub_technique_id", sa.Text(), nullable=True),
        sa.Column("confidence", sa.Float(53), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("rule_version", sa.BigInteger(), nullable=False),
        sa.Column("evidence", JSON, nullable=True),
        sa.Column("attack_release", sa.Text(), nullable=False),
        sa.Column("mitre_url", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("superseded_by", sa.Text(), nullable=True),
        sa.CheckConstraint("attacker_uuid IS NOT NULL OR identity_uuid IS NOT NULL", name="ttp_tag_anchor"),
        sa.CheckConstraint("confidence >= 0 AND confidence <= 1", name="ttp_tag_confidence"),
        sa.PrimaryKeyConstraint("uuid"),
    )
    op.create_index("ix_ttp_tag_attacker", "ttp_tag", ["attacker_uuid", "created_at"], unique=False)
    op.create_index("ix_ttp_tag_created", "ttp_tag", ["created_at"], unique=False)
    op.create_index("ix_ttp_tag_identity", "ttp_tag", ["identity_uuid", "created_at"], unique=False)
    op.create_index("ix_ttp_tag_rule", "ttp_tag", ["rule_id", "created_at"], unique=False)
    op.create_index("ix_ttp_tag_session", "ttp_tag", ["session_id"], unique=False)
    op.create_index("ix_ttp_tag_technique", "ttp_tag", ["technique_id", "created_at"], unique=False)


def _worker_heartbeat() -> None:
    op.create_table(
        "worker_heartbeat",
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("payload", JSON, nullable=True),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("worker"),
    )


_TABLES = (
    _attacker,
    _attribution_state,
    _behave_part,
    _behave_session,
    _command,
    _credential,
    _dead_letter,
    _failure_count,
    _fingerprint,
    _identity,
    _identity_merge,
    _lease,
    _observation,
    _outbox,
    _recording,
    _rule_change,
    _schema_meta,
    _sensor_checkpoint,
    _session,
    _session_part,
    _ttp_rule,
    _ttp_rule_state,
    _ttp_tag,
    _worker_heartbeat,
)


def upgrade() -> None:
    """Creates every table."""
    for create in _TABLES:
        create()


def downgrade() -> None:
    """Drops every table; indexes go with them."""
    for create in reversed(_TABLES):
        op.drop_table(create.__name__[1:])
