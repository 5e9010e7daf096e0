"""Which sessions and attackers are marked, by an index each that has nothing else: lists ask for these few first.

Revision 0020. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
MARKED = sa.text("ignored_by IS NOT NULL")


def upgrade() -> None:
    """Adds the indices; they begin with what is marked now."""
    op.create_index(
        "ix_attacker_marked", "attacker", ["attacker_uuid"], sqlite_where=MARKED, postgresql_where=MARKED
    )
    op.create_index(
        "ix_session_marked", "session", ["session_id"], sqlite_where=MARKED, postgresql_where=MARKED
    )


def downgrade() -> None:
    """Drops them."""
    op.drop_index("ix_session_marked", table_name="session")
    op.drop_index("ix_attacker_marked", table_name="attacker")
