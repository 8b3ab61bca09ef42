-- Tokens for which one layer chose both experts of a pair: every pair, 0 included.
WITH layer AS (
    SELECT expert_id FROM expert WHERE layer_id = $layer_id
),
chosen AS (
    SELECT expert_a, expert_b, sum(tokens) AS tokens
    FROM coactivation
    WHERE layer_id = $layer_id
    GROUP BY ALL
)
SELECT a.expert_id AS expert_a, b.expert_id AS expert_b, coalesce(tokens, 0)::BIGINT AS tokens
FROM layer AS a
JOIN layer AS b ON a.expert_id < b.expert_id
LEFT JOIN chosen ON expert_a = a.expert_id AND expert_b = b.expert_id
ORDER BY ALL
