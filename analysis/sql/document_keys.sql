-- A document, its length in tokens, and what it is recognized by in another trace: the hash of its whole
-- text, and of its prompt: the text without what was generated, or where there is none its token ids.
-- NULL where it has neither.
WITH prompt AS (
    SELECT doc_id, bool_or(phase = 1) AS continued,
           CASE WHEN count(text) = count(*)
                THEN coalesce(sum(length(text)) FILTER (WHERE phase = 0), 0)::BIGINT END AS characters,
           CASE WHEN count(token_id) = count(*)
                THEN sum(hash(position, token_id)::HUGEINT) FILTER (WHERE phase = 0) END AS ids
    FROM token
    GROUP BY doc_id
)
SELECT doc_id, coalesce(tokens, 0)::BIGINT AS tokens,
       CASE WHEN text != '' THEN sha256 END AS whole,
       CASE WHEN text = '' THEN 'ids ' || ids
            WHEN continued THEN sha256(nullif(left(text, characters), ''))
            ELSE sha256 END AS prompt
FROM document
LEFT JOIN prompt USING (doc_id)
LEFT JOIN document_size USING (doc_id)
ORDER BY doc_id
