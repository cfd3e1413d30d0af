CREATE TABLE "retired" (
    "stream" int8 NOT NULL,
    "host" bytea NOT NULL,
    "heard_ns" int8 NOT NULL,
    "at_ns" int8 NOT NULL,
    PRIMARY KEY ("stream", "host")
);;
ALTER TABLE "retired" ENABLE ROW LEVEL SECURITY;;
CREATE POLICY "all" ON "retired" FOR SELECT USING (true)
