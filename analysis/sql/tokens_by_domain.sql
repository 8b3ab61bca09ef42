-- Where a token stands, the domain of its document and the token's text (its first 200 characters,
-- of an empty one its name, of an unknown one its id).
SELECT doc_id, position, coalesce($names[list_position($labels, coalesce(domain, ''))], $others) AS domain,
       left(coalesce(nullif(coalesce(token.text, '#' || token_id, '·'), ''), special, '∅'), 200) AS text
FROM token
JOIN document USING (doc_id)
WHERE $doc_ids::UINTEGER[] IS NULL OR doc_id IN (SELECT unnest($doc_ids::UINTEGER[]))
ORDER BY doc_id, position
