-- A document whose text matches a pattern (RE2).
SELECT doc_id
FROM document
WHERE regexp_matches(text, $pattern)
ORDER BY doc_id
