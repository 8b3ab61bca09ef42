-- What was noticed while the trace was written; what its parts noticed alike is one row.
SELECT
    kind,
    severity,
    sum(occurrences)::BIGINT AS occurrences,
    arg_min(first_example, rowid) AS first_example,
    effect
FROM finding
GROUP BY kind, severity, effect
ORDER BY min(rowid)
