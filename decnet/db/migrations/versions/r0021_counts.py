"""Counts of tags that stand, kept by the database itself with every tag that comes, changes or goes.

Triggers do it, so that no way to write a tag can forget it: what is counted is in the transaction of the tag. On SQLite
each row has its turn; on PostgreSQL rows that come are counted a statement at once, in the order of their keys, so that
two statements cannot wait for each other.

The index that had all that is counted goes: every tag wrote one of its pages. Those of attackers and rules give the
newest first, that of sessions has the techniques of one; the few tags whose evidence is searched have one of their own.

Revision 0021. Types are spelt out here, so that a later change of the models leaves it alone.
"""

# ruff: noqa: S608  every part of these statements is written here

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
STANDING = "superseded_by IS NULL AND replaced_by IS NULL"
PARTIAL = sa.text(STANDING)
TOLD = sa.text("source_kind IN ('canary_fingerprint', 'email')")
COUNTED = [
    "technique_id",
    "sub_technique_id",
    "tactic",
    "rule_id",
    "attacker_uuid",
    "identity_uuid",
    "seen_at",
]
SESSION = ["session_id", "technique_id", "sub_technique_id", "superseded_by", "replaced_by"]
RULE = ["rule_id", "seen_at", "technique_id", "sub_technique_id", "tactic", "superseded_by", "replaced_by"]
NARROWER = {
    "ix_ttp_tag_attacker": "attacker_uuid",
    "ix_ttp_tag_rule": "rule_id",
    "ix_ttp_tag_session": "session_id",
}
AT_ONCE = 1_000
"""Attackers whose tags are counted by one statement: sorting all tags at once would take their room in memory."""
CHANGES = "attacker_uuid, identity_uuid, tactic, technique_id, sub_technique_id, rule_id, seen_at, superseded_by, replaced_by"


def upgrade() -> None:
    """Makes the tables, the triggers, then the counts of what is stored: with the triggers there, nobody writes between."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "tag_kind",
        sa.Column("kind_id", number, primary_key=True, autoincrement=True),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("technique_id", sa.Text(), nullable=False),
        sa.Column("sub_technique_id", sa.Text(), nullable=False),
        sa.Column("tactic", sa.Text(), nullable=False),
    )
    op.create_index(
        "ix_tag_kind", "tag_kind", ["rule_id", "technique_id", "sub_technique_id", "tactic"], unique=True
    )
    op.create_table(
        "tag_count",
        sa.Column("attacker_uuid", sa.Text(), primary_key=True),
        sa.Column("identity_uuid", sa.Text(), primary_key=True),
        sa.Column("kind_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("tags", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.DateTime(timezone=True), nullable=True),
        sqlite_with_rowid=False,
    )
    for name in ("ix_ttp_tag_standing", *NARROWER):
        op.drop_index(name, table_name="ttp_tag")
    # Whole, not only of tags that stand: SQLite cannot take the part for one side of an OR.
    op.create_index("ix_ttp_tag_attacker", "ttp_tag", ["attacker_uuid", "seen_at"])
    op.create_index("ix_ttp_tag_rule", "ttp_tag", RULE)
    op.create_index("ix_ttp_tag_session", "ttp_tag", SESSION)
    op.create_index("ix_ttp_tag_told", "ttp_tag", ["created_at"], sqlite_where=TOLD, postgresql_where=TOLD)
    for statement in SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRESQL:
        op.get_bind().exec_driver_sql(statement)
    _fill()


def downgrade() -> None:
    """Drops them; the indices are what they were."""
    if op.get_bind().dialect.name == "sqlite":
        for name in ("tag_comes", "tag_goes", "tag_changes"):
            op.execute(f"DROP TRIGGER {name}")
    else:
        for name in ("tag_comes", "tag_goes", "tag_changes"):
            op.execute(f"DROP TRIGGER {name} ON ttp_tag")
        for name in ("tags_come", "tag_is_gone", "tag_is_other"):
            op.execute(f"DROP FUNCTION {name}()")
    op.drop_index("ix_ttp_tag_told", table_name="ttp_tag")
    op.drop_table("tag_count")
    op.drop_index("ix_tag_kind", table_name="tag_kind")
    op.drop_table("tag_kind")
    for name, column in NARROWER.items():
        op.drop_index(name, table_name="ttp_tag")
        op.create_index(name, "ttp_tag", [column])
    op.create_index("ix_ttp_tag_standing", "ttp_tag", COUNTED, sqlite_where=PARTIAL, postgresql_where=PARTIAL)


def _fill() -> None:
    """Counts what is stored, some attackers at a time, and at last the tags that have none."""
    connection = op.get_bind()
    connection.exec_driver_sql(
        "INSERT INTO tag_kind (rule_id, technique_id, sub_technique_id, tactic) SELECT DISTINCT rule_id, technique_id,"
        f" COALESCE(sub_technique_id, ''), tactic FROM ttp_tag WHERE {STANDING} ORDER BY 1, 2, 3, 4"
    )
    some = sa.text(
        f"SELECT attacker_uuid FROM ttp_tag WHERE {STANDING} AND attacker_uuid > :last"
        " GROUP BY attacker_uuid ORDER BY attacker_uuid LIMIT :most"
    )
    last = ""
    while True:
        found = list(connection.execute(some, {"last": last, "most": AT_ONCE}).scalars())
        if not found:
            break
        between = sa.text(f"{_COUNT} AND t.attacker_uuid > :last AND t.attacker_uuid <= :end {_GROUPED}")
        connection.execute(between, {"last": last, "end": found[-1]})
        last = found[-1]
    connection.exec_driver_sql(f"{_COUNT} AND COALESCE(t.attacker_uuid, '') = '' {_GROUPED}")


_COUNT = f"""INSERT INTO tag_count (attacker_uuid, identity_uuid, kind_id, tags, last)
SELECT COALESCE(t.attacker_uuid, ''), COALESCE(t.identity_uuid, ''), k.kind_id, COUNT(*), MAX(t.seen_at)
FROM ttp_tag t JOIN tag_kind k ON k.rule_id = t.rule_id AND k.technique_id = t.technique_id
  AND k.sub_technique_id = COALESCE(t.sub_technique_id, '') AND k.tactic = t.tactic
