-- A document that chooses an expert more often than the layer's load explains: choices of it, all its choices of
-- the layer, and how many more of it than that load; most first.
WITH of_layer AS (
    SELECT doc_id, coalesce(sum(tokens) FILTER (WHERE expert_id = $expert_id), 0)::BIGINT AS tokens,
           sum(tokens)::BIGINT AS choices
    FROM document_load
    WHERE layer_id = $layer_id
    GROUP BY doc_id
)
SELECT doc_id, tokens, choices, tokens - choices * (SELECT sum(tokens) / sum(choices) FROM of_layer) AS excess
FROM of_layer
WHERE tokens > 0
ORDER BY excess DESC, doc_id
LIMIT $limit
