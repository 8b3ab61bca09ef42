-- What was noticed while the trace was written; what its parts noticed alike is one row.
SELECT
    kind,
    severity,
    sum(occurrences)::BIGINT AS occurrences,
    arg_min(first_example, place) AS first_example,
    effect,
    unit,
    done
FROM finding
GROUP BY kind, severity, effect, unit, done
ORDER BY min(place)
