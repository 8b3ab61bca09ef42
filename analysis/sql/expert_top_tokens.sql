-- A token id of one expert: those furthest above what the expert's load alone would give come first;
-- of all documents or of document_sample.sql. One of unknown text is shown by its number.
WITH sample AS (
    SELECT doc_id
    FROM document
    JOIN document_size USING (doc_id)
    QUALIFY $tokens IS NULL OR sum(tokens) OVER (ORDER BY sha256, doc_id) - tokens < $tokens
),
choices AS MATERIALIZED (
    SELECT doc_id, position, expert_id, weight
    FROM routing
    SEMI JOIN sample USING (doc_id)
    WHERE layer_id = $layer_id
),
chosen AS (
    SELECT token_id, coalesce(nullif(coalesce(mode(text), '#' || token_id), ''), mode(special), '∅') AS text,
           count(*) AS tokens, avg(weight) AS mean_weight
    FROM choices
    JOIN token USING (doc_id, position)
    WHERE expert_id = $expert_id AND token_id IS NOT NULL
    GROUP BY token_id
),
routed AS (
    SELECT token_id FROM token SEMI JOIN choices USING (doc_id, position)
),
vocabulary AS (
    SELECT token_id, count(*) AS occurrences FROM routed GROUP BY token_id
),
load AS (
    SELECT count(*) / (SELECT count(*) FROM routed) AS share
    FROM choices
    WHERE expert_id = $expert_id
)
SELECT token_id, text, tokens, occurrences * load.share AS expected,
       tokens / occurrences AS share_of_token, mean_weight
FROM chosen
JOIN vocabulary USING (token_id)
CROSS JOIN load
ORDER BY tokens - expected DESC, token_id
LIMIT $limit
