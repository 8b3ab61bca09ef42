-- A document whose single choices are read, and its length in tokens: all, or those drawn by the
-- hash of their text until they hold so many tokens.
SELECT doc_id, tokens
FROM document
JOIN document_size USING (doc_id)
QUALIFY sum(tokens) OVER (ORDER BY sha256, doc_id) - tokens < $tokens
ORDER BY doc_id
