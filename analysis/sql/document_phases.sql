-- Tokens of a document in each phase, where there are any.
SELECT doc_id, phase, count(*)::BIGINT AS tokens
FROM token
GROUP BY ALL
ORDER BY ALL
