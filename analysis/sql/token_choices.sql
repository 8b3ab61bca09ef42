-- A choice of a sampled token; "point" is the token's place in the sample.
WITH sample AS (
    SELECT unnest($doc_ids) AS doc_id, unnest($positions) AS position,
           unnest(range(len($doc_ids))) AS point
), lists AS (
    SELECT point, layer_id, first_rank, expert_ids, weights
    FROM choice_list
    JOIN sample USING (doc_id, position)
), chosen AS (
    SELECT point, layer_id, unnest(expert_ids) AS expert_id,
           (first_rank + generate_subscripts(expert_ids, 1) - 1)::USMALLINT AS rank,
           coalesce(unnest(weights), 'nan'::FLOAT) AS weight
    FROM lists
)
SELECT point, layer_id, expert_id, rank, weight
FROM chosen
WHERE expert_id IS NOT NULL
ORDER BY point, layer_id, rank
