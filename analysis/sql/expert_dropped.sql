-- Choices that each expert refused, being full. Experts that refused none appear with 0.
WITH refused AS (
    SELECT layer_id, expert_id, sum(tokens) AS dropped
    FROM document_dropped
    JOIN document USING (doc_id)
    WHERE $domain IS NULL OR coalesce($names[list_position($labels, coalesce(domain, ''))], $others) = $domain
    GROUP BY ALL
)
SELECT layer_id, expert_id, coalesce(dropped, 0)::BIGINT AS dropped
FROM expert
LEFT JOIN refused USING (layer_id, expert_id)
ORDER BY layer_id, expert_id
