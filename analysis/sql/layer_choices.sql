-- A choice of one layer, rank 0 first; of so many documents, drawn by the hash of their text.
WITH sample AS (
    SELECT doc_id FROM document ORDER BY sha256, doc_id LIMIT $documents
)
SELECT doc_id, position, token_id, rank, expert_id
FROM choice
JOIN sample USING (doc_id)
JOIN token USING (doc_id, position)
WHERE layer_id = $layer_id
ORDER BY doc_id, position, rank
