"""Indices by which wide spans are counted: sessions by when they began, log-ins that were let in, decoys of a source.

Each has all that is counted of it. What opened the door is a small part of what was tried, and has an index of its own.

Revision 0030.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None
SESSION, STORY, CREDENTIAL = "ix_session_attacker", "ix_session_story_seen", "ix_credential_let_in"
OWN = ["attacker_uuid", "ignored_by", "decky_id"]
LET_IN = ["secret_hmac", "username", "first_seen", "last_seen", "session_id"]
WHOSE = sa.text("attacker_uuid IS NOT NULL")


def upgrade() -> None:
    """Makes two indices, and that of a source's sessions anew, with more columns."""
    op.create_index(
        STORY, "session_story", ["seen_at", "ended_at"], sqlite_where=WHOSE, postgresql_where=WHOSE
    )
    op.create_index(
        CREDENTIAL,
        "credential",
        LET_IN,
        sqlite_where=sa.text("success IS 1"),
        postgresql_where=sa.text("success IS true"),
    )
    op.drop_index(SESSION, "session")
    op.create_index(SESSION, "session", OWN)


def downgrade() -> None:
    """The two go, the third has the source alone again."""
    op.drop_index(SESSION, "session")
    op.create_index(SESSION, "session", OWN[:1])
    op.drop_index(CREDENTIAL, "credential")
    op.drop_index(STORY, "session_story")
