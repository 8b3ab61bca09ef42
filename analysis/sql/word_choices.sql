-- How often a token, shown as in token_texts.sql, chose an expert in one of these documents.
WITH one AS (
    SELECT unnest($doc_ids::UINTEGER[]) AS doc_id
),
place AS (
    SELECT doc_id, position
    FROM token
    SEMI JOIN one USING (doc_id)
    WHERE coalesce(nullif(coalesce(text, '#' || token_id), ''), special, '∅') = $text
)
SELECT doc_id, layer_id, expert_id, count(*)::BIGINT AS tokens
FROM (
    SELECT doc_id, layer_id, unnest(expert_ids) AS expert_id
    FROM choice_list
    SEMI JOIN one USING (doc_id) -- finds their part of the file
    SEMI JOIN place USING (doc_id, position)
)
WHERE expert_id IS NOT NULL
GROUP BY ALL
ORDER BY ALL
