-- Tokens of a document routed to an expert, where there are any.
SELECT doc_id, layer_id, expert_id, sum(tokens)::BIGINT AS tokens
FROM document_load
GROUP BY ALL
ORDER BY ALL
