-- One of these documents, how many tokens it has, from which position up to which, and whether it is the first of its group.
SELECT doc_id, coalesce(tokens, 0)::BIGINT AS tokens,
       (SELECT min(position) FROM token WHERE token.doc_id = document.doc_id) AS first_position,
       (SELECT max(position) FROM token WHERE token.doc_id = document.doc_id) AS last_position,
       "group" IS NULL OR doc_id = (
           SELECT min(other.doc_id) FROM document AS other
           WHERE other."group" = document."group" AND other.domain IS NOT DISTINCT FROM document.domain
       ) AS leads
FROM document
LEFT JOIN document_size USING (doc_id)
WHERE doc_id IN (SELECT unnest($doc_ids))
ORDER BY doc_id
