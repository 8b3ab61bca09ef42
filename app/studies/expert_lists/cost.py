"""What it costs to drop experts or to merge pairs of them, measured with the model itself.

L = MoE layers, E = routed experts, F = inner neurons.
"""

import tempfile
from pathlib import Path

import numpy as np

from analysis.redundancy import CLOSED
from app.studies.compression.costs import Advance, Costs, compare
from app.studies.compression.folder import write_model
from app.studies.compression.plan import plan_of
from app.studies.compression.rule import How
from app.studies.compression.texts import unseen_texts
from app.studies.expert_lists.subject import ExpertList, Subject
from app.studies.reader import load_tracer, own_model


def require_model(subject: Subject, model: Path) -> None:
    """ValueError: it is not the one that the trace was captured with, or one of transformers, or
    the trace lacks some of its layers."""
    from model.fingerprint import is_transformers, model_sha256

    if is_transformers(model):
        raise ValueError(
            f"the cost of a list is measured with models of our own; of {model} `routescope prune "
            f"{model} --by saliency` measures what fewer experts cost"
        )
    if model_sha256(model) != subject.info.model_sha256:
        raise ValueError(
            f"the trace was captured with other weights than those of {model}; give its own model"
        )
    subject.layers()


def measured_cost(
    found: ExpertList, subject: Subject, model: Path, *, texts: int, seed: int, on_progress: Advance
) -> Costs:
    """On shipped held-out texts, so many of each domain: the model as it is, and without the
    experts of the list, or with its pairs merged."""
    from model.compress import prune

    tracer = load_tracer(model)
    how: How = "merge" if found.settings.kind == "merge" else "drop"
    tokens_LE = subject.tokens_NLE.sum(0, dtype=np.int64)
    whole = own_model(tracer).transformer
    plan = plan_of(whole, leaders_of(found, tokens_LE), tokens_LE, how=how)
    with tempfile.TemporaryDirectory() as folder:
        small = write_model(prune(whole, plan), model, Path(folder))
        documents = unseen_texts([], texts=texts, seed=seed)
        return compare(tracer, small, documents, seed=seed, on_progress=on_progress)


def leaders_of(found: ExpertList, tokens_LE: np.ndarray) -> np.ndarray:
    """Whose weights each expert runs [L, E]: its own, nobody's where it is dropped, in a pair those
    of the one that more tokens chose."""
    leader_LE = np.tile(np.arange(tokens_LE.shape[1]), (len(tokens_LE), 1))
    if found.settings.kind != "merge":
        return np.where(found.listed_LE, CLOSED, leader_LE)
    pairs = found.experts[["layer_id", "expert_a", "expert_b"]].to_numpy(int).tolist()
    for layer_id, a, b in pairs:
        leader_LE[layer_id, [a, b]] = a if tokens_LE[layer_id, a] >= tokens_LE[layer_id, b] else b
    return leader_LE
