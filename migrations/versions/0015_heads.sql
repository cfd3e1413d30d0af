CREATE TABLE "head" (
    "stream" int8 NOT NULL,
    "chain" bytea NOT NULL,
    "epoch" int8 NOT NULL,
    "at_ns" int8 NOT NULL,
    "hash" bytea NOT NULL,
    CHECK (encode("chain", 'escape') ~ '^[0-9a-f]{16}$' AND encode("hash", 'escape') ~ '^[0-9a-f]{64}$'),
    CHECK ("epoch" >= 0 AND "at_ns" >= 0),
    PRIMARY KEY ("stream", "chain", "epoch")
);;
ALTER TABLE "head" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "head" FOR SELECT USING (true);;
CREATE POLICY "own" ON "head" FOR INSERT WITH CHECK ("stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s."owner" = current_user))
