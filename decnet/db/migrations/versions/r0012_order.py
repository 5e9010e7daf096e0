"""What of a session found no room, and when its connection was logged.

Revision 0012. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COUNTS = ("commands_dropped", "items_dropped")


def upgrade() -> None:
    """Adds the columns of this revision."""
    for name in COUNTS:
        op.add_column("session", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("session", sa.Column("connected_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Drops them."""
    for name in ("connected_at", *COUNTS):
        op.drop_column("session", name)
