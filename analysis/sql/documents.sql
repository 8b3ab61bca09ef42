-- A document: its label, its length in tokens and how it begins.
SELECT doc_id, coalesce(domain, 'unlabelled') AS domain, origin,
       coalesce(lengths.tokens, 0) AS tokens, left(document.text, 200) AS text
FROM document
LEFT JOIN (SELECT doc_id, count(*) AS tokens FROM token GROUP BY doc_id) AS lengths USING (doc_id)
ORDER BY doc_id
