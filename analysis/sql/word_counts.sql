-- A token, shown as in token_texts.sql: how often it occurs, in how many documents and in how many groups;
-- longer ones than so many characters are left out.
WITH held AS (
    SELECT coalesce(nullif(coalesce(text, '#' || token_id), ''), special, '∅') AS text, doc_id,
           count(*)::BIGINT AS tokens
    FROM token
    WHERE text IS NOT NULL OR token_id IS NOT NULL
    GROUP BY ALL
),
unit AS (
    SELECT doc_id, CASE WHEN "group" IS NULL THEN doc_id
                        ELSE min(doc_id) OVER (PARTITION BY domain, "group") END AS unit
    FROM document
)
SELECT text, sum(tokens)::BIGINT AS tokens, count(*) AS n_documents, count(DISTINCT unit) AS n_groups
FROM held
JOIN unit USING (doc_id)
WHERE length(text) <= $longest
GROUP BY text
ORDER BY tokens DESC, text
