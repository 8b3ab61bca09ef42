-- Choices of a token of these documents in a layer, in one list or several, the first of a list of rank
-- first_rank; in any order.
SELECT doc_id, position, layer_id, first_rank, expert_ids, weights
FROM choice_list
WHERE doc_id IN (SELECT unnest($doc_ids))
