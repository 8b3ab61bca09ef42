-- One of these documents and its first match of a pattern (RE2): how many there are, the token in which it
-- begins, none where the text was cut before, and up to 80 characters on each side.
WITH match AS (
    SELECT doc_id, len(regexp_extract_all(text, $pattern)) AS matches,
           length(string_split_regex(text, $pattern)[1]) AS place, regexp_extract(text, $pattern) AS match
    FROM document
    WHERE doc_id IN (SELECT unnest($doc_ids::UINTEGER[]))
),
ends AS (
    SELECT doc_id, position, sum(length(text)) OVER (PARTITION BY doc_id ORDER BY position) AS ending
    FROM token
    WHERE doc_id IN (SELECT unnest($doc_ids::UINTEGER[]))
),
begins AS (
    SELECT doc_id, min(position) AS position
    FROM ends
    JOIN match USING (doc_id)
    WHERE ending > place
    GROUP BY doc_id
)
SELECT doc_id, position, matches,
       substring(text, greatest(place - 79, 1), least(place, 80)) AS before,
       left(match, 200) AS match, substring(text, place + length(match) + 1, 80) AS after
FROM match
JOIN document USING (doc_id)
LEFT JOIN begins USING (doc_id)
ORDER BY doc_id
