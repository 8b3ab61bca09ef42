-- A document: its label, its group and the first document of that group (its unit of evidence),
-- its length in tokens and how it begins.
SELECT doc_id, coalesce($names[list_position($labels, coalesce(domain, ''))], $others) AS domain, "group",
       CASE WHEN "group" IS NULL THEN doc_id
            ELSE min(doc_id) OVER (PARTITION BY document.domain, "group") END AS unit,
       origin, coalesce(lengths.tokens, 0)::BIGINT AS tokens, left(document.text, 200) AS text
FROM document
LEFT JOIN document_size AS lengths USING (doc_id)
ORDER BY doc_id
