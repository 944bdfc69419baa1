-- Not ContextForge's: the row that a share of the specimen's tool calls update in their transaction.
CREATE TABLE usage_counters (
    id integer PRIMARY KEY,
    calls bigint NOT NULL DEFAULT 0
);
