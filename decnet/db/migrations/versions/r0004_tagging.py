"""What tagging stores beside tags: the hits of window and sequence rules, and what has fired.

Revision 0004. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Creates the tables of this revision."""
    op.create_table(
        "ttp_window_hit",
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("source_kind", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("pos", sa.BigInteger(), nullable=False),
        sa.Column("ts", sa.Float(53), nullable=False),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("who", JSON, nullable=True),
        sa.Column("why", JSON, nullable=True),
        sa.Column("keep_until", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("slot", "source_kind", "source_id", "pos"),
    )
    op.create_index("ix_ttp_window_hit_keep", "ttp_window_hit", ["keep_until"], unique=False)
    op.create_table(
        "ttp_window_fire",
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("source_kind", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("ts", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("slot", "source_kind", "source_id"),
    )


def downgrade() -> None:
    """Drops the tables of this revision."""
    op.drop_table("ttp_window_fire")
    op.drop_index("ix_ttp_window_hit_keep", table_name="ttp_window_hit")
    op.drop_table("ttp_window_hit")
