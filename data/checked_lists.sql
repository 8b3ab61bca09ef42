-- Of format 8: a row a decision. `routed` sums it up, and what is said twice agrees.

-- Every row.
CREATE TEMP TABLE routed AS
SELECT doc_id, layer_id, count(*) FILTER (len(expert_ids) > 0) AS decisions, sum(list_count(expert_ids)) AS choices,
       max(list_max(expert_ids)) AS last, max(len(expert_ids)) AS longest,
       count(*) FILTER (len(weights) <> len(expert_ids)) AS uneven,
       count(*) FILTER (weights IS NULL AND len(expert_ids) > 0) AS unknown,
       count(*) FILTER (NOT isfinite(list_sum(weights))) AS unsound,
       count(entropy) AS entropies, coalesce(sum(entropy), 0)::DOUBLE AS entropy,
       count(margin) AS margins, coalesce(sum(margin), 0)::DOUBLE AS margin
FROM file.main.decision
GROUP BY ALL;

-- Every row.
CREATE TEMP TABLE decided AS
SELECT doc_id, position, count(*) AS decisions, max(layer_id) AS last, sum(layer_id) AS layer_ids
FROM file.main.decision
GROUP BY ALL;

-- Every row.
SELECT format('the decisions of document {} do not fit its tokens and layers', doc_id)
FROM decided FULL JOIN token USING (doc_id, position), opened
WHERE token.phase IS NULL OR decisions IS DISTINCT FROM num_layers OR last >= num_layers
   OR 2 * layer_ids <> num_layers * (num_layers - 1)
LIMIT 1;

-- Every row.
SELECT format('the weights of document {} are not as many as its choices in layer {}', doc_id, layer_id)
FROM routed
WHERE uneven > 0
LIMIT 1;

-- Sums alone.
SELECT format('the sums (document_size, document_gate) of document {} are twice there, or of no document or layer', doc_id)
FROM (
    SELECT doc_id FROM file.main.document_size GROUP BY doc_id HAVING count(*) > 1
    UNION ALL
    SELECT doc_id
    FROM file.main.document_gate LEFT JOIN document USING (doc_id), opened
    WHERE document.sha256 IS NULL OR layer_id >= num_layers
)
LIMIT 1;

-- Every row.
SELECT format('the sums (document_size) of document {} differ from its tokens', doc_id)
FROM document_tokens FULL JOIN file.main.document_size AS size USING (doc_id)
WHERE size.tokens IS DISTINCT FROM document_tokens.tokens
   OR size.losses IS DISTINCT FROM document_tokens.losses
   OR isfinite(document_tokens.loss) AND abs(size.loss - document_tokens.loss) > 0.001 * (1 + abs(document_tokens.loss))
LIMIT 1;

-- Every row.
SELECT format('the sums (document_gate) of document {} differ from its decisions in layer {}',
              doc_id, layer_id)
FROM routed FULL JOIN file.main.document_gate AS sums USING (doc_id, layer_id)
WHERE coalesce(sums.entropies, 0) IS DISTINCT FROM routed.entropies
   OR coalesce(sums.margins, 0) IS DISTINCT FROM routed.margins
   OR isfinite(routed.entropy) AND abs(coalesce(sums.entropy, 0) - routed.entropy) > 0.001 * (1 + abs(routed.entropy))
   OR isfinite(routed.margin) AND abs(coalesce(sums.margin, 0) - routed.margin) > 0.001 * (1 + abs(routed.margin))
LIMIT 1
