-- A token of these documents, in their order, up to a position.
SELECT doc_id, position, token_id, text, phase, special IS NOT NULL AS special
FROM token
WHERE doc_id IN (SELECT unnest($doc_ids)) AND position < $most
ORDER BY doc_id, position
