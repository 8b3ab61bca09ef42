-- One of these documents and its text.
SELECT doc_id, text
FROM document
WHERE doc_id IN (SELECT unnest($doc_ids))
ORDER BY doc_id
