"""Messages that wait for other systems; the id of the key that a captured secret was hashed with.

Revision 0025. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds the table and the column; rows that are there get no id: nobody knows their key."""
    op.create_table(
        "publish_outbox",
        sa.Column("row_id", COUNTER, primary_key=True, autoincrement=True, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("target", "ident", "topic")),
        sa.Column("ts", sa.Float(53), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("stored_at", sa.Float(53), nullable=False),
        sa.UniqueConstraint("target", "ident", name="uq_publish_outbox_ident"),
        sqlite_autoincrement=True,
    )
    op.add_column("credential", sa.Column("key_id", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drops both."""
    op.drop_column("credential", "key_id")
    op.drop_table("publish_outbox")
