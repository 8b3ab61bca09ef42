-- What a trace must hold besides its schema. A SELECT gives no row where that holds, else what is
-- wrong. `opened` has one row: num_layers, top_k, whether the trace has counts only, whether it has
-- pairs (not yet, if its capture was interrupted), and whether a finding names its non-finite values.
-- Statements of every row are left out where that takes too long to wait for.

SELECT format('it has {} layers of {} experts, {} chosen; 1 to 1024 layers of 1 to 4096 can be read',
              num_layers, num_experts, coalesce(top_k::VARCHAR, 'a varying number'))
FROM trace
WHERE num_layers NOT BETWEEN 1 AND 1024 OR num_experts NOT BETWEEN 1 AND 4096
   OR top_k NOT BETWEEN 1 AND num_experts;

SELECT 'table layer does not describe every layer once, or not as table trace does'
FROM trace LEFT JOIN layer ON true
GROUP BY trace.num_layers, trace.num_experts, trace.num_shared_experts, trace.scoring, trace.top_k
HAVING count(layer_id) <> trace.num_layers OR count(DISTINCT layer_id) <> trace.num_layers
    OR max(layer_id) <> trace.num_layers - 1 OR count(DISTINCT layer.name) <> trace.num_layers
    OR min(layer.num_experts) < 1 OR max(layer.num_experts) <> trace.num_experts
    OR max(layer.num_shared_experts) <> trace.num_shared_experts
    OR CASE WHEN count(DISTINCT layer.scoring) > 1 THEN 'mixed' ELSE min(layer.scoring) END
       <> trace.scoring
    OR CASE WHEN count(layer.top_k) = count(*) AND count(DISTINCT layer.top_k) = 1
            THEN min(layer.top_k) END IS DISTINCT FROM trace.top_k
    OR NOT bool_and(coalesce(layer.top_k, 1) BETWEEN 1 AND layer.num_experts)
    OR min(strlen(layer.name)) = 0
    OR max(greatest(strlen(layer.name), strlen(weighting), strlen(selection))) > 1000;

SELECT 'its date is impossible'
FROM trace
WHERE created_at NOT BETWEEN TIMESTAMP '1970-01-01' AND TIMESTAMP '9999-01-01';

SELECT 'its name, model or tokenizer is longer than 1,000 bytes'
FROM trace
WHERE greatest(strlen(name), strlen(source), strlen(model_name), strlen(model_sha256),
               strlen(tokenizer), strlen(scoring)) > 1000;

SELECT 'the hash of its model is no SHA-256, or its id is not 1 to 64 characters long'
FROM trace
WHERE NOT regexp_full_match(model_sha256, '([0-9a-f]{64})?') OR length(trace_id) NOT BETWEEN 1 AND 64;

SELECT 'table expert does not name every expert of every layer once'
FROM expert FULL JOIN layer USING (layer_id)
GROUP BY layer_id, num_experts
HAVING num_experts IS NULL OR max(expert_id) IS DISTINCT FROM num_experts - 1
    OR count(expert_id) <> num_experts OR count(DISTINCT expert_id) <> num_experts
LIMIT 1;

SELECT format('document {} occurs {} times', doc_id, count(*))
FROM document
GROUP BY doc_id
HAVING count(*) > 1
LIMIT 1;

SELECT 'a label is longer than 1,000 bytes, or a text than 16,000,000'
FROM document
HAVING max(greatest(coalesce(strlen(domain), 0), coalesce(strlen("group"), 0))) > 1000
    OR max(strlen(origin)) > 10000
    OR max(strlen(text)) > 16000000;

-- Every row.
SELECT 'the name of a special token is empty or longer than 1,000 bytes'
FROM token
HAVING min(strlen(special)) = 0 OR max(strlen(special)) > 1000;

SELECT format('the hash of document {} is no SHA-256', doc_id)
FROM document
WHERE NOT regexp_full_match(sha256, '[0-9a-f]{64}')
LIMIT 1;

SELECT format('group {} has texts of two domains', left(any_value("group"), 100))
FROM document
WHERE "group" IS NOT NULL
GROUP BY "group"
HAVING count(DISTINCT domain) + max((domain IS NULL)::INT) > 1
LIMIT 1;

-- Every row.
CREATE TEMP TABLE document_tokens AS
SELECT doc_id, count(*) AS tokens, count(*) FILTER (phase = 0) AS read,
       count(*) FILTER (phase = 1) AS generated, count(DISTINCT position) AS positions,
       max(strlen(text)) AS bytes, count(*) FILTER (NOT isfinite(loss)) AS unsound,
       count(loss) AS losses, coalesce(sum(loss), 0)::DOUBLE AS loss
FROM token
GROUP BY doc_id;

-- Sums alone.
CREATE TEMP TABLE document_tokens AS
SELECT doc_id, tokens, tokens AS read, tokens AS generated
FROM document_size;

SELECT format('a token belongs to document {}, which is missing', doc_id)
FROM document_tokens ANTI JOIN document USING (doc_id)
LIMIT 1;

