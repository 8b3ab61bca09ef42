-- Weight that a document's tokens gave an expert, where they gave any.
SELECT doc_id, layer_id, expert_id, sum(weight_sum)::DOUBLE AS weight_sum
FROM document_load
GROUP BY ALL
ORDER BY ALL
