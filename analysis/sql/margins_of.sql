-- The margin of the gate of a layer for a token of these documents, up to a position, where it is known;
-- in any order.
SELECT doc_id, position, layer_id, margin
FROM gate
WHERE doc_id IN (SELECT unnest($doc_ids)) AND position < $most AND margin IS NOT NULL
