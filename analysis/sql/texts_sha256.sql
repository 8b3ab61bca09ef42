-- One hash of all texts of a trace with their domains and groups.
SELECT sha256(coalesce(
    string_agg(concat_ws(chr(31), doc_id, sha256, coalesce(domain, ''), coalesce("group", '')),
               chr(10) ORDER BY doc_id),
    ''
)) AS texts_sha256
FROM document
