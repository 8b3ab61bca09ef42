-- One of these tokens, with twelve tokens on each side, in the order given; one of unknown text is shown
-- by its id.
WITH place AS (
    SELECT unnest($doc_ids::UINTEGER[]) AS doc_id, unnest($positions::UINTEGER[]) AS position,
           generate_subscripts($doc_ids, 1) AS number
),
context AS (
    SELECT number, doc_id, place.position, special, coalesce(text, '#' || token_id, '·') AS text,
           CASE WHEN text IS NULL THEN ' ' ELSE '' END AS gap,
           token.position - place.position::BIGINT AS away
    FROM place
    JOIN token USING (doc_id)
    WHERE away BETWEEN -12 AND 12
)
SELECT doc_id, position, coalesce($names[list_position($labels, coalesce(domain, ''))], $others) AS domain,
       coalesce(string_agg(context.text || gap, '' ORDER BY away) FILTER (away < 0), '') AS before,
       any_value(coalesce(nullif(context.text, ''), special, '∅')) FILTER (away = 0) AS text,
       coalesce(string_agg(gap || context.text, '' ORDER BY away) FILTER (away > 0), '') AS after
FROM context
JOIN document USING (doc_id)
GROUP BY number, doc_id, position, domain
ORDER BY number
