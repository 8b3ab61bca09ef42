-- How often a document's occurrences of a token id chose an expert, and chose it first; of all
-- documents, or of those drawn by the hash of their text until they hold so many tokens.
WITH size AS (
    SELECT doc_id, sum(tokens) AS tokens FROM document_k WHERE layer_id = $layer_id GROUP BY doc_id
),
sample AS (
    SELECT doc_id
    FROM document
    JOIN size USING (doc_id)
    QUALIFY $tokens IS NULL OR sum(tokens) OVER (ORDER BY sha256, doc_id) - tokens < $tokens
)
SELECT token_id, doc_id, expert_id, count(*)::BIGINT AS tokens,
       count(*) FILTER (rank = 0)::BIGINT AS first_tokens
FROM choice
JOIN sample USING (doc_id)
JOIN token USING (doc_id, position)
WHERE layer_id = $layer_id AND token_id IS NOT NULL
GROUP BY ALL
ORDER BY ALL
