-- A domain that some document has.
SELECT DISTINCT coalesce(domain, 'unlabelled') AS domain
FROM document
