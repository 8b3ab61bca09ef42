-- A token's first choice in a layer, where one ran, of these documents or of all.
SELECT doc_id, position, expert_ids[1] AS expert_id
FROM choice_list
WHERE layer_id = $layer_id AND first_rank = 0 AND expert_ids[1] IS NOT NULL
  AND ($doc_ids::UINTEGER[] IS NULL OR doc_id IN (SELECT unnest($doc_ids::UINTEGER[])))
ORDER BY doc_id, position
