-- A choice of a sampled token; "point" is the token's place in the sample.
WITH sample AS (
    SELECT unnest($doc_ids) AS doc_id, unnest($positions) AS position,
           unnest(range(len($doc_ids))) AS point
)
SELECT point, layer_id, expert_id, rank, weight
FROM routing
JOIN sample USING (doc_id, position)
ORDER BY point, layer_id, rank
