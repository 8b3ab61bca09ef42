-- A token id of one expert: those furthest above what the expert's load alone would give come first.
-- One of unknown text is shown by its number.
WITH chosen AS (
    SELECT token_id, coalesce(nullif(coalesce(mode(text), '#' || token_id), ''), mode(special), '∅') AS text,
           count(*) AS tokens, avg(weight) AS mean_weight
    FROM routing
    JOIN token USING (doc_id, position)
    WHERE layer_id = $layer_id AND expert_id = $expert_id AND token_id IS NOT NULL
    GROUP BY token_id
),
routed AS (
    SELECT token_id
    FROM token
    SEMI JOIN (SELECT doc_id, position FROM choice WHERE layer_id = $layer_id) AS chose
    USING (doc_id, position)
),
vocabulary AS (
    SELECT token_id, count(*) AS occurrences FROM routed GROUP BY token_id
),
load AS (
    SELECT sum(tokens) / (SELECT count(*) FROM routed) AS share
    FROM document_load
    WHERE layer_id = $layer_id AND expert_id = $expert_id
)
SELECT token_id, text, tokens, occurrences * load.share AS expected,
       tokens / occurrences AS share_of_token, mean_weight
FROM chosen
JOIN vocabulary USING (token_id)
CROSS JOIN load
ORDER BY tokens - expected DESC, token_id
LIMIT $limit
