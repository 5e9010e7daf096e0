"""Which sessions read canary tokens where they lay, and which services of deckies our own decoys play.

Revision 0024. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0022"
branch_labels = None
depends_on = None
WHEN = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger()


def upgrade() -> None:
    """Adds the two tables."""
    op.create_table(
        "bait_read",
        sa.Column("token_id", sa.Text(), primary_key=True),
        sa.Column("session_id", sa.Text(), primary_key=True),
        sa.Column("command_id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("attacker_uuid", "attacker_ip")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("decky_id", "path")),
        sa.Column("at", WHEN, nullable=False),
    )
    op.create_index("ix_bait_read_session", "bait_read", ["session_id"])
    op.create_index("ix_bait_read_at", "bait_read", ["token_id", "at"])
    op.create_table(
        "own_decoy",
        sa.Column("decky", sa.Text(), primary_key=True),
        sa.Column("service", sa.Text(), primary_key=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("plays", "transport", "address")),
        sa.Column("port", NUMBER, nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("opened", sa.Boolean(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    """Drops them."""
    op.drop_table("own_decoy")
    op.drop_table("bait_read")
