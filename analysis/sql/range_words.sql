-- How often a word (a token, shown as in token_texts.sql) of a document chose one of these experts, and one of
-- the others.
WITH one AS (
    SELECT unnest($doc_ids::UINTEGER[]) AS doc_id
),
expert AS (
    SELECT unnest($layer_ids) AS layer_id, unnest($expert_ids) AS expert_id, true AS inside
),
made AS (
    SELECT doc_id, position, layer_id, unnest(expert_ids) AS expert_id
    FROM choice_list
    SEMI JOIN one USING (doc_id) -- finds their part of the file
),
placed AS (
    SELECT doc_id, position, coalesce(inside, false) AS inside, count(*) AS choices
    FROM made
    LEFT JOIN expert USING (layer_id, expert_id)
    WHERE made.expert_id IS NOT NULL
    GROUP BY ALL
)
SELECT doc_id, coalesce(nullif(coalesce(text, '#' || token_id), ''), special, '∅') AS text, inside,
       sum(choices)::BIGINT AS choices
FROM placed
JOIN token USING (doc_id, position)
GROUP BY ALL
ORDER BY ALL
