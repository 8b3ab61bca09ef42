-- Experts that a layer ran for the tokens of a document, added up, and how many tokens these are.
SELECT doc_id, coalesce($names[list_position($labels, coalesce(domain, ''))], $others) AS domain, layer_id,
       sum(k * tokens)::BIGINT AS choices, sum(tokens)::BIGINT AS tokens
FROM document_k
JOIN document USING (doc_id)
GROUP BY ALL
ORDER BY ALL
