-- The trace itself: one row, with how many documents and tokens it holds.
SELECT
    trace.*,
    (SELECT count(*) FROM document) AS num_documents,
    (SELECT count(*) FROM token) AS num_tokens
FROM trace
