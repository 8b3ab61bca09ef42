-- One of these documents, how many tokens it has, and whether it is the first of its group.
SELECT doc_id, coalesce(tokens, 0)::BIGINT AS tokens,
       "group" IS NULL OR doc_id = (
           SELECT min(other.doc_id) FROM document AS other
           WHERE other."group" = document."group" AND other.domain IS NOT DISTINCT FROM document.domain
       ) AS leads
FROM document
LEFT JOIN document_size USING (doc_id)
WHERE doc_id IN (SELECT unnest($doc_ids))
ORDER BY doc_id