WHERE {STANDING}"""
_GROUPED = "GROUP BY 1, 2, 3"


def _kind(tag: str) -> str:
    """That a row of ``tag_kind`` is the kind of a tag."""
    return (
        f"rule_id = {tag}.rule_id AND technique_id = {tag}.technique_id"
        f" AND sub_technique_id = COALESCE({tag}.sub_technique_id, '') AND tactic = {tag}.tactic"
    )


def _count(tag: str) -> str:
    """That a row of ``tag_count`` is the one that counts a tag."""
    return (
        f"attacker_uuid = COALESCE({tag}.attacker_uuid, '') AND identity_uuid = COALESCE({tag}.identity_uuid, '')"
        f" AND kind_id = (SELECT kind_id FROM tag_kind WHERE {_kind(tag)})"
    )


def _stands(tag: str) -> str:
    return f"{tag}.superseded_by IS NULL AND {tag}.replaced_by IS NULL"


_NEWEST = f"""(SELECT t.seen_at FROM ttp_tag t WHERE t.attacker_uuid {{whose}}
    AND t.identity_uuid {{same}} OLD.identity_uuid AND t.rule_id = OLD.rule_id AND t.technique_id = OLD.technique_id
    AND t.sub_technique_id {{same}} OLD.sub_technique_id AND t.tactic = OLD.tactic AND {_stands("t")}
    AND t.seen_at IS NOT NULL ORDER BY t.seen_at DESC LIMIT 1)"""

# --- SQLite: a row at a time

_COMES = f"""INSERT INTO tag_kind (rule_id, technique_id, sub_technique_id, tactic)
    SELECT NEW.rule_id, NEW.technique_id, COALESCE(NEW.sub_technique_id, ''), NEW.tactic
    WHERE {{when}}NOT EXISTS (SELECT 1 FROM tag_kind WHERE {_kind("NEW")});
  INSERT INTO tag_count (attacker_uuid, identity_uuid, kind_id, tags, last)
    SELECT COALESCE(NEW.attacker_uuid, ''), COALESCE(NEW.identity_uuid, ''), kind_id, 1, NEW.seen_at
    FROM tag_kind WHERE {{when}}{_kind("NEW")}
    ON CONFLICT (attacker_uuid, identity_uuid, kind_id) DO UPDATE SET tags = tags + 1,
      last = MAX(COALESCE(last, excluded.last), COALESCE(excluded.last, last));"""
_GOES = f"""UPDATE tag_count SET tags = tags - 1,
      last = CASE WHEN last = OLD.seen_at THEN {_NEWEST.format(whose="IS OLD.attacker_uuid", same="IS")} ELSE last END
    WHERE {{when}}{_count("OLD")};
  DELETE FROM tag_count WHERE {_count("OLD")} AND tags < 1;"""
SQLITE = (
    f"CREATE TRIGGER tag_comes AFTER INSERT ON ttp_tag WHEN {_stands('NEW')} BEGIN {_COMES.format(when='')} END",
    f"CREATE TRIGGER tag_goes AFTER DELETE ON ttp_tag WHEN {_stands('OLD')} BEGIN {_GOES.format(when='')} END",
    f"CREATE TRIGGER tag_changes AFTER UPDATE OF {CHANGES} ON ttp_tag BEGIN"
    f" {_GOES.format(when=_stands('OLD') + ' AND ')} {_COMES.format(when=_stands('NEW') + ' AND ')} END",
)

# --- PostgreSQL: what comes by the statement, what changes or goes by the row

_FRESH = f"""INSERT INTO tag_kind (rule_id, technique_id, sub_technique_id, tactic)
    SELECT DISTINCT t.rule_id, t.technique_id, COALESCE(t.sub_technique_id, ''), t.tactic FROM {{fresh}} t
    WHERE {_stands("t")} AND NOT EXISTS (SELECT 1 FROM tag_kind k WHERE k.rule_id = t.rule_id
      AND k.technique_id = t.technique_id AND k.sub_technique_id = COALESCE(t.sub_technique_id, '') AND k.tactic = t.tactic)
    ORDER BY 1, 2, 3, 4 ON CONFLICT DO NOTHING;
  INSERT INTO tag_count AS c (attacker_uuid, identity_uuid, kind_id, tags, last)
    SELECT COALESCE(t.attacker_uuid, ''), COALESCE(t.identity_uuid, ''), k.kind_id, COUNT(*), MAX(t.seen_at)
    FROM {{fresh}} t JOIN tag_kind k ON k.rule_id = t.rule_id AND k.technique_id = t.technique_id
      AND k.sub_technique_id = COALESCE(t.sub_technique_id, '') AND k.tactic = t.tactic
    WHERE {_stands("t")} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (attacker_uuid, identity_uuid, kind_id) DO UPDATE SET tags = c.tags + excluded.tags,
      last = GREATEST(c.last, excluded.last);"""
# The newest is looked for by a statement of its own: it sees what those stored who held the row before.
_LAST = f"UPDATE tag_count SET last = {_NEWEST} WHERE {_count('OLD')} AND last = OLD.seen_at;"
_SAME = "IS NOT DISTINCT FROM"
"""Says nothing to an index: whose tags are looked through is said otherwise."""
_GONE = f"""IF {_stands("OLD")} THEN
    UPDATE tag_count SET tags = tags - 1 WHERE {_count("OLD")};
    DELETE FROM tag_count WHERE {_count("OLD")} AND tags < 1;
    IF OLD.attacker_uuid IS NULL THEN {_LAST.format(whose="IS NULL", same=_SAME)}
    ELSE {_LAST.format(whose="= OLD.attacker_uuid", same=_SAME)} END IF;
  END IF;"""
_FUNCTION = (
    "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n  {body}\n  RETURN NULL; END $$"
)
POSTGRESQL = (
    _FUNCTION.format(name="tags_come", body=_FRESH.format(fresh="fresh")),
    _FUNCTION.format(name="tag_is_gone", body=_GONE),
    _FUNCTION.format(
        name="tag_is_other",
        body=f"{_GONE}\n  IF {_stands('NEW')} THEN\n  {_FRESH.format(fresh='(SELECT NEW.*)')}\n  END IF;",
    ),
    "CREATE TRIGGER tag_comes AFTER INSERT ON ttp_tag REFERENCING NEW TABLE AS fresh"
    " FOR EACH STATEMENT EXECUTE FUNCTION tags_come()",
    "CREATE TRIGGER tag_goes AFTER DELETE ON ttp_tag FOR EACH ROW EXECUTE FUNCTION tag_is_gone()",
    f"CREATE TRIGGER tag_changes AFTER UPDATE OF {CHANGES} ON ttp_tag FOR EACH ROW"
    " WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION tag_is_other()",
)
