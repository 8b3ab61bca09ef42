-- A document with a choice.
SELECT DISTINCT doc_id
FROM document_load
ORDER BY doc_id
