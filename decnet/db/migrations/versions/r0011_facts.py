"""What decoys other than shells count has a column, and so has where a fingerprint was seen: back-fill knows both.

Revision 0011. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
PLACE = ("session_id", "decky_id")


def upgrade() -> None:
    """Adds the columns of this revision."""
    op.add_column("session", sa.Column("facts", JSON, nullable=True))
    for name in PLACE:
        op.add_column("fingerprint", sa.Column(name, sa.Text(), nullable=True))


def downgrade() -> None:
    """Drops them."""
    for name in PLACE:
        op.drop_column("fingerprint", name)
    op.drop_column("session", "facts")
