-- Loss (nats) of the tokens of a document, added up, and of how many it is known.
SELECT doc_id, loss, losses::BIGINT AS losses
FROM document_size
ORDER BY ALL
