-- A token id that occurs: its text (of an empty one its name, of an unknown one its number) and how
-- often. Traces of formats 3 to 5 name no special tokens.
WITH named AS (
    SELECT * FROM token UNION ALL BY NAME SELECT NULL::VARCHAR AS special WHERE false
)
SELECT token_id, coalesce(nullif(coalesce(mode(text), '#' || token_id), ''), mode(special), '∅') AS text,
       count(*)::BIGINT AS tokens
FROM named
WHERE token_id IS NOT NULL
GROUP BY token_id
ORDER BY token_id
