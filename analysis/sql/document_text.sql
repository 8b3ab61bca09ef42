-- The whole text of a document.
SELECT text
FROM document
WHERE doc_id = $doc_id
