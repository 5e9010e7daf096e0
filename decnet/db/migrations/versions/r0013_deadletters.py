"""Dead letters of single elements: path and value, and a key that tells letters apart.

Revision 0013. Types are spelt out here, so that a later change of the models leaves it alone. The key of a
letter that is there already is made as ``decnet.ids.letter_key`` makes it.
"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_OLD, _NEW = "uq_dead_letter_worker_seq", "uq_dead_letter_key"
_AUTO = {"sqlite_autoincrement": True}


def upgrade() -> None:
    """Adds the columns and lets the key decide which letters are one."""
    for name in ("letter_key", "path", "value"):
        op.add_column("dead_letter", sa.Column(name, sa.Text(), nullable=True))
    connection = op.get_bind()
    letters = sa.table("dead_letter", sa.column("id"), sa.column("worker"), sa.column("seq"), sa.column("body"), sa.column("letter_key"))  # fmt: skip
    for row in connection.execute(sa.select(letters)).all():
        change = sa.update(letters).where(letters.c.id == row.id)
        connection.execute(change.values(letter_key=_key(row.worker, row.seq, bytes(row.body))))
    with op.batch_alter_table("dead_letter", table_kwargs=_AUTO) as table:
        table.alter_column("letter_key", existing_type=sa.Text(), nullable=False)
        table.drop_constraint(_OLD, type_="unique")
        table.create_unique_constraint(_NEW, ["letter_key"])


def downgrade() -> None:
    """Letters of elements go, and of several letters with one place in a stream all but the first."""
    op.execute("DELETE FROM dead_letter WHERE path IS NOT NULL")
    op.execute(
        "DELETE FROM dead_letter WHERE id NOT IN (SELECT min(id) FROM dead_letter GROUP BY worker, seq)"
    )
    with op.batch_alter_table("dead_letter", table_kwargs=_AUTO) as table:
        table.drop_constraint(_NEW, type_="unique")
        table.create_unique_constraint(_OLD, ["worker", "seq"])
        for name in ("letter_key", "path", "value"):
            table.drop_column(name)


def _key(worker: str, seq: int, body: bytes) -> str:
    named = f"{worker}|{seq}|{hashlib.sha256(body).hexdigest()}"
    return hashlib.sha256(named.encode("utf-8", "replace")).hexdigest()
