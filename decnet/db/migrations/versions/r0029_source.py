"""Of a source's sessions the index has all that is counted of them, and their order: the worst first, then the newest.

Who is read first of a long span, and what a list says of each source, is read without the rows themselves.

Revision 0029.
"""

from __future__ import annotations

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None
NAME, TABLE = "ix_session_story_attacker", "session_story"
COLUMNS = ["attacker_uuid", "rank", "seen_at", "ended_at", "playbook", "session_id"]


def upgrade() -> None:
    """The index of sources is made anew, with more columns."""
    op.drop_index(NAME, TABLE)
    op.create_index(NAME, TABLE, COLUMNS)


def downgrade() -> None:
    """It has the source alone again."""
    op.drop_index(NAME, TABLE)
    op.create_index(NAME, TABLE, COLUMNS[:1])
