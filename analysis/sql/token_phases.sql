-- The phase of the first tokens of these documents, in their order.
SELECT doc_id, position, phase
FROM token
WHERE doc_id IN (SELECT unnest($doc_ids::BIGINT[])) AND position < $positions
ORDER BY doc_id, position
