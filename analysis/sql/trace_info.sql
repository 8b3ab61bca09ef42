-- The trace itself: one row, with how many documents and tokens it holds.
SELECT
    *,
    (SELECT count(*) FROM document) AS num_documents,
    (SELECT coalesce(max(doc_id), 0) FROM document) AS last_doc_id,
    (SELECT coalesce(sum(tokens), 0)::BIGINT FROM document_size) AS num_tokens
FROM trace
