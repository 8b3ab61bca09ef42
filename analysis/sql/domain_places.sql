-- The place of a document's domain among the names, 0 for the others.
SELECT doc_id, coalesce(list_position($labels, coalesce(domain, '')), 0)::UTINYINT AS place
FROM document
