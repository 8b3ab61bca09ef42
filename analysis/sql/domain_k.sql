-- Tokens of a domain for which a layer ran k experts, where there are any; k = 0: all were full.
SELECT layer_id, coalesce($names[list_position($labels, coalesce(domain, ''))], $others) AS domain, k, sum(tokens)::BIGINT AS tokens
FROM document_k
JOIN document USING (doc_id)
GROUP BY ALL
ORDER BY ALL
