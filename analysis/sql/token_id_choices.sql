-- How often a document's occurrences of a token id chose an expert, and chose it first.
SELECT token_id, doc_id, expert_id, count(*)::BIGINT AS tokens,
       count(*) FILTER (rank = 0)::BIGINT AS first_tokens
FROM routing
JOIN token USING (doc_id, position)
WHERE layer_id = $layer_id
GROUP BY ALL
ORDER BY ALL
