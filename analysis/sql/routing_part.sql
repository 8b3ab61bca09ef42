-- A choice of a token from one place of the trace to another, both included; in any order.
SELECT doc_id, position, layer_id, rank, expert_id, weight
FROM routing
WHERE doc_id BETWEEN $first_doc_id AND $last_doc_id
  AND (doc_id > $first_doc_id OR position >= $first_position)
  AND (doc_id < $last_doc_id OR position <= $last_position)
