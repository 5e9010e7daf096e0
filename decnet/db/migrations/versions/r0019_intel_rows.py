"""What services may still be asked, what they are to be asked, and what they said.

Revision 0019. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Makes the tables of this revision; nobody who is stored already is asked about."""
    op.create_table(
        "intel_service",
        sa.Column("service", sa.Text(), primary_key=True),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("rest_until", sa.Float(53), nullable=False),
    )
    op.create_table(
        "intel_answer",
        sa.Column("service", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("known", sa.Boolean(), nullable=False),
        sa.Column("said", JSON, nullable=True),
    )
    op.create_index("ix_intel_answer_at", "intel_answer", ["at"])
    op.create_index("ix_intel_answer_value", "intel_answer", ["value"])
    op.create_table(
        "intel_due",
        sa.Column("service", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), primary_key=True),
        sa.Column("attacker_uuid", sa.Text(), nullable=True),
        sa.Column("ts", sa.Float(53), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.Float(53), nullable=False),
    )
    op.create_index("ix_intel_due_order", "intel_due", ["service", "kind", "ts"])
    op.create_index("ix_intel_due_value", "intel_due", ["value"])
    op.create_index("ix_intel_due_ts", "intel_due", ["ts"])
    op.create_index("ix_intel_due_attacker", "intel_due", ["attacker_uuid"])


def downgrade() -> None:
    """Drops them: what was counted, asked and answered is forgotten."""
    for table in ("intel_due", "intel_answer", "intel_service"):
        op.drop_table(table)
