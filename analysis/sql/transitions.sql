-- Tokens that one expert and then one of the next layer were chosen for: every pair, 0 included.
WITH chosen AS (
    SELECT expert_id, next_expert_id, sum(tokens) AS tokens
    FROM transition
    WHERE layer_id = $layer_id
    GROUP BY ALL
)
SELECT here.expert_id, next.expert_id AS next_expert_id, coalesce(tokens, 0)::BIGINT AS tokens
FROM expert AS here
JOIN expert AS next ON next.layer_id = here.layer_id + 1
LEFT JOIN chosen ON chosen.expert_id = here.expert_id AND next_expert_id = next.expert_id
WHERE here.layer_id = $layer_id
ORDER BY ALL
