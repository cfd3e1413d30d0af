"""What PostgreSQL itself notes of execs that arrive, and how it makes the partitions of days, as SQL. Pure.

Forwarders cannot write these notes, so who took over a host hides nothing by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.central.tables import NEWEST_DAYS, OLDEST_DAYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DAY_NS = 86_400 * 1_000_000_000
# What a forwarder moves out of a default partition, and how much of that is looked at: both while nobody else
# can write there. The owner moves any number.
_MOST_MOVED, _MOST_BYTES = 10_000, 64 * 1024 * 1024


def notes() -> Iterator[str]:
    """Yields what makes the notes, and has them made when execs are inserted.

    `span`: between which seqs the execs of a stream are that happened on a day. So a statement about some
    execs names days, and the others are not even planned. `account`: which names users had, with which uids.
    """
    yield """\
CREATE TABLE "span" (
    "stream" int8 NOT NULL,
    "day" int4 NOT NULL,
    "first_seq" int8 NOT NULL,
    "last_seq" int8 NOT NULL,
    PRIMARY KEY ("stream", "day")
) WITH (fillfactor = 80)"""
    yield 'CREATE INDEX ON "span" ("day")'
    yield 'CREATE TABLE "account" ("stream" int8 NOT NULL, "name" bytea NOT NULL, "uid" int8)'
    # A name may be longer than what an index takes. With the stream, so that no host waits for another.
    yield """\
CREATE UNIQUE INDEX "account_key" ON "account" (sha256("name"), "stream", "uid") NULLS NOT DISTINCT"""
    yield f"""\
CREATE FUNCTION execaudit_note_execs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {{schema}}, pg_temp AS $$
BEGIN
    INSERT INTO "span" AS s ("stream", "day", "first_seq", "last_seq")
        {spans("added")}
        ON CONFLICT ("stream", "day") DO UPDATE SET
            "first_seq" = least(s."first_seq", excluded."first_seq"),
            "last_seq" = greatest(s."last_seq", excluded."last_seq")
        WHERE s."first_seq" > excluded."first_seq" OR s."last_seq" < excluded."last_seq";
    INSERT INTO "account" ("stream", "name", "uid")
        {accounts("added")}
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$"""
    yield "REVOKE ALL ON FUNCTION execaudit_note_execs() FROM PUBLIC"
    yield """\
CREATE TRIGGER "note_execs" AFTER INSERT ON "exec" REFERENCING NEW TABLE AS "added"
FOR EACH STATEMENT EXECUTE FUNCTION execaudit_note_execs()"""


def spans(source: str) -> str:
    """Returns the SELECT of the spans of execs."""
    return (
        f'SELECT "stream", "ts" / {DAY_NS}, min("seq"), max("seq") FROM "{source}"'  # noqa: S608  # ours
        " GROUP BY 1, 2 ORDER BY 1, 2"
    )


def accounts(source: str) -> str:
    """Returns the SELECT of the names of execs' users."""
    return (
        f'SELECT "stream", "user", "uid" FROM "{source}" WHERE "user" IS NOT NULL UNION'  # noqa: S608  # ours
        f' SELECT "stream", "login_user", NULL FROM "{source}" WHERE "login_user" IS NOT NULL'
    )


def days(tables: Sequence[str]) -> Iterator[str]:
    """Yields the functions that make the partitions of a day: the owner's, and that of forwarders.

    A partition is made beside the table and then attached, which waits for no reader of other days. Rows of
    its day that came before it are moved into it. Meanwhile nobody writes into the default partition, which
    has only what is of no day that was made.
    """
    names = ", ".join(f"'{name}'" for name in tables)
    yield f"""\
CREATE FUNCTION execaudit_make_day(day date, most_moved bigint, most_bytes bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = {{schema}}, pg_temp AS $$
DECLARE
    low bigint := (day - DATE '1970-01-01')::bigint * {DAY_NS};
    high bigint := low + {DAY_NS};
    name text;
    part text;
    rest text;
    found bigint;
    made boolean := true;
BEGIN
    FOREACH name IN ARRAY ARRAY[{names}] LOOP
        part := name || to_char(day, '_YYYYMMDD');
        rest := name || '_default';
        CONTINUE WHEN to_regclass('{{schema}}.' || part) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(hashtext('execaudit_add_day'));
        CONTINUE WHEN to_regclass('{{schema}}.' || part) IS NOT NULL;
        IF pg_relation_size('{{schema}}.' || rest) > most_bytes THEN
            made := false;
            CONTINUE;
        END IF;
        EXECUTE format('CREATE TABLE {{schema}}.%I (LIKE {{schema}}.%I INCLUDING ALL)', part, name);
        EXECUTE format('LOCK TABLE {{schema}}.%I IN ACCESS EXCLUSIVE MODE', rest);
        EXECUTE format(
            'SELECT count(*) FROM (SELECT FROM {{schema}}.%I WHERE "ts" >= %s AND "ts" < %s LIMIT %s) AS r',
            rest, low, high, coalesce(most_moved, 0) + 1
        ) INTO found;
        IF found > most_moved THEN
            EXECUTE format('DROP TABLE {{schema}}.%I', part);
            made := false;
            CONTINUE;
        END IF;
        IF found > 0 THEN
            EXECUTE format(
                'WITH moved AS (DELETE FROM {{schema}}.%I WHERE "ts" >= %s AND "ts" < %s RETURNING *)'
                ' INSERT INTO {{schema}}.%I SELECT * FROM moved', rest, low, high, part
            );
        END IF;
        EXECUTE format(
            'ALTER TABLE {{schema}}.%I ATTACH PARTITION {{schema}}.%I FOR VALUES FROM (%s) TO (%s)',
            name, part, low, high
        );
    END LOOP;
    RETURN made;
END
$$"""  # noqa: S608  # ours
    yield "REVOKE ALL ON FUNCTION execaudit_make_day(date, bigint, bigint) FROM PUBLIC"
    yield f"""\
CREATE FUNCTION execaudit_add_day(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {{schema}}, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
BEGIN
    IF day < today - {OLDEST_DAYS} OR day > today + {NEWEST_DAYS} THEN
        RETURN false;
    END IF;
    RETURN execaudit_make_day(day, {_MOST_MOVED}, {_MOST_BYTES});
EXCEPTION
    -- Its rows go into the default partition, and are moved when this is asked again.
    WHEN check_violation OR lock_not_available OR duplicate_table OR deadlock_detected THEN
        RETURN false;
END
$$"""
    yield "REVOKE ALL ON FUNCTION execaudit_add_day(date) FROM PUBLIC"
