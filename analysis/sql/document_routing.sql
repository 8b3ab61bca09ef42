-- A choice made for a token of one document, rank 0 first.
SELECT position, token_id, text, phase, loss, layer_id, rank, expert_id, weight, entropy, margin
FROM token
JOIN routing USING (doc_id, position)
LEFT JOIN gate USING (doc_id, position, layer_id)
WHERE doc_id = $doc_id
ORDER BY position, layer_id, rank
