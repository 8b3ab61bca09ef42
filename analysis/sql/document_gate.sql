-- Entropy (nats) of a layer's gate over the tokens of a document, added up, and of how many it is known.
SELECT doc_id, layer_id, entropy, entropies::BIGINT AS decisions
FROM document_gate
ORDER BY ALL
