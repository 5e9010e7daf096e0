"""What attribution stores beside its states: session features, verdicts and alerts.

Revision 0002. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
FAMILIES = ("client", "playbook", "tempo", "credentials", "typing", "habit", "hours")


def _session_feature() -> None:
    op.create_table(
        "session_feature",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("attacker_uuid", sa.Text(), nullable=False),
        sa.Column("identity_uuid", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Float(53), nullable=True),
        sa.Column("ended_at", sa.Float(53), nullable=False),
        sa.Column("rank", sa.Text(), nullable=False),
        *(sa.Column(family, JSON, nullable=True) for family in FAMILIES),
        sa.PrimaryKeyConstraint("session_id"),
    )
    op.create_index(
        "ix_session_feature_attacker",
        "session_feature",
        ["attacker_uuid", "ended_at", "session_id"],
        unique=False,
    )


def _multi_actor_evidence() -> None:
    op.create_table(
        "multi_actor_evidence",
        sa.Column("identity_uuid", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.Boolean(), nullable=False),
        sa.Column("suspected", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("primitives", JSON, nullable=True),
        sa.Column("verdict", JSON, nullable=True),
        sa.PrimaryKeyConstraint("identity_uuid"),
    )
    op.create_index("ix_multi_actor_due", "multi_actor_evidence", ["due"], unique=False)
    op.create_index("ix_multi_actor_suspected", "multi_actor_evidence", ["suspected"], unique=False)


def _attribution_alert() -> None:
    op.create_table(
        "attribution_alert",
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("identity_uuid", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("attacker_uuids", JSON, nullable=True),
        sa.Column("primitives", JSON, nullable=True),
        sa.Column("families", JSON, nullable=True),
        sa.Column("sides", JSON, nullable=True),
        sa.Column("confidence", sa.Float(53), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("standing", sa.Boolean(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=True),
        sa.Column("explanation", JSON, nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("alert_id"),
    )
    for name, columns in (
        ("identity", ["identity_uuid", "ordinal"]),
        ("standing", ["standing"]),
        ("ts", ["ts"]),
    ):
        op.create_index(f"ix_attribution_alert_{name}", "attribution_alert", columns, unique=False)


def upgrade() -> None:
    """Creates the tables of this revision."""
    _session_feature()
    _multi_actor_evidence()
    _attribution_alert()


def downgrade() -> None:
    """Drops the tables of this revision."""
    for table in ("attribution_alert", "multi_actor_evidence", "session_feature"):
        op.drop_table(table)
