"""What a page says where it read only some of the texts."""

from analysis.queries import TraceInfo


def sampled(info: TraceInfo, counts: dict[str, int]) -> str:
    """A sentence after another one, of n_documents and n_tokens read; empty if all were."""
    if counts["n_documents"] >= info.num_documents or counts["n_tokens"] >= info.num_tokens:
        return ""
    return (
        f" Read: {counts['n_documents']:,} of {info.num_documents:,} texts with "
        f"{counts['n_tokens']:,} of {info.num_tokens:,} tokens, always the same ones."
    )
