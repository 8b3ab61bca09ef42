-- Where a token stands and the domain of its document.
SELECT doc_id, position, coalesce(domain, 'unlabelled') AS domain
FROM token
JOIN document USING (doc_id)
ORDER BY doc_id, position