-- Every row.
SELECT CASE WHEN positions <> tokens THEN format('two tokens of document {} share a position', doc_id)
            WHEN read + generated <> tokens THEN format('a token of document {} has no phase', doc_id)
            WHEN unsound > 0 THEN format('a loss in document {} is not finite', doc_id)
            ELSE format('a token of document {} has a text of {} bytes', doc_id, bytes) END
FROM document_tokens, opened
WHERE positions <> tokens OR read + generated <> tokens OR bytes > 1000000
   OR (unsound > 0 AND NOT named)
LIMIT 1;

-- what differs by format

-- Every row.
SELECT format('routing names expert {} of layer {} at rank {}', last, layer_id, longest - 1)
FROM (
    SELECT layer_id, max(last) AS last, max(longest) AS longest
    FROM routed
    WHERE choices > 0
    GROUP BY layer_id
) LEFT JOIN layer USING (layer_id)
WHERE num_experts IS NULL OR last >= num_experts OR longest > coalesce(top_k, num_experts)
ORDER BY layer_id
LIMIT 1;

-- Every row.
SELECT format('{} of {} weights are not finite', unknown + infinite, choices)
FROM (
    SELECT sum(unknown) AS unknown, sum(unsound) AS infinite, sum(decisions) AS choices FROM routed
), opened
WHERE NOT named AND (infinite > 0 OR unknown NOT IN (0, choices));

CREATE TEMP TABLE executed AS
SELECT doc_id, layer_id, sum(tokens) AS tokens, sum(k * tokens::BIGINT) AS choices, min(k) AS least,
       max(k) AS most, min(tokens) AS fewest, bool_and(k IN (0, top_k)) AS alike
FROM document_k LEFT JOIN layer USING (layer_id)
GROUP BY ALL;

SELECT format('the counts of experts a token (document_k) are wrong in layer {} of document {}',
              layer_id, doc_id)
FROM executed LEFT JOIN document_tokens USING (doc_id) LEFT JOIN layer USING (layer_id), opened
WHERE num_experts IS NULL OR most > num_experts OR fewest = 0
   OR NOT coalesce(alike, true)
   OR (executed.tokens IS DISTINCT FROM document_tokens.tokens AND NOT counts_only)
LIMIT 1;

SELECT format('document {} lacks counts of experts a token (document_k)', doc_id)
FROM document_tokens LEFT JOIN executed USING (doc_id), opened
GROUP BY doc_id, num_layers
HAVING count(layer_id) <> num_layers
LIMIT 1;

CREATE TEMP TABLE loaded AS
SELECT doc_id, layer_id, sum(tokens) AS choices, max(expert_id) AS last, min(tokens) AS fewest,
       max(phase) AS phase, max(CASE WHEN phase = 0 THEN tokens END) AS read,
       max(CASE WHEN phase = 1 THEN tokens END) AS generated
FROM document_load
GROUP BY ALL;

SELECT format('the sums (document_load, document_k) of layer {} of document {} differ', layer_id, doc_id)
FROM loaded
FULL JOIN (FROM executed WHERE choices > 0) AS executed USING (doc_id, layer_id), opened
WHERE CASE WHEN counts_only THEN executed.choices <> loaded.choices OR loaded.choices IS NULL
      ELSE executed.choices IS DISTINCT FROM loaded.choices END
LIMIT 1;

-- Every row.
SELECT format('the sums (document_load, document_k) differ from the routing in layer {} of document {}',
              layer_id, doc_id)
FROM loaded FULL JOIN (FROM routed WHERE choices > 0) AS routed USING (doc_id, layer_id), opened
WHERE NOT counts_only AND loaded.choices IS DISTINCT FROM routed.choices
LIMIT 1;

-- Every row.
SELECT format('it counts choices only, and names {} tokens, choices or pairs', rows)
FROM (
    SELECT (SELECT count(*) FROM token) + (SELECT count(*) FROM routed)
         + (SELECT count(*) FROM gate) + (SELECT count(*) FROM dropped)
         + (SELECT count(*) FROM coactivation) + (SELECT count(*) FROM transition) AS rows
), opened
WHERE counts_only AND rows > 0;

SELECT format('the counts of document {} (document_load) are impossible in layer {}', doc_id, layer_id)
FROM loaded LEFT JOIN document USING (doc_id) LEFT JOIN layer USING (layer_id), opened
WHERE counts_only AND (document.sha256 IS NULL OR num_experts IS NULL OR last >= num_experts
                       OR fewest = 0 OR phase > 1)
LIMIT 1;

SELECT format('the sums of document {} (document_load) are impossible in layer {}', doc_id, layer_id)
FROM loaded JOIN document_tokens USING (doc_id) LEFT JOIN layer USING (layer_id)
WHERE num_experts IS NULL OR last >= num_experts OR fewest = 0 OR phase > 1
   OR loaded.read > document_tokens.read OR loaded.generated > document_tokens.generated
