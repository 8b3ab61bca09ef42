-- Documents and tokens of a domain, with its mean loss (nats a token, NULL where unknown).
SELECT coalesce($names[list_position($labels, coalesce(domain, ''))], $others) AS domain, count(*) AS documents,
       coalesce(sum(tokens), 0)::BIGINT AS tokens, sum(loss) / nullif(sum(losses), 0) AS mean_loss
FROM document
LEFT JOIN document_size USING (doc_id)
GROUP BY ALL
