-- Entropy (nats) of a layer's gate over the tokens of a document, added up, and of how many it is known.
SELECT doc_id, layer_id, coalesce(sum(entropy), 0)::DOUBLE AS entropy, count(entropy) AS decisions
FROM gate
GROUP BY ALL
ORDER BY ALL
