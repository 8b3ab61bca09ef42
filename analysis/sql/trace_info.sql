-- The trace itself: one row, with how many documents and tokens it holds. Formats 3 and 4 have no
-- trace_id: there it is made of the model, the moment and the texts.
WITH named AS (
    SELECT * FROM trace
    UNION ALL BY NAME
    SELECT NULL::VARCHAR AS trace_id, NULL::BOOLEAN AS counts_only WHERE false
)
SELECT
    * EXCLUDE (trace_id, counts_only),
    coalesce(counts_only, false) AS counts_only,
    coalesce(trace_id, md5(concat(
        model_sha256, created_at, (SELECT string_agg(sha256, '' ORDER BY doc_id) FROM document)
    ))) AS trace_id,
    (SELECT count(*) FROM document) AS num_documents,
    (SELECT coalesce(max(doc_id), 0) FROM document) AS last_doc_id,
    (SELECT count(*) FROM token) AS num_tokens
FROM named
