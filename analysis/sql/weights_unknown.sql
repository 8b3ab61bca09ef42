-- Whether weights are unknown: of a file without a finding of others, all are numbers or none is.
SELECT coalesce(bool_or(isnan(weight_sum)), false) AS weights_unknown FROM a_weight
