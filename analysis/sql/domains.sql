-- A label that some document has, '' for none: those of most groups of texts first, then of most texts.
SELECT coalesce(domain, '') AS label
FROM document
GROUP BY label
ORDER BY count(DISTINCT "group") + count(*) FILTER ("group" IS NULL) DESC, count(*) DESC, label
