-- How often one of these words (tokens, shown as in token_texts.sql) chose an expert in these documents, of
-- which each has its unit: the sums over units, of the squares, and of the choices times all choices of the
-- word by the unit in the layer.
WITH one AS (
    SELECT unnest($doc_ids::UINTEGER[]) AS doc_id, unnest($units::UINTEGER[]) AS unit
),
word AS (
    SELECT unnest($texts) AS text, generate_subscripts($texts, 1) - 1 AS word
),
place AS (
    SELECT doc_id, position, unit, word
    FROM token
    JOIN one USING (doc_id)
    JOIN word ON coalesce(nullif(coalesce(token.text, '#' || token_id), ''), special, '∅') = word.text
),
chosen AS (
    SELECT word, unit, layer_id, expert_id, count(*)::BIGINT AS tokens
    FROM (
        SELECT word, unit, layer_id, unnest(expert_ids) AS expert_id
        FROM choice_list
        SEMI JOIN one USING (doc_id) -- finds their part of the file
        JOIN place USING (doc_id, position)
    )
    WHERE expert_id IS NOT NULL
    GROUP BY ALL
)
SELECT word, layer_id, expert_id, sum(tokens)::BIGINT AS tokens, sum(tokens * tokens)::BIGINT AS squares,
       sum(tokens * length)::BIGINT AS by_length
FROM (SELECT *, sum(tokens) OVER (PARTITION BY word, unit, layer_id)::BIGINT AS length FROM chosen)
GROUP BY ALL
ORDER BY ALL
