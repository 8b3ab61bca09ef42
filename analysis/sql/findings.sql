-- What was noticed while the trace was written; what its parts noticed alike is one row.
-- Formats 5 and 6 count tokens and do not say what was done.
WITH noticed AS (
    SELECT *, rowid AS place FROM finding
    UNION ALL BY NAME
    SELECT NULL::VARCHAR AS unit, NULL::VARCHAR AS done WHERE false
)
SELECT
    kind,
    severity,
    sum(occurrences)::BIGINT AS occurrences,
    arg_min(first_example, place) AS first_example,
    effect,
    coalesce(unit, 'tokens') AS unit,
    coalesce(done, '') AS done
FROM noticed
GROUP BY kind, severity, effect, unit, done
ORDER BY min(place)
