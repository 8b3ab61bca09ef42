-- The token an expert weighs most in a document, with twelve tokens on each side; strongest first; of
-- all documents or of document_sample.sql. A token of unknown text is shown by its id.
WITH sample AS (
    SELECT doc_id
    FROM document
    JOIN document_size USING (doc_id)
    QUALIFY $tokens IS NULL OR sum(tokens) OVER (ORDER BY sha256, doc_id) - tokens < $tokens
),
strongest AS (
    SELECT doc_id, arg_max(position, row(weight, -position::BIGINT)) AS position,
           max(weight) AS weight
    FROM routing
    SEMI JOIN sample USING (doc_id)
    WHERE layer_id = $layer_id AND expert_id = $expert_id
    GROUP BY doc_id
    ORDER BY weight DESC, doc_id
    LIMIT $limit
),
context AS (
    SELECT doc_id, strongest.position, weight, special, coalesce(text, '#' || token_id, '·') AS text,
           CASE WHEN text IS NULL THEN ' ' ELSE '' END AS gap,
           token.position - strongest.position::BIGINT AS place
    FROM strongest
    JOIN token USING (doc_id)
    WHERE place BETWEEN -12 AND 12
)
SELECT doc_id, position, coalesce($names[list_position($labels, coalesce(domain, ''))], $others) AS domain,
       coalesce(string_agg(context.text || gap, '' ORDER BY place) FILTER (place < 0), '') AS before,
       any_value(coalesce(nullif(context.text, ''), special, '∅')) FILTER (place = 0) AS text,
       coalesce(string_agg(gap || context.text, '' ORDER BY place) FILTER (place > 0), '') AS after,
       weight
FROM context
JOIN document USING (doc_id)
GROUP BY doc_id, position, domain, weight
ORDER BY weight DESC, doc_id
