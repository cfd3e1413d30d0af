CREATE TABLE "exec" (
    "stream" int8 NOT NULL,
    "seq" int8 NOT NULL,
    "ts" int8 NOT NULL,
    "boot_ns" int8 NOT NULL,
    "run" int8 NOT NULL,
    "host" bytea NOT NULL,
    "boot_id" bytea NOT NULL,
    "kind" int2 NOT NULL,
    "pid" int8 NOT NULL,
    "tid" int8 NOT NULL,
    "ppid" int8,
    "parent" int8,
    "uid" int8,
    "euid" int8,
    "gid" int8,
    "user" bytea,
    "comm" bytea,
    "filename" bytea,
    "exe" bytea,
    "cwd" bytea,
    "parent_comm" bytea,
    "interpreter" bytea,
    "inode" int8,
    "device" int8,
    "nlink" int8,
    "privileged" int2,
    "root" bytea,
    "mnt_ns" int8,
    "traced" int8,
    "egid" int8,
    "auid" int8,
    "session" int8,
    "login_user" bytea,
    "tty" bytea,
    "cgroup" bytea,
    "argv" bytea NOT NULL,
    "argc" int8,
    "argv_bytes" int8,
    "truncated" int2,
    "holes" bytea,
    "redacted" bytea,
    "errno" int8,
    "duration_ns" int8,
    "status" int8,
    "replaced_by" int8,
    CHECK ("seq" BETWEEN 1 AND 1099511627775 AND "ts" >= 0),
    CHECK ("pid" BETWEEN 0 AND 4194304 AND "tid" BETWEEN 0 AND 4194304),
    CHECK ("kind" BETWEEN 0 AND 2),
    CHECK ("truncated" IS NULL OR "truncated" BETWEEN 0 AND 3 AND "holes" IS NOT NULL),
    CHECK (encode("boot_id", 'escape') ~ '^[0-9a-f]{8}-'),
    PRIMARY KEY ("stream", "seq", "ts")
) PARTITION BY RANGE ("ts");;
CREATE TABLE "exec_default" PARTITION OF "exec" DEFAULT;;
CREATE INDEX ON "exec" ("ts");;
CREATE INDEX ON "exec" ("comm", "ts");;
CREATE INDEX ON "exec" ("pid", "ts");;
CREATE INDEX ON "exec" ("stream", "parent");;
CREATE TABLE "exit" (
    "stream" int8 NOT NULL,
    "seq" int8 NOT NULL,
    "ts" int8 NOT NULL,
    "id" int8 NOT NULL,
    "duration_ns" int8 NOT NULL,
    "status" int8,
    "replaced_by" int8,
    PRIMARY KEY ("stream", "seq", "ts")
) PARTITION BY RANGE ("ts");;
CREATE TABLE "exit_default" PARTITION OF "exit" DEFAULT;;
CREATE INDEX ON "exit" USING brin ("ts") WITH (pages_per_range = 32);;
CREATE TABLE "hit" (
    "stream" int8 NOT NULL,
    "seq" int8 NOT NULL,
    "ts" int8 NOT NULL,
    "rule" int8 NOT NULL,
    "left_out" int8 NOT NULL,
    PRIMARY KEY ("stream", "seq", "rule", "ts")
) PARTITION BY RANGE ("ts");;
CREATE TABLE "hit_default" PARTITION OF "hit" DEFAULT;;
CREATE INDEX ON "hit" USING brin ("ts") WITH (pages_per_range = 32);;
CREATE TABLE "rule" (
    "stream" int8 NOT NULL,
    "id" int8 NOT NULL,
    "uuid" bytea,
    "title" bytea NOT NULL,
    "level" bytea,
    "tags" bytea NOT NULL,
    "file" bytea NOT NULL,
    PRIMARY KEY ("stream", "id")
);;
CREATE TABLE "run" (
    "stream" int8 NOT NULL,
    "id" int8 NOT NULL,
    "boot_id" bytea NOT NULL,
    "host" bytea NOT NULL,
    "version" bytea NOT NULL,
    "started_ns" int8 NOT NULL,
    "stopped_ns" int8,
    "seen_ns" int8,
    PRIMARY KEY ("stream", "id")
);;
CREATE TABLE "gap" (
    "stream" int8 NOT NULL,
    "id" int8 NOT NULL,
    "host" bytea NOT NULL,
    "ts_from" int8 NOT NULL,
    "ts_to" int8 NOT NULL,
    "reason" bytea NOT NULL,
    "count" int8,
    "exits" int8 NOT NULL,
    "uid" int8,
    CHECK (encode("reason", 'escape') IN ('ring_full', 'recursion', 'store_full', 'recorder_stopped', 'unstorable', 'not_forwarded', 'clock')),
    PRIMARY KEY ("stream", "id")
);;
CREATE INDEX ON "gap" ("ts_to");;
CREATE TABLE "pruned" (
    "stream" int8 NOT NULL,
    "id" int8 NOT NULL,
    "at_ns" int8 NOT NULL,
    "top" int8 NOT NULL,
    "ts_from" int8 NOT NULL,
    "ts_to" int8 NOT NULL,
    "execs" int8 NOT NULL,
    "reason" bytea NOT NULL,
    "finished" int2 NOT NULL,
    PRIMARY KEY ("stream", "id")
);;
CREATE TABLE "stream" (
    "stream" int8 NOT NULL,
    "stream_id" bytea NOT NULL,
    "host" bytea NOT NULL,
    "version" bytea NOT NULL,
    "epoch" int8 NOT NULL,
    "first_ns" int8 NOT NULL,
    "contact_ns" int8 NOT NULL,
    "last_seq" int8 NOT NULL,
    "exec_seq" int8 NOT NULL,
    "exit_id" int8 NOT NULL,
    "hit_seq" int8 NOT NULL,
    "run_id" int8 NOT NULL,
    "gap_id" int8 NOT NULL,
    "rule_id" int8 NOT NULL,
    "live_run" int8,
    "lost_ns" int8,
    "continued" bytea NOT NULL,
    "shifts" bytea NOT NULL,
    "owner" name NOT NULL DEFAULT current_user,
    CHECK (encode("continued", 'escape') ~ '^[[][0-9,]*[]]$'),
    PRIMARY KEY ("stream")
);;
CREATE TABLE "program" (
    "exe" bytea NOT NULL,
    "stream" int8 NOT NULL,
    "first_ts" int8 NOT NULL
);;
CREATE UNIQUE INDEX "program_key" ON "program" (sha256("exe"), "stream");;
ALTER TABLE "exec" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "exec" FOR SELECT USING (true);;
CREATE POLICY "own" ON "exec" FOR INSERT WITH CHECK ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
ALTER TABLE "exit" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "exit" FOR SELECT USING (true);;
CREATE POLICY "own" ON "exit" FOR INSERT WITH CHECK ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
ALTER TABLE "hit" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "hit" FOR SELECT USING (true);;
CREATE POLICY "own" ON "hit" FOR INSERT WITH CHECK ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
ALTER TABLE "rule" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "rule" FOR SELECT USING (true);;
CREATE POLICY "own" ON "rule" FOR INSERT WITH CHECK ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
ALTER TABLE "run" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "run" FOR SELECT USING (true);;
CREATE POLICY "own" ON "run" FOR INSERT WITH CHECK ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
CREATE POLICY "change" ON "run" FOR UPDATE USING ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
ALTER TABLE "gap" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "gap" FOR SELECT USING (true);;
CREATE POLICY "own" ON "gap" FOR INSERT WITH CHECK ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
ALTER TABLE "pruned" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "pruned" FOR SELECT USING (true);;
CREATE POLICY "own" ON "pruned" FOR INSERT WITH CHECK ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
CREATE POLICY "change" ON "pruned" FOR UPDATE USING ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
ALTER TABLE "stream" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "stream" FOR SELECT USING (true);;
CREATE POLICY "own" ON "stream" FOR INSERT WITH CHECK ("owner" = current_user);;
CREATE POLICY "change" ON "stream" FOR UPDATE USING ("owner" = current_user);;
ALTER TABLE "program" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "program" FOR SELECT USING (true);;
CREATE POLICY "own" ON "program" FOR INSERT WITH CHECK ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
CREATE POLICY "change" ON "program" FOR UPDATE USING ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user));;
CREATE FUNCTION execaudit_add_day(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    low bigint := (day - DATE '1970-01-01')::bigint * 86400000000000;
    name text;
    part text;
BEGIN
    IF day < today - 400 OR day > today + 8 THEN
        RETURN false;
    END IF;
    FOREACH name IN ARRAY ARRAY['exec', 'exit', 'hit'] LOOP
        part := name || to_char(day, '_YYYYMMDD');
        IF to_regclass('{schema}.' || part) IS NULL THEN
            PERFORM pg_advisory_xact_lock(hashtext('execaudit_add_day'));
        END IF;
        IF to_regclass('{schema}.' || part) IS NULL THEN
            EXECUTE format('CREATE TABLE {schema}.%I (LIKE {schema}.%I INCLUDING ALL)', part, name);
            EXECUTE format(
                'ALTER TABLE {schema}.%I ATTACH PARTITION {schema}.%I FOR VALUES FROM (%s) TO (%s)',
                name, part, low, low + 86400000000000
            );
        END IF;
    END LOOP;
    RETURN true;
EXCEPTION
    -- What came before the partition was there stays in the default one, and so does the rest of its day.
    WHEN check_violation OR lock_not_available OR duplicate_table THEN
        RETURN false;
END
$$;;
REVOKE ALL ON FUNCTION execaudit_add_day(date) FROM PUBLIC
