-- A document: its label, its group and the first document of that group (its unit of evidence),
-- its length in tokens and how it begins. Traces of format 3 have no groups.
WITH grouped AS (
    SELECT * FROM document UNION ALL BY NAME SELECT NULL::VARCHAR AS "group" WHERE false
)
SELECT doc_id, coalesce($names[list_position($labels, coalesce(domain, ''))], $others) AS domain, "group",
       CASE WHEN "group" IS NULL THEN doc_id
            ELSE min(doc_id) OVER (PARTITION BY grouped.domain, "group") END AS unit,
       origin, coalesce(lengths.tokens, 0) AS tokens, left(grouped.text, 200) AS text
FROM grouped
LEFT JOIN (SELECT doc_id, count(*) AS tokens FROM token GROUP BY doc_id) AS lengths USING (doc_id)
ORDER BY doc_id
