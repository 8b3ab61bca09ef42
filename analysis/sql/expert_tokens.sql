-- Tokens routed to each expert. Dead experts appear with 0: averages depend on it.
WITH chosen AS (
    SELECT layer_id, expert_id, sum(tokens) AS tokens, sum(weight_sum) AS weight_sum
    FROM document_load
    JOIN document USING (doc_id)
    WHERE ($phase IS NULL OR phase = $phase)
      AND ($domain IS NULL OR coalesce($names[list_position($labels, coalesce(domain, ''))], $others) = $domain)
    GROUP BY ALL
)
SELECT layer_id, expert_id,
       coalesce(tokens, 0)::BIGINT AS tokens, coalesce(weight_sum, 0) AS weight_sum
FROM expert
LEFT JOIN chosen USING (layer_id, expert_id)
ORDER BY layer_id, expert_id
