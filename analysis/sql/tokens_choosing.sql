-- A token that chose this expert in a layer, of these documents or of all.
SELECT DISTINCT doc_id, position
FROM choice_list
WHERE layer_id = $layer_id AND list_contains(expert_ids, $expert_id)
  AND ($doc_ids::UINTEGER[] IS NULL OR doc_id IN (SELECT unnest($doc_ids::UINTEGER[])))
ORDER BY doc_id, position
