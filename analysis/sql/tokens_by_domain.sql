-- Where a token stands and the domain of its document.
SELECT doc_id, position, coalesce($names[list_position($labels, coalesce(domain, ''))], $others) AS domain
FROM token
JOIN document USING (doc_id)
ORDER BY doc_id, position
