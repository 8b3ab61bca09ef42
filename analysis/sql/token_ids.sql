-- A token id that occurs: its text and how often.
SELECT token_id, mode(text) AS text, count(*)::BIGINT AS tokens
FROM token
GROUP BY token_id
ORDER BY token_id
