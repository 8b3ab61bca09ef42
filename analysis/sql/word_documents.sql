-- A document that holds a token, shown as in token_texts.sql: how often, and whether it is among those
-- that are drawn by the hash of their text until they are so many or hold it so many times.
WITH held AS (
    SELECT doc_id, count(*)::BIGINT AS tokens
    FROM token
    WHERE coalesce(nullif(coalesce(text, '#' || token_id), ''), special, '∅') = $text
    GROUP BY doc_id
)
SELECT doc_id, tokens,
       sum(tokens) OVER drawing - tokens < $most AND row_number() OVER drawing <= $documents AS drawn
FROM held
JOIN document USING (doc_id)
WINDOW drawing AS (ORDER BY sha256, doc_id)
ORDER BY sha256, doc_id
