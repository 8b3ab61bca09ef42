-- A trace: one DuckDB file, one captured pass of one model. Immutable once complete.
-- Rows of token and decision lie in (doc_id, position, layer_id) order.

CREATE TABLE trace (
    trace_id VARCHAR NOT NULL,          -- of this very trace; results computed later name it
    name VARCHAR NOT NULL,
    source VARCHAR NOT NULL,            -- routescope, transformers, sglang, ...
    model_name VARCHAR NOT NULL,
    model_sha256 VARCHAR NOT NULL,
    tokenizer VARCHAR NOT NULL,
    num_layers USMALLINT NOT NULL,      -- MoE layers
    num_experts USMALLINT NOT NULL,     -- routed experts: the most of any layer
    num_shared_experts USMALLINT NOT NULL, -- the most of any layer
    scoring VARCHAR NOT NULL,           -- of all layers, or mixed
    top_k USMALLINT,                    -- NULL where it varies from token to token or by layer
    counts_only BOOLEAN NOT NULL,       -- its source counts choices and names no token
    created_at TIMESTAMP NOT NULL,      -- UTC
    seed BIGINT,
    config JSON NOT NULL,               -- the model's configuration, and the capture's
    format_version USMALLINT NOT NULL
);

CREATE TABLE layer (                    -- a MoE layer
    layer_id USMALLINT NOT NULL,
    name VARCHAR NOT NULL,              -- what the model calls it
    num_experts USMALLINT NOT NULL,     -- routed
    num_shared_experts USMALLINT NOT NULL,
    top_k USMALLINT,                    -- NULL where it varies from token to token
    scoring VARCHAR NOT NULL,           -- softmax, sigmoid, hash, unknown, ...
    weighting VARCHAR NOT NULL,         -- how mixing weights come from scores, in words
    selection VARCHAR NOT NULL          -- by what experts are chosen, in words
);

CREATE TABLE document (
    doc_id UINTEGER NOT NULL,
    domain VARCHAR,                     -- NULL: not labelled
    "group" VARCHAR,                    -- one piece of evidence, of one domain; NULL: its own
    text VARCHAR NOT NULL,
    origin VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL             -- of the text in UTF-8
);

CREATE TABLE token (
    doc_id UINTEGER NOT NULL,
    position UINTEGER NOT NULL,
    token_id UINTEGER,                  -- NULL where the source does not name it
    text VARCHAR,                       -- NULL where unknown
    phase UTINYINT NOT NULL,            -- 0 prefill, 1 decode
    loss FLOAT,                         -- nats given the tokens before it, NULL where unknown
    special VARCHAR                     -- name of a special token; NULL: an ordinary one
);

CREATE TABLE expert (
    layer_id USMALLINT NOT NULL,
    expert_id USMALLINT NOT NULL        -- every routed expert of the layer: a dead one is a row with 0
);

CREATE TABLE decision (                 -- of a layer about a token
    doc_id UINTEGER NOT NULL,
    position UINTEGER NOT NULL,
    layer_id USMALLINT NOT NULL,
    expert_ids USMALLINT[] NOT NULL,    -- rank 0, of the largest weight, first; NULL in it: none ran
    weights FLOAT[],                    -- of the same ranks; NULL where the source gives ids only
    entropy FLOAT,                      -- nats; NULL where unknown, like the margin
    margin FLOAT                        -- last chosen minus best rejected score
);

CREATE TABLE dropped (                  -- chosen, but not executed: the expert was full
    doc_id UINTEGER NOT NULL,
    position UINTEGER NOT NULL,
    layer_id USMALLINT NOT NULL,
    expert_id USMALLINT NOT NULL
);

CREATE TABLE finding (                  -- what was noticed while the trace was written
    kind VARCHAR NOT NULL,
    severity VARCHAR NOT NULL,          -- fatal (stands on every page), warning, note
    occurrences UBIGINT NOT NULL,
    first_example VARCHAR NOT NULL,     -- where, in words
    effect VARCHAR NOT NULL,            -- on the figures
    unit VARCHAR NOT NULL DEFAULT 'tokens', -- that occur
    done VARCHAR NOT NULL DEFAULT ''    -- about it; empty: nothing
);

-- Rollups are sums, so shards merge by addition.
CREATE TABLE document_load (
    doc_id UINTEGER NOT NULL,
    layer_id USMALLINT NOT NULL,
    expert_id USMALLINT NOT NULL,
    phase UTINYINT NOT NULL,
    tokens UINTEGER NOT NULL,
    weight_sum DOUBLE NOT NULL
);

CREATE TABLE document_size (
    doc_id UINTEGER NOT NULL,
    tokens UINTEGER NOT NULL,
    losses UINTEGER NOT NULL,           -- tokens whose loss is known
    loss DOUBLE NOT NULL                -- nats, of these
);

CREATE TABLE document_gate (
    doc_id UINTEGER NOT NULL,
    layer_id USMALLINT NOT NULL,
    entropies UINTEGER NOT NULL,        -- decisions whose entropy is known
    entropy DOUBLE NOT NULL,            -- nats, of these
    margins UINTEGER NOT NULL,
    margin DOUBLE NOT NULL
);

CREATE TABLE document_dropped (
    doc_id UINTEGER NOT NULL,
    layer_id USMALLINT NOT NULL,
    expert_id USMALLINT NOT NULL,
    tokens UINTEGER NOT NULL
);

CREATE TABLE document_k (
    doc_id UINTEGER NOT NULL,
    layer_id USMALLINT NOT NULL,
    k USMALLINT NOT NULL,               -- experts that ran for the token; 0: none
    tokens UINTEGER NOT NULL
);

CREATE TABLE coactivation (
    layer_id USMALLINT NOT NULL,
    expert_a USMALLINT NOT NULL,        -- expert_a < expert_b
    expert_b USMALLINT NOT NULL,
    tokens UBIGINT NOT NULL
);

CREATE TABLE transition (
    layer_id USMALLINT NOT NULL,
    expert_id USMALLINT NOT NULL,
    next_expert_id USMALLINT NOT NULL,  -- in layer_id + 1
    tokens UBIGINT NOT NULL
);
