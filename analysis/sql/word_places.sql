-- Where a token, shown as in token_texts.sql, stands first in one of these documents.
SELECT doc_id, min(position) AS position
FROM token
WHERE doc_id IN (SELECT unnest($doc_ids::UINTEGER[]))
  AND coalesce(nullif(coalesce(text, '#' || token_id), ''), special, '∅') = $text
GROUP BY doc_id
ORDER BY doc_id
