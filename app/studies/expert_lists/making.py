"""A list of experts by its kind."""

from pathlib import Path

from app.studies.expert_lists import merge, prune, quantize, tune, watch
from app.studies.expert_lists.subject import ExpertList, Settings, Subject


def make(
    subject: Subject,
    settings: Settings,
    *,
    later: Subject | None = None,
    model: Path | None = None,
) -> ExpertList:
    """`later`: another trace, to watch; `model`: whose similarities may be known, to merge.
    ValueError: what the trace lacks for it, and what is possible."""
    match settings.kind:
        case "prune":
            return prune.make(subject, settings)
        case "merge":
            return merge.make(subject, settings, model=model)
        case "quantize":
            return quantize.make(subject, settings)
        case "tune":
            return tune.make(subject, settings)
        case "watch":
            return watch.make(subject, settings, later=later)
