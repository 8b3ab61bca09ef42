-- Tokens of a document routed to an expert, of the documents from one to another, both included.
SELECT doc_id, layer_id, expert_id, sum(tokens)::BIGINT AS tokens
FROM document_load
WHERE doc_id BETWEEN $first_doc_id AND $last_doc_id
GROUP BY ALL
ORDER BY ALL
