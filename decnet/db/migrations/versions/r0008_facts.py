"""Everything that a session's log says has a column: the honeypot's own id, input, exploits, the rest.

Revision 0008. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
LISTS = ("inputs", "exploits", "joined", "extras")


def upgrade() -> None:
    """Adds the columns of this revision."""
    op.add_column("session", sa.Column("sensor_session", sa.Text(), nullable=True))
    for name in LISTS:
        op.add_column("session", sa.Column(name, JSON, nullable=True))
    op.create_index("ix_session_sensor_session", "session", ["sensor_session"], unique=False)


def downgrade() -> None:
    """Drops them."""
    op.drop_index("ix_session_sensor_session", "session")
    for name in (*LISTS, "sensor_session"):
        op.drop_column("session", name)
