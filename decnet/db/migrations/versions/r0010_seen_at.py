"""A tag says when the attacker did it, beside when the tag was made.

Revision 0010. Tags stored before get the time of their evidence: of the command, the credential or the session
that they name, of the five minutes that an aggregate is about, of the attacker's first sight where a tag is about
no session; the rest keeps the time at which the tag was made.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_BUCKET_S = 300
_AUTH = "#auth#"
_TAG = sa.table(
    "ttp_tag",
    *(sa.column(n) for n in ("uuid", "source_kind", "source_id", "attacker_uuid", "session_id")),
    sa.column("seen_at", sa.DateTime(timezone=True)),
)
_EVIDENCE = """
UPDATE ttp_tag SET seen_at = COALESCE(
  (SELECT c.ts FROM command c WHERE c.command_id = ttp_tag.source_id),
  (SELECT c.first_seen FROM credential c WHERE c.credential_id = ttp_tag.source_id),
  (SELECT s.started_at FROM session s WHERE s.session_id = ttp_tag.session_id),
  (SELECT a.first_seen FROM attacker a WHERE a.attacker_uuid = ttp_tag.attacker_uuid AND ttp_tag.session_id IS NULL
     AND ttp_tag.source_kind IN ('session', 'http_fingerprint', 'http_request', 'ipv6_leak')),
  created_at)
"""


def upgrade() -> None:
    """Adds the column, fills it and makes its index."""
    op.add_column("ttp_tag", sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True))
    connection = op.get_bind()
    connection.execute(sa.text(_EVIDENCE))
    _fill_aggregates(connection)
    op.create_index("ix_ttp_tag_seen", "ttp_tag", ["seen_at"], unique=False)


def _fill_aggregates(connection: sa.Connection) -> None:
    """Guessing over several sessions: the source id ends with the number of its five minutes."""
    query = sa.select(_TAG.c.uuid, _TAG.c.source_id).where(_TAG.c.source_id.contains(_AUTH, autoescape=True))
    for uuid, source in connection.execute(query).all():
        number = str(source).rpartition(_AUTH)[2]
        if number.isdigit() and len(number) < 10:
            moment = datetime.fromtimestamp(int(number) * _BUCKET_S, UTC)
            connection.execute(sa.update(_TAG).where(_TAG.c.uuid == uuid).values(seen_at=moment))


def downgrade() -> None:
    """Drops it."""
    op.drop_index("ix_ttp_tag_seen", "ttp_tag")
    op.drop_column("ttp_tag", "seen_at")
