-- A layer's gate: mean entropy (nats) and mean margin of its decisions, NULL where unknown.
SELECT layer_id, avg(entropy) AS mean_entropy, avg(margin) AS mean_margin
FROM gate
GROUP BY layer_id
ORDER BY layer_id
