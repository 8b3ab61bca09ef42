"""Numbers of a capture that are no numbers: what of it is stored would not be what a model meant.

T = tokens, L = MoE layers.
"""

from dataclasses import replace

import numpy as np

from data.routing import FATAL, Finding, RoutingBatch

KIND = "non-finite"
EFFECT = (
    "Router logits, mixing weights or losses of some tokens are NaN or infinite: loads, dead "
    "experts, preferences and losses of this trace are not to be relied on."
)
ADVICE = (
    "the weights are damaged, or their training diverged: use another checkpoint, or store such "
    "tokens too, with a finding in the trace, by `routescope capture --allow-nonfinite`"
)


UNEXPLAINED = "unexplained-weights"
UNEXPLAINED_EFFECT = (
    "The mixing weights of some tokens do not come from the router's scores as those of the others "
    "do: their entropy and margin are unknown."
)


def checked(
    batch: RoutingBatch, finite_TL: np.ndarray, *, scored_from: int | None, allowed: bool
) -> RoutingBatch:
    """The batch, with a finding where something in it is not finite; refused unless that is
    allowed. `finite_TL`: Decisions.finite_TL of its tokens; `scored_from`: of the model."""
    known_T = np.isfinite(batch.loss_T)
    known_T |= scored_from is None or batch.position_T < scored_from
    if finite_TL.all() and np.isfinite(batch.weights_TLK).all() and known_T.all():
        return batch
    broken_TL = ~finite_TL | ~np.isfinite(batch.weights_TLK).all(-1)
    broken_T = broken_TL.any(-1) | ~known_T
    first = int(broken_T.argmax())
    what = "the model gives a loss that is NaN or infinite"
    if broken_TL[first].any():
        layer_id = int(broken_TL[first].argmax())
        numbers = "mixing weights" if finite_TL[first, layer_id] else "router logits"
        what = f"MoE layer {layer_id} gives {numbers} that are NaN or infinite"
    where = place(batch, first)
    if not allowed:
        raise ValueError(f"{what}, first for {where}; {ADVICE}")
    finding = Finding(
        kind=KIND,
        severity=FATAL,
        occurrences=int(broken_T.sum()),
        first_example=f"{what}: {where}",
        effect=EFFECT,
    )
    return replace(batch, findings=(*batch.findings, finding))


def with_unexplained(batch: RoutingBatch, explained_TL: np.ndarray) -> RoutingBatch:
    """The batch, with a finding where a layer's rule does not give the weights.
    `explained_TL`: Decisions.explained_TL of its tokens."""
    if explained_TL.all():
        return batch
    strange_T = ~explained_TL.all(-1)
    first = int(strange_T.argmax())
    finding = Finding(
        kind=UNEXPLAINED,
        severity="warning",
        occurrences=int(strange_T.sum()),
        first_example=f"MoE layer {int(explained_TL[first].argmin())}: {place(batch, first)}",
        effect=UNEXPLAINED_EFFECT,
    )
    return replace(batch, findings=(*batch.findings, finding))


def place(batch: RoutingBatch, row: int) -> str:
    return (
        f"token {batch.token_text_T[row]!r} at position {batch.position_T[row]} of document "
        f"{batch.doc_id_T[row]}"
    )
