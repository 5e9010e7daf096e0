"""What the e-mail lifter remembers.

Revision 0006. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables of this revision."""
    op.create_table(
        "email_body",
        sa.Column("attacker_uuid", sa.Text(), nullable=False),
        sa.Column("simhash", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("ts", sa.Float(53), nullable=False),
        sa.Column("rcpt_count", sa.BigInteger(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("decky_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("attacker_uuid", "simhash", "source_id"),
    )
    op.create_index("ix_email_body_ts", "email_body", ["ts"], unique=False)


def downgrade() -> None:
    """Drops the tables of this revision."""
    op.drop_index("ix_email_body_ts", table_name="email_body")
    op.drop_table("email_body")
