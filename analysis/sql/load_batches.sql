-- Tokens of a document and phase routed to an expert, where there are any; in the order of the file.
SELECT doc_id, layer_id, expert_id, tokens
FROM document_load
