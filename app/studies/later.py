"""A trace of later texts, of the same model."""

from analysis.queries import TraceInfo


def require_other_texts(earlier: TraceInfo, later: TraceInfo) -> None:
    """ValueError: it is the same trace, or of another model, as far as they say."""
    if earlier.trace_id == later.trace_id:
        raise ValueError(f"{later.name} is the trace itself; give one of later texts")
    shas = earlier.model_sha256, later.model_sha256
    if all(shas) and shas[0] != shas[1]:
        raise ValueError(
            f"{earlier.name} is of the model {earlier.model_name} ({shas[0][:8]}) and {later.name} "
            f"of {later.model_name} ({shas[1][:8]}): their experts are not the same; give a later "
            "trace of the same model"
        )
