-- The tokens of a document, in their order.
SELECT token_id, text
FROM token
WHERE doc_id = $doc_id
ORDER BY position
