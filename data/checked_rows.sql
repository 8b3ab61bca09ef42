-- Of formats 3 to 7: a row a choice and a row a gate. `routed` sums them up.

-- Every row.
CREATE TEMP TABLE routed AS
SELECT doc_id, layer_id, count(*) AS decisions, count(*) AS choices, max(expert_id) AS last,
       max(rank) + 1 AS longest, count(*) FILTER (isnan(weight)) AS unknown,
       count(*) FILTER (isinf(weight)) AS unsound
FROM routing
GROUP BY ALL;

-- Every row.
SELECT format('routing has tokens of document {} that are missing', doc_id)
FROM (SELECT DISTINCT doc_id, position FROM routing) ANTI JOIN token USING (doc_id, position)
LIMIT 1;

-- Every row.
SELECT format('layer {} has {} choices of rank {} and {} tokens', layer_id, choices, rank, tokens)
FROM (SELECT layer_id, rank, count(*) AS choices FROM routing GROUP BY ALL),
     (SELECT count(*) AS tokens FROM token)
WHERE choices > tokens
LIMIT 1;

-- Every row.
SELECT format('the gates of document {} do not fit its tokens', doc_id)
FROM (
    SELECT doc_id, position, count(*) AS decisions, max(layer_id) AS last FROM gate GROUP BY ALL
) AS decided
LEFT JOIN token USING (doc_id, position), opened
WHERE token.doc_id IS NULL OR decisions > num_layers OR last >= num_layers
LIMIT 1
