-- Tokens of these documents routed to an expert, where there are any.
SELECT layer_id, expert_id, sum(tokens)::BIGINT AS tokens
FROM document_load
WHERE doc_id IN (SELECT unnest($doc_ids::UINTEGER[]))
GROUP BY ALL
ORDER BY ALL
