-- Tokens of a domain routed to an expert: every combination, 0 included.
WITH chosen AS (
    SELECT layer_id, expert_id, coalesce($names[list_position($labels, coalesce(domain, ''))], $others) AS domain, sum(tokens) AS tokens
    FROM document_load
    JOIN document USING (doc_id)
    GROUP BY ALL
)
SELECT layer_id, expert_id, domain, coalesce(tokens, 0)::BIGINT AS tokens
FROM expert
CROSS JOIN (SELECT DISTINCT coalesce($names[list_position($labels, coalesce(domain, ''))], $others) AS domain FROM document)
LEFT JOIN chosen USING (layer_id, expert_id, domain)
ORDER BY ALL
