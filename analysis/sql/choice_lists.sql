-- Choices of a token in a layer, in one list or several, from one place of the trace to another,
-- both included.
SELECT doc_id, position, layer_id, expert_ids, weights
FROM choice_list
WHERE doc_id BETWEEN $first_doc_id AND $last_doc_id
  AND (doc_id > $first_doc_id OR position >= $first_position)
  AND (doc_id < $last_doc_id OR position <= $last_position)
