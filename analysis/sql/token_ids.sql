-- A token id that occurs: its text (of an empty one its name, of an unknown one its number) and how
-- often.
SELECT token_id, coalesce(nullif(coalesce(mode(text), '#' || token_id), ''), mode(special), '∅') AS text,
       count(*)::BIGINT AS tokens
FROM token
WHERE token_id IS NOT NULL
GROUP BY token_id
ORDER BY token_id