LIMIT 1;

-- Sums alone.
CREATE TEMP TABLE expert_load AS
SELECT layer_id::INTEGER AS layer_id, expert_id, sum(tokens) AS choices
FROM document_load
GROUP BY ALL;

-- Every row.
CREATE TEMP TABLE expert_load AS
SELECT layer_id::INTEGER AS layer_id, expert_id, sum(tokens) AS choices, sum(weight_sum) AS weight
FROM document_load
GROUP BY ALL;

-- Every row.
SELECT format('the sums (document_load) of expert {} in layer {} differ from its routing',
              expert_id, layer_id)
FROM expert_load
FULL JOIN (
    SELECT layer_id, expert_id, count(*) AS choices, sum(weight) AS weight
    FROM routing
    GROUP BY ALL
) AS chosen USING (layer_id, expert_id), opened
WHERE NOT counts_only
  AND (expert_load.choices IS DISTINCT FROM chosen.choices
    OR isfinite(expert_load.weight) <> isfinite(chosen.weight)
    OR (isfinite(chosen.weight)
        AND abs(expert_load.weight - chosen.weight) > 0.001 * (1 + abs(chosen.weight))))
LIMIT 1;

-- Every row.
SELECT 'an entropy or a margin is not finite'
FROM gate, opened
WHERE NOT named AND (NOT isfinite(entropy) OR NOT isfinite(margin))
LIMIT 1;

-- Every row.
SELECT format('the entropy {} of a gate is not within 0 and ln {}', entropy, num_experts)
FROM gate JOIN layer USING (layer_id)
WHERE isfinite(entropy) AND entropy NOT BETWEEN -0.001 AND ln(num_experts) + 0.001
LIMIT 1;

-- Every row.
CREATE TEMP TABLE refused AS
SELECT doc_id, layer_id, expert_id, count(*) AS tokens FROM dropped GROUP BY ALL;

-- Every row.
SELECT 'choices that were dropped do not fit their sums (document_dropped), documents or experts'
FROM refused
FULL JOIN document_dropped USING (doc_id, layer_id, expert_id)
LEFT JOIN document_tokens USING (doc_id)
LEFT JOIN layer USING (layer_id)
WHERE refused.tokens IS DISTINCT FROM document_dropped.tokens
   OR num_experts IS NULL OR expert_id >= num_experts
   OR coalesce(refused.tokens > document_tokens.tokens, true)
LIMIT 1;

CREATE TEMP TABLE layer_k AS
SELECT layer_id::INTEGER AS layer_id, min(least)::INTEGER AS least, max(most)::INTEGER AS most
FROM executed
GROUP BY layer_id;

CREATE TEMP TABLE together AS
SELECT layer_id, expert_id, sum(tokens) AS tokens, max(tokens) AS most, min(tokens) AS fewest
FROM (
    SELECT layer_id, unnest([expert_a, expert_b]) AS expert_id, tokens FROM coactivation
)
GROUP BY ALL;

SELECT 'a pair of experts (coactivation) is in the wrong order'
FROM coactivation
WHERE expert_a >= expert_b
LIMIT 1;

SELECT format('the pairs (coactivation) of expert {} in layer {} differ from its load',
              expert_id, layer_id)
FROM expert_load
FULL JOIN together USING (layer_id, expert_id)
LEFT JOIN layer_k USING (layer_id), opened
WHERE pairs
  AND (coalesce(together.tokens, 0)
         NOT BETWEEN choices * (greatest(least, 1) - 1) AND choices * (greatest(layer_k.most, 1) - 1)
    OR choices IS NULL OR together.most > choices OR fewest = 0)
LIMIT 1;

CREATE TEMP TABLE followed AS
SELECT layer_id::INTEGER AS layer_id, expert_id, sum(tokens) AS tokens, max(tokens) AS most, min(tokens) AS fewest
FROM transition
GROUP BY ALL;

CREATE TEMP TABLE preceded AS
SELECT layer_id::INTEGER + 1 AS layer_id, next_expert_id AS expert_id, sum(tokens) AS tokens
FROM transition
GROUP BY ALL;

SELECT format('the pairs (transition) of expert {} in layer {} differ from its load',
              expert_id, layer_id)
FROM expert_load
FULL JOIN followed USING (layer_id, expert_id)
FULL JOIN preceded USING (layer_id, expert_id)
LEFT JOIN layer_k AS later ON later.layer_id = layer_id + 1
LEFT JOIN layer_k AS earlier ON earlier.layer_id = layer_id - 1, opened
WHERE pairs
  AND (coalesce(followed.tokens, 0)
         NOT BETWEEN choices * coalesce(later.least, 0) AND choices * coalesce(later.most, 0)
    OR coalesce(preceded.tokens, 0)
         NOT BETWEEN choices * coalesce(earlier.least, 0) AND choices * coalesce(earlier.most, 0)
    OR choices IS NULL OR followed.most > choices OR fewest = 0)
LIMIT 1;;
