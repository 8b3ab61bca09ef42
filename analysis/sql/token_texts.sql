-- Text of a sampled token (its first 200 characters, of an empty one its name, of an unknown one its
-- id), in the order of the sample. Traces of formats 3 to 5 name no special tokens.
WITH named AS (
    SELECT * FROM token UNION ALL BY NAME SELECT NULL::VARCHAR AS special WHERE false
),
sample AS (
    SELECT unnest($doc_ids) AS doc_id, unnest($positions) AS position,
           unnest(range(len($doc_ids))) AS point
)
SELECT left(coalesce(nullif(coalesce(text, '#' || token_id, '·'), ''), special, '∅'), 200) AS text
FROM named
JOIN sample USING (doc_id, position)
ORDER BY point
