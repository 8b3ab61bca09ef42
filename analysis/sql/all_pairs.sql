-- Tokens for which a layer chose both experts of a pair: of all layers, only pairs that occur.
SELECT layer_id, expert_a, expert_b, sum(tokens)::BIGINT AS tokens
FROM coactivation
GROUP BY ALL
