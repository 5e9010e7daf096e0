"""Indices by which the first view finds what happened in a span: sessions by their end, what they had by its time.

Each has all that is counted of it, so that a span is read without the rows themselves.

Revision 0028.
"""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None
ENDED = ["ended_at", "attacker_uuid", "rank", "playbook", "seen_at", "session_id"]
SEEN = ["seen_at", "kind", "value", "session_id"]


def upgrade() -> None:
    """Makes the indices."""
    op.create_index("ix_session_story_ended", "session_story", ENDED)
    op.create_index("ix_session_thing_seen", "session_thing", SEEN)


def downgrade() -> None:
    """The indices go."""
    op.drop_index("ix_session_thing_seen", "session_thing")
    op.drop_index("ix_session_story_ended", "session_story")
