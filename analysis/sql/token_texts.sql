-- A token as pages show it (its text; of an empty one its name, of an unknown one its number) and how
-- often it occurs; of all documents, or of these.
SELECT coalesce(nullif(coalesce(text, '#' || token_id), ''), special, '∅') AS text, count(*)::BIGINT AS tokens
FROM token
WHERE (text IS NOT NULL OR token_id IS NOT NULL)
  AND ($doc_ids::UINTEGER[] IS NULL OR doc_id IN (SELECT unnest($doc_ids::UINTEGER[])))
GROUP BY ALL
ORDER BY tokens DESC, text
