-- The entropy of the gate of a layer for a token of these documents or of all, where it is known.
SELECT doc_id, position, entropy
FROM gate
WHERE layer_id = $layer_id AND entropy IS NOT NULL
  AND ($doc_ids::UINTEGER[] IS NULL OR doc_id IN (SELECT unnest($doc_ids::UINTEGER[])))
ORDER BY doc_id, position
