-- A choice of a sampled token; "point" is the token's place in the sample.
WITH sample AS (
    SELECT unnest($doc_ids) AS doc_id, unnest($positions) AS position,
           unnest(range(len($doc_ids))) AS point
),
choice AS (
    SELECT point, layer_id, generate_subscripts(expert_ids, 1) - 1 AS rank,
           unnest(expert_ids) AS expert_id, coalesce(unnest(weights), 'nan'::FLOAT) AS weight
    FROM decision
    JOIN sample USING (doc_id, position)
)
SELECT point, layer_id, expert_id, rank, weight
FROM choice
WHERE expert_id IS NOT NULL
