-- A label that some document has, '' for none: those of most groups of texts first, then of most texts.
-- Traces of format 3 have no groups.
WITH grouped AS (
    SELECT * FROM document UNION ALL BY NAME SELECT NULL::VARCHAR AS "group" WHERE false
)
SELECT coalesce(domain, '') AS label
FROM grouped
GROUP BY label
ORDER BY count(DISTINCT "group") + count(*) FILTER ("group" IS NULL) DESC, count(*) DESC, label
