-- Text of a sampled token (its first 200 characters), in the order of the sample.
WITH sample AS (
    SELECT unnest($doc_ids) AS doc_id, unnest($positions) AS position,
           unnest(range(len($doc_ids))) AS point
)
SELECT left(text, 200) AS text
FROM token
JOIN sample USING (doc_id, position)
ORDER BY point
