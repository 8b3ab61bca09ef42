-- A layer's gate: mean entropy (nats) and mean margin of its decisions, NULL where unknown.
SELECT layer_id, sum(entropy) / nullif(sum(entropies), 0) AS mean_entropy,
       sum(margin) / nullif(sum(margins), 0) AS mean_margin
FROM document_gate
GROUP BY layer_id
ORDER BY layer_id
