"""A smaller model beside the one it was made of: how it is made, and what it costs.

L = MoE layers, E = routed experts, F = inner neurons, N = documents.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from analysis.comparison import change_table
from analysis.redundancy import (
    CLOSED,
    SIMILARITIES,
    leaders,
    neuron_match,
    without_least_salient,
)
from analysis.stability import Choices, changed_choices
from app.studies.reader import HELDOUT, Tracer, load_reader
from app.studies.redundancy import Redundancy
from app.studies.scoring import text_nats
from data.pieces import encoder
from data.routing import UNLABELLED, Document
from data.tasks.files import read_task

if TYPE_CHECKING:
    from model.compress import Plan
    from model.transformer import Transformer

FILE = "compression.csv"
SALIENCY = "saliency"
THRESHOLD = 0.85
SHARE = 0.25
How = Literal["drop", "merge"]
Advance = Callable[[int, int], None]


def leaders_by(found: Redundancy, by: str, *, threshold: float, share: float) -> np.ndarray:
    """The expert of which each expert runs the weights afterwards [L, E]; CLOSED where it runs
    none."""
    if by == SALIENCY:
        return np.array([without_least_salient(row, share=share) for row in found.saliency_LE])
    similar = zip(found.similarity(by), found.tokens_LE, strict=True)
    return np.array([leaders(pairs, tokens, threshold=threshold) for pairs, tokens in similar])


def require_change(found: Redundancy, by: str, leader_LE: np.ndarray, *, threshold: float) -> None:
    if (leader_LE != np.arange(leader_LE.shape[1])).any():
        return
    if by == SALIENCY:
        raise ValueError("the share is less than one expert per layer, so nothing would be removed")
    highest, layer = found.highest(by)
    raise ValueError(
        f"no two experts reach {threshold:g} by {by}: the most similar pair has {highest:.3f}, in "
        f"layer {layer}. Nothing was removed or written; lower --threshold"
    )


def plan_of(
    model: "Transformer", leader_LE: np.ndarray, tokens_LE: np.ndarray, *, how: How
) -> "Plan":
    """`drop`: a group runs its leader's weights. `merge`: their mean, weighted by use."""
    from model.compress import Plan, neurons

    layers, experts = leader_LE.shape
    order_LEF = np.tile(np.arange(model.config.expert_dim), (layers, experts, 1))
    sign_LEF = np.ones(order_LEF.shape)
    share_LE = (leader_LE == np.arange(experts)).astype(float)
    if how == "merge":
        for layer, moe in enumerate(model.moe_layers()):
            share_LE[layer] = _shares(leader_LE[layer], tokens_LE[layer])
            neurons_EFPD = neurons(moe.experts)
            for expert, leader in enumerate(leader_LE[layer]):
                if leader not in (expert, CLOSED):
                    match = neuron_match(neurons_EFPD[expert], neurons_EFPD[leader])
                    order_LEF[layer, expert], sign_LEF[layer, expert] = match
    return Plan(leader_LE=leader_LE, share_LE=share_LE, order_LEF=order_LEF, sign_LEF=sign_LEF)


