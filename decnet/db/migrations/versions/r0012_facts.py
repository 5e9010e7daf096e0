"""What decoys other than shells count has a column, so that back-fill knows it.

Revision 0012. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0015"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Adds the column of this revision."""
    op.add_column("session", sa.Column("facts", JSON, nullable=True))


def downgrade() -> None:
    """Drops it."""
    op.drop_column("session", "facts")
