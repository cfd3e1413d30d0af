CREATE TABLE "seal_chain" (
    "stream" int8 NOT NULL,
    "id" int8 NOT NULL,
    "chain" bytea NOT NULL,
    "is_keyed" int2 NOT NULL,
    "reason" bytea NOT NULL,
    "begun_ns" int8 NOT NULL,
    CHECK (octet_length("chain") = 16 AND octet_length("reason") <= 64),
    PRIMARY KEY ("stream", "id", "chain")
);;
CREATE TABLE "seal" (
    "stream" int8 NOT NULL,
    "id" int8 NOT NULL,
    "ts" int8 NOT NULL,
    "number" int8 NOT NULL,
    "place" int8 NOT NULL,
    "chain" bytea NOT NULL,
    "chain_id" int8 NOT NULL,
    "epoch" int8 NOT NULL,
    "at_us" int8 NOT NULL,
    "last_epoch" int8 NOT NULL,
    "start" bytea NOT NULL,
    "entries" bytea NOT NULL,
    "roots" bytea NOT NULL,
    "runs" bytea NOT NULL,
    "oldest" bytea NOT NULL,
    "gone" bytea NOT NULL,
    "shifts" bytea NOT NULL,
    "before" bytea NOT NULL,
    "hash" bytea NOT NULL,
    "code" bytea,
    CHECK ("id" BETWEEN 1 AND 1099511627775 AND "ts" >= 0),
    CHECK (octet_length("chain") = 16 AND octet_length("before") = 32 AND octet_length("hash") = 32),
    CHECK ("code" IS NULL OR octet_length("code") = 32),
    CHECK (octet_length("start") + octet_length("shifts") + octet_length("entries") <= 131072),
    CHECK (octet_length("roots") + octet_length("runs") + octet_length("oldest") + octet_length("gone") <= 8388608),
    PRIMARY KEY ("stream", "id", "ts")
) PARTITION BY RANGE ("ts");;
CREATE TABLE "seal_default" PARTITION OF "seal" DEFAULT;;
CREATE TABLE "seal_act" (
    "stream" int8 NOT NULL,
    "seal" int8 NOT NULL,
    "id" int8 NOT NULL,
    "at_ns" int8 NOT NULL,
    "reason" bytea NOT NULL,
    "execs" int8 NOT NULL,
    "pruned" bytea NOT NULL,
    "parts" bytea NOT NULL,
    CHECK (octet_length("parts") <= 8388608 AND octet_length("reason") <= 64),
    PRIMARY KEY ("stream", "seal", "id")
);;
CREATE TABLE "seal_change" (
    "stream" int8 NOT NULL,
    "seal" int8 NOT NULL,
    "id" int8 NOT NULL,
    "exec" int8 NOT NULL,
    "parent_was" int8,
    "parent_now" int8,
    "line_was" bytea,
    "line_now" bytea,
    CHECK (coalesce(octet_length("line_was"), 0) + coalesce(octet_length("line_now"), 0) <= 1024),
    PRIMARY KEY ("stream", "seal", "id")
);;
CREATE INDEX ON "seal_change" ("stream", "exec");;
CREATE TABLE "dropped" (
    "stream" int8 NOT NULL,
    "at_ns" int8 NOT NULL,
    "before_ns" int8 NOT NULL,
    "keep_ns" int8 NOT NULL,
    PRIMARY KEY ("stream", "at_ns")
);;
ALTER TABLE "seal_chain" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "seal_chain" FOR SELECT USING (true);;
CREATE POLICY "own" ON "seal_chain" FOR INSERT WITH CHECK ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
ALTER TABLE "seal" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "seal" FOR SELECT USING (true);;
CREATE POLICY "own" ON "seal" FOR INSERT WITH CHECK ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
ALTER TABLE "seal_act" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "seal_act" FOR SELECT USING (true);;
CREATE POLICY "own" ON "seal_act" FOR INSERT WITH CHECK ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
ALTER TABLE "seal_change" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "seal_change" FOR SELECT USING (true);;
CREATE POLICY "own" ON "seal_change" FOR INSERT WITH CHECK ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
ALTER TABLE "dropped" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "dropped" FOR SELECT USING (true);;
CREATE INDEX ON "exit" ("stream", "id");;
CREATE OR REPLACE FUNCTION execaudit_make_day(day date, most_moved bigint, most_bytes bigint) RETURNS boolean
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
    FOREACH name IN ARRAY ARRAY['exec', 'exit', 'hit', 'seal'] LOOP
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
$$