def _shares(leader_E: np.ndarray, tokens_E: np.ndarray) -> np.ndarray:
    """Of each expert in the tokens of its group; a group without any is its leader's."""
    share_E = (leader_E == np.arange(len(leader_E))).astype(float)
    for leader in np.unique(leader_E[leader_E != CLOSED]):
        members = leader_E == leader
        if total := tokens_E[members].sum():
            share_E[members] = tokens_E[members] / total
    return share_E


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` at the end of the block, or nothing at all."""
    require_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        partial.chmod(0o755)
        yield partial
        os.replace(partial, out)
    except BaseException:
        shutil.rmtree(partial)
        raise


def require_free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not an empty folder; name another one")


def write(model: "Transformer", source: Path, folder: Path) -> Tracer:
    """The model with the tokenizer of `source`, and read back: what is measured is the file."""
    from model.checkpoint import save_model

    save_model(model, folder)
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    return load_reader(folder)


def heldout_texts(used: Sequence[Document], *, texts: int, seed: int) -> list[Document]:
    """Shipped held-out texts that the calibration did not use, `texts` a domain."""
    seen = {document.text for document in used}
    task = read_task(HELDOUT).sample(texts + len(used), seed=seed)
    left: dict[str, int] = {}
    kept = []
    for document in task.documents:
        domain = document.domain or UNLABELLED
        if document.text not in seen and left.setdefault(domain, texts):
            left[domain] -= 1
            kept.append(document)
    return kept


def compared(
    before: Tracer,
    after: Tracer,
    documents: Sequence[Document],
    *,
    seed: int,
    on_progress: Advance = lambda done, total: None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """(bits per byte by domain: before, after, change with its paired 95 % interval; what changed
    as a whole)"""
    nats = []
    speed = []
    total = 2 * len(documents)
    for number, reader in enumerate((before, after)):
        started = time.perf_counter()

        def advance(done: int, parts: int, number: int = number) -> None:
            on_progress(number * len(documents) + done * len(documents) // parts, total)

        nats.append(text_nats(reader, [d.text for d in documents], on_progress=advance))
        speed.append(time.perf_counter() - started)
    facts = {
        "changed_choices": changed_choices(
            choices(before, documents), choices(after, documents), documents, seed=seed
        ),
        "parameters": [_parameters(reader) for reader in (before, after)],
        "bytes": [_weight_bytes(reader.folder) for reader in (before, after)],
        "experts_by_layer": [_stored_experts(reader) for reader in (before, after)],
        "seconds": [round(seconds, 2) for seconds in speed],
    }
    return change_table(nats[0], nats[1], documents, seed=seed), facts


def choices(reader: Tracer, documents: Sequence[Document]) -> Choices:
    from model.compress import layer_inputs
    from model.encoded import encoded_documents

    config = reader.model.config
    room = config.context_length - 1
    encoded = list(encoded_documents(encoder(reader.tokenizer), documents, room=room))
    document, chosen = [], []
    for document_T, layers in layer_inputs(reader.model, encoded):
        document.append(document_T)
        chosen.append(
            np.stack([_chosen(one.expert_ids_TK, config.num_experts) for one in layers], 1)
        )
    return Choices(np.concatenate(document), np.concatenate(chosen))


def _chosen(expert_ids_TK: Any, num_experts: int) -> np.ndarray:
    ids_TK = expert_ids_TK.cpu().numpy()
    chosen_TX = np.zeros((len(ids_TK), num_experts + 1), bool)  # the last: NO_EXPERT, -1
    np.put_along_axis(chosen_TX, ids_TK, True, axis=1)
    return chosen_TX[:, :num_experts]


def _parameters(reader: Tracer) -> int:
    from model.counting import count

    return count(reader.model.config).parameters


def _stored_experts(reader: Tracer) -> list[int]:
    return [len(moe.experts.gate_up_EDF) for moe in reader.model.moe_layers()]


def _weight_bytes(folder: Path) -> int:
    from model.fingerprint import shard_paths

    return sum(path.stat().st_size for path in shard_paths(folder))


def require_how(by: str, how: How) -> None:
    if by not in (*SIMILARITIES, SALIENCY):
        raise ValueError(f"--by {by!r} is not one of {', '.join((*SIMILARITIES, SALIENCY))}")
    if by == SALIENCY and how == "merge":
        raise ValueError("saliency makes no groups that could be merged; use --how drop")


def rows(table: pd.DataFrame, asked: dict[str, Any], facts: dict[str, Any]) -> pd.DataFrame:
    """What was asked, what is left, and the bits per byte of each domain: one row per domain."""
    wanted: dict[str, Any] = {"by": "", "how": "", "threshold": pd.NA, "share": pd.NA} | asked
    left: dict[str, Any] = {
        "experts": sum(facts["experts_by_layer"][1]),
        "parameters": facts["parameters"][1],
        "bytes": facts["bytes"][1],
        "changed_choices": facts["changed_choices"]["estimate"],
    }
    return table.assign(**wanted, **left)[[*wanted, *left, *table.columns]]
