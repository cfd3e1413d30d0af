DROP FUNCTION execaudit_add_day(date);;
CREATE FUNCTION execaudit_make_day(day date, most_moved bigint, most_bytes bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $$
DECLARE
    low bigint := (day - DATE '1970-01-01')::bigint * 86400000000000;
    high bigint := low + 86400000000000;
    name text;
    part text;
    rest text;
    found bigint;
    made boolean := true;
BEGIN
    FOREACH name IN ARRAY ARRAY['exec', 'exit', 'hit'] LOOP
        part := name || to_char(day, '_YYYYMMDD');
        rest := name || '_default';
        CONTINUE WHEN to_regclass('{schema}.' || part) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(hashtext('execaudit_add_day'));
        CONTINUE WHEN to_regclass('{schema}.' || part) IS NOT NULL;
        IF pg_relation_size('{schema}.' || rest) > most_bytes THEN
            made := false;
            CONTINUE;
        END IF;
        EXECUTE format('CREATE TABLE {schema}.%I (LIKE {schema}.%I INCLUDING ALL)', part, name);
        EXECUTE format('LOCK TABLE {schema}.%I IN ACCESS EXCLUSIVE MODE', rest);
        EXECUTE format(
            'SELECT count(*) FROM (SELECT FROM {schema}.%I WHERE "ts" >= %s AND "ts" < %s LIMIT %s) AS r',
            rest, low, high, coalesce(most_moved, 0) + 1
        ) INTO found;
        IF found > most_moved THEN
            EXECUTE format('DROP TABLE {schema}.%I', part);
            made := false;
            CONTINUE;
        END IF;
        IF found > 0 THEN
            EXECUTE format(
                'WITH moved AS (DELETE FROM {schema}.%I WHERE "ts" >= %s AND "ts" < %s RETURNING *)'
                ' INSERT INTO {schema}.%I SELECT * FROM moved', rest, low, high, part
            );
        END IF;
        EXECUTE format(
            'ALTER TABLE {schema}.%I ATTACH PARTITION {schema}.%I FOR VALUES FROM (%s) TO (%s)',
            name, part, low, high
        );
    END LOOP;
    RETURN made;
END
$$;;
REVOKE ALL ON FUNCTION execaudit_make_day(date, bigint, bigint) FROM PUBLIC;;
CREATE FUNCTION execaudit_add_day(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
BEGIN
    IF day < today - 400 OR day > today + 8 THEN
        RETURN false;
    END IF;
    RETURN execaudit_make_day(day, 10000, 67108864);
EXCEPTION
    -- Its rows go into the default partition, and are moved when this is asked again.
    WHEN check_violation OR lock_not_available OR duplicate_table OR deadlock_detected THEN
        RETURN false;
END
$$;;
REVOKE ALL ON FUNCTION execaudit_add_day(date) FROM PUBLIC;;
CREATE TABLE "span" (
    "stream" int8 NOT NULL,
    "day" int4 NOT NULL,
    "first_seq" int8 NOT NULL,
    "last_seq" int8 NOT NULL,
    PRIMARY KEY ("stream", "day")
) WITH (fillfactor = 80);;
CREATE INDEX ON "span" ("day");;
CREATE TABLE "account" ("stream" int8 NOT NULL, "name" bytea NOT NULL, "uid" int8);;
CREATE UNIQUE INDEX "account_key" ON "account" (sha256("name"), "stream", "uid") NULLS NOT DISTINCT;;
CREATE FUNCTION execaudit_note_execs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
BEGIN
    INSERT INTO "span" AS s ("stream", "day", "first_seq", "last_seq")
        SELECT "stream", "ts" / 86400000000000, min("seq"), max("seq") FROM "added" GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT ("stream", "day") DO UPDATE SET
            "first_seq" = least(s."first_seq", excluded."first_seq"),
            "last_seq" = greatest(s."last_seq", excluded."last_seq")
        WHERE s."first_seq" > excluded."first_seq" OR s."last_seq" < excluded."last_seq";
    INSERT INTO "account" ("stream", "name", "uid")
        SELECT "stream", "user", "uid" FROM "added" WHERE "user" IS NOT NULL UNION SELECT "stream", "login_user", NULL FROM "added" WHERE "login_user" IS NOT NULL
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;;
REVOKE ALL ON FUNCTION execaudit_note_execs() FROM PUBLIC;;
CREATE TRIGGER "note_execs" AFTER INSERT ON "exec" REFERENCING NEW TABLE AS "added"
FOR EACH STATEMENT EXECUTE FUNCTION execaudit_note_execs();;
INSERT INTO "span" ("stream", "day", "first_seq", "last_seq")
SELECT "stream", "ts" / 86400000000000, min("seq"), max("seq") FROM "exec" GROUP BY 1, 2 ORDER BY 1, 2;;
INSERT INTO "account" ("stream", "name", "uid")
SELECT "stream", "user", "uid" FROM "exec" WHERE "user" IS NOT NULL UNION SELECT "stream", "login_user", NULL FROM "exec" WHERE "login_user" IS NOT NULL;;
ALTER TABLE "exec" ADD CHECK ("boot_ns" BETWEEN 0 AND 1152921504606846975 AND "run" >= 0) NOT VALID;;
ALTER TABLE "exec" ADD CHECK (("parent" IS NULL OR "parent" BETWEEN 1 AND 1099511627775) AND ("replaced_by" IS NULL OR "replaced_by" BETWEEN 1 AND 1099511627775)) NOT VALID;;
ALTER TABLE "exec" ADD CHECK (("status" IS NULL OR "status" BETWEEN 0 AND 65535) AND ("duration_ns" IS NULL OR "duration_ns" >= 0)) NOT VALID;;
ALTER TABLE "exec" ADD CHECK ("privileged" IS NULL OR "privileged" BETWEEN 0 AND 7) NOT VALID;;
ALTER TABLE "exec" ADD CHECK ("holes" IS NULL OR encode("holes", 'escape') ~ '^[[]([[][0-9]{1,10},([0-9]{1,10}|null)[]](,[[][0-9]{1,10},([0-9]{1,10}|null)[]])*)?[]]$') NOT VALID;;
ALTER TABLE "exec" ADD CHECK ("redacted" IS NULL OR encode("redacted", 'escape') ~ '^[[]([[][0-9]{1,10},([0-9]{1,10}|null)[]](,[[][0-9]{1,10},([0-9]{1,10}|null)[]])*)?[]]$') NOT VALID;;
ALTER TABLE "exit" ADD CHECK ("seq" BETWEEN 1 AND 1099511627775 AND ("replaced_by" IS NULL OR "replaced_by" BETWEEN 1 AND 1099511627775)) NOT VALID;;
ALTER TABLE "exit" ADD CHECK (("status" IS NULL OR "status" BETWEEN 0 AND 65535) AND "duration_ns" >= 0 AND "ts" >= 0) NOT VALID;;
ALTER TABLE "hit" ADD CHECK ("seq" BETWEEN 1 AND 1099511627775 AND "ts" >= 0 AND "left_out" BETWEEN 0 AND 1099511627775) NOT VALID;;
ALTER TABLE "run" ADD CHECK (encode("boot_id", 'escape') ~ '^[0-9a-f]{8}-' AND "started_ns" >= 0) NOT VALID;;
ALTER TABLE "gap" ADD CHECK ("ts_from" >= 0 AND "ts_to" >= 0 AND ("count" IS NULL OR "count" >= 0) AND "exits" >= 0) NOT VALID;;
ALTER TABLE "stream" ADD CHECK (encode("continued", 'escape') ~ '^[[]([0-9]{1,13}(,[0-9]{1,13})*)?[]]$') NOT VALID;;
ALTER TABLE "stream" ADD CHECK (encode("shifts", 'escape') ~ '^[{]("(exec|exit|run|gap|rule)":[[][[][0-9]{1,13},[0-9]{1,13}[]](,[[][0-9]{1,13},[0-9]{1,13}[]])*[]](,"(exec|exit|run|gap|rule)":[[][[][0-9]{1,13},[0-9]{1,13}[]](,[[][0-9]{1,13},[0-9]{1,13}[]])*[]])*)?[}]$') NOT VALID;;
ALTER TABLE "stream" ADD CHECK ("contact_ns" >= 0 AND "first_ns" >= 0 AND "last_seq" >= 0 AND "exec_seq" >= 0) NOT VALID
