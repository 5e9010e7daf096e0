"""What each provider said of an attacker, beside the one answer that readers get of all.

Revision 0015. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Adds the columns; a row without them is one answer of its own time, which is taken apart when the next one comes."""
    op.add_column("attacker_intel", sa.Column("parts", JSON, nullable=True))
    op.add_column("attacker_intel", sa.Column("oldest", sa.Float(), nullable=True))


def downgrade() -> None:
    """Drops them; the answer of all providers stays, as if all had been asked at the newest time."""
    op.drop_column("attacker_intel", "oldest")
    op.drop_column("attacker_intel", "parts")
