"""What operators decided about an alert, and what they wrote down about alerts and sources.

Revision 0027. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds the column and the table; alerts that were closed before have no verdict."""
    op.add_column("attribution_alert", sa.Column("verdict", sa.Text(), nullable=True))
    op.create_table(
        "note",
        sa.Column("id", COUNTER, primary_key=True, autoincrement=True),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("operator", "about", "target", "body")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_note_target", "note", ["about", "target"])


def downgrade() -> None:
    """Drops them: verdicts and notes are lost."""
    op.drop_index("ix_note_target", table_name="note")
    op.drop_table("note")
    op.drop_column("attribution_alert", "verdict")
