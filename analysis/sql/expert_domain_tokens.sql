-- Tokens of a domain routed to an expert: every combination, 0 included. The table domain_place
-- has domain_places.sql.
WITH chosen AS (
    SELECT place, layer_id, expert_id, sum(tokens) AS tokens
    FROM document_load
    JOIN domain_place USING (doc_id)
    GROUP BY place, layer_id, expert_id
),
named AS (
    SELECT DISTINCT place, coalesce($names[place], $others) AS domain FROM domain_place
)
SELECT layer_id, expert_id, domain, coalesce(tokens, 0)::BIGINT AS tokens
FROM expert
CROSS JOIN named
LEFT JOIN chosen USING (layer_id, expert_id, place)
ORDER BY ALL
