-- Experts that a layer ran for the tokens of a document, added up, how many tokens these are, and for
-- how many of them it ran any.
SELECT doc_id, coalesce($names[list_position($labels, coalesce(domain, ''))], $others) AS domain, layer_id,
       sum(k * tokens)::BIGINT AS choices, sum(tokens)::BIGINT AS tokens,
       coalesce(sum(tokens) FILTER (k > 0), 0)::BIGINT AS routed
FROM document_k
JOIN document USING (doc_id)
GROUP BY ALL
ORDER BY ALL
