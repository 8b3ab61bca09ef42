-- A choice made for a token of one document, rank 0 first; those that found their expert full last.
WITH choice AS (
    SELECT position, layer_id, rank, expert_id, weight, false AS dropped
    FROM routing
    WHERE doc_id = $doc_id
    UNION ALL
    SELECT position, layer_id, NULL, expert_id, 0, true
    FROM dropped
    WHERE doc_id = $doc_id
)
SELECT position, token_id, text, phase, loss, layer_id, rank, expert_id, weight, entropy, margin,
       dropped
FROM token
JOIN choice USING (position)
LEFT JOIN gate USING (doc_id, position, layer_id)
WHERE doc_id = $doc_id
ORDER BY position, layer_id, dropped, rank
