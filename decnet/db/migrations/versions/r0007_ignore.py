"""Ignored sources, and what the producers of derived events remember.

Revision 0007. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Creates the tables of this revision."""
    op.create_table(
        "ignored_source",
        sa.Column("ignore_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("set_by", sa.Text(), nullable=True),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("ignore_id"),
    )
    op.create_table(
        "producer_due",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("attacker_uuid", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
        sa.Column("until", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "attacker_uuid"),
    )
    op.create_table(
        "announcement",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("ts", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "attacker_intel",
        sa.Column("attacker_uuid", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("ts", sa.Float(53), nullable=False),
        sa.Column("payload", JSON, nullable=True),
        sa.PrimaryKeyConstraint("attacker_uuid"),
    )
    op.create_index("ix_attacker_intel_ts", "attacker_intel", ["ts"], unique=False)


def downgrade() -> None:
    """Drops the tables of this revision."""
    for table in ("attacker_intel", "announcement", "producer_due", "ignored_source"):
        op.drop_table(table)
