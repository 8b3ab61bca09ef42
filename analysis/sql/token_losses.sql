-- The phase and the loss (none where unknown) of a token of these documents or of all.
SELECT doc_id, position, phase, loss
FROM token
WHERE $doc_ids::UINTEGER[] IS NULL OR doc_id IN (SELECT unnest($doc_ids::UINTEGER[]))
ORDER BY doc_id, position
