-- Documents and tokens of a domain, with its mean loss (nats a token, NULL where unknown).
SELECT coalesce($names[list_position($labels, coalesce(domain, ''))], $others) AS domain, count(DISTINCT doc_id) AS documents,
       count(position) AS tokens, avg(loss) AS mean_loss
FROM document
LEFT JOIN token USING (doc_id)
GROUP BY ALL
