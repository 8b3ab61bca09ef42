-- A document that holds a token, shown as in token_texts.sql, and how often; in the order in which they are
-- drawn, by the hash of their text.
WITH held AS (
    SELECT doc_id, count(*)::BIGINT AS tokens
    FROM token
    WHERE coalesce(nullif(coalesce(text, '#' || token_id), ''), special, '∅') = $text
    GROUP BY doc_id
)
SELECT doc_id, tokens
FROM held
JOIN document USING (doc_id)
ORDER BY sha256, doc_id
