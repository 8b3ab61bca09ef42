-- A choice made for a token of one document, rank 0 first; those that found their expert full last.
-- A token without a choice in a layer has a row there with expert -1. A token of unknown text is shown
-- by its id.
WITH choice AS (
    SELECT position, layer_id, rank, expert_id, weight, false AS dropped
    FROM routing
    WHERE doc_id = $doc_id
    UNION ALL
    SELECT position, layer_id, NULL, expert_id, 0, true
    FROM dropped
    WHERE doc_id = $doc_id
)
SELECT position, token_id, coalesce(text, '#' || token_id, '·') AS text, special, phase, loss, layer_id, rank,
       coalesce(expert_id, -1)::INTEGER AS expert_id, coalesce(weight, 0) AS weight, entropy,
       margin, coalesce(dropped, false) AS dropped
FROM token
CROSS JOIN (SELECT DISTINCT layer_id FROM expert)
LEFT JOIN choice USING (position, layer_id)
LEFT JOIN gate USING (doc_id, position, layer_id)
WHERE doc_id = $doc_id
ORDER BY position, layer_id, dropped, rank
