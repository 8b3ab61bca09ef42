-- Tokens of a document and phase routed to an expert, where there are any, and the weight that they
-- gave it; in the order of the file.
SELECT doc_id, layer_id, expert_id, phase, tokens, weight_sum
FROM document_load
