-- Entropy (nats) and margin of a layer's gate over the tokens of a document, each added up, and of how
-- many it is known.
SELECT doc_id, layer_id, entropy, entropies::BIGINT AS decisions, margin, margins::BIGINT AS margins
FROM document_gate
ORDER BY ALL
