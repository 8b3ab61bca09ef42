"""Every specialist of the demo trace, left out of the shipped model one at a time, and the same in
models and with labels where there is nothing to confirm.

    python -m benchmarks.bench_specialists documents  # what the demo trace read, as token ids
    python -m benchmarks.bench_specialists losses     # every expert left out; needs torch alone
    python -m benchmarks.bench_specialists losses --untrained 0     # and 1, 2
    python -m benchmarks.bench_specialists table      # data/checkpoint/demo.causes.parquet
    python -m benchmarks.bench_specialists controls   # data/checkpoint/causes_controls.csv

On a CPU `losses` takes hours, so it can run where there is a GPU, torch and NumPy.
N = groups, D = documents, L = MoE layers, E = routed experts, V = variants.
"""

import argparse
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from data.routing import NO_EXPERT, Document, RoutingBatch

if TYPE_CHECKING:
    from analysis.causes import Claim, LayerChanges
    from app.studies.ablation import Texts
    from app.studies.claims import Halves
    from model.transformer import Transformer

CHECKPOINT = Path("data/checkpoint")
TRACE = Path("traces/demo.duckdb")
SEED = 0
SHUFFLES = 20
UNTRAINED = (0, 1, 2)  # seeds of the initialization


def documents(folder: Path) -> None:
    """Token ids of every labelled text of the trace, and which of them judge."""
    from analysis import queries
    from app.studies.claims import halves
    from app.studies.reader import load_tracer
    from data.routing import UNLABELLED
    from data.store import open_trace
    from model.encoded import encoded_documents

    tracer = load_tracer(CHECKPOINT)
    with open_trace(TRACE) as con:
        judges = halves(con, queries.trace_info(con)).judges
        frame = queries.documents(con)
        frame = frame[(frame.domain != UNLABELLED) & (frame.tokens > 0)]
        texts = [
            Document(doc_id=int(doc_id), text=queries.document_text(con, int(doc_id)))
            for doc_id in frame.doc_id
        ]
    encoded = list(encoded_documents(tracer.model, texts))
    np.savez_compressed(
        folder / "documents.npz",
        ids=np.concatenate([item.token_ids for item in encoded]).astype(np.uint16),
        tokens=frame.tokens.to_numpy(),
        doc_id=frame.doc_id.to_numpy(),
        unit=frame.unit.to_numpy(),
        domain=frame.domain.to_numpy(str),
        judges=frame.doc_id.isin(judges.doc_id).to_numpy(),
    )


def losses(folder: Path, untrained: int | None) -> None:
    """The choices of every text, and what those that judge cost without each expert."""
    import torch

    from model.ablation import document_losses
    from model.capture import capture_documents
    from model.deepseek_moe import DeepSeekMoE
    from model.encoded import encoded_documents
    from model.fingerprint import model_sha256
    from model.intervene import masked

    read = np.load(folder / "documents.npz")
    ids = np.split(read["ids"].astype(int), np.cumsum(read["tokens"])[:-1])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = loaded(untrained, device)

    def stored(texts: list[str]) -> list[tuple[list[int], list[str]]]:
        return [(ids[int(text)].tolist(), [""] * len(ids[int(text)])) for text in texts]

    reader = DeepSeekMoE(model, encode=stored, decode=no_text, tokenizer="")
    texts = [Document(doc_id=place, text=str(place)) for place in range(len(ids))]
    started = time.perf_counter()
    counted = Choices(len(ids), model.config.num_moe_layers, model.config.num_experts)
    capture_documents(reader, texts, counted)
    encoded = list(encoded_documents(reader, [texts[n] for n in np.flatnonzero(read["judges"])]))
    layers = [
        document_losses(
            reader,
            encoded,
            {
                f"{layer}:{expert}": partial(masked, model, {layer: [expert]})
                for expert in range(model.config.num_experts)
            },
        )
        for layer in range(model.config.num_moe_layers)
    ]
    np.savez_compressed(
        folder / losses_file(untrained),
        choices_DLE=counted.tokens_DLE,
        nats_VD=np.concatenate([layers[0].nats_VN[:1], *(of.nats_VN[1:] for of in layers)]),
        sha=model_sha256(CHECKPOINT),
        device=torch.cuda.get_device_name() if device == "cuda" else device,
        torch=torch.__version__,
        seconds=time.perf_counter() - started,
    )


def losses_file(untrained: int | None) -> str:
    return "losses.npz" if untrained is None else f"untrained_{untrained}.npz"


def loaded(untrained: int | None, device: str) -> "Transformer":
    """The shipped model, or its architecture as it was before the first step."""
    import torch

    from model.checkpoint import load_model
    from model.config_file import load_config
    from model.transformer import Transformer

    if untrained is None:
        return load_model(CHECKPOINT, device=device, dtype=torch.float32)
    model = Transformer(load_config(CHECKPOINT)).eval()
    model.initialize(seed=untrained)
    return model.to(device)


class Choices:
    """A sink that counts."""

    def __init__(self, documents: int, layers: int, experts: int) -> None:
        self.tokens_DLE = np.zeros((documents, layers, experts), np.int32)

    def write(self, batch: RoutingBatch) -> None:
        for layer_id in range(self.tokens_DLE.shape[1]):
            ids_TK = batch.expert_ids_TLK[:, layer_id]
            doc_TK = np.broadcast_to(batch.doc_id_T[:, None], ids_TK.shape)
            chosen_TK = ids_TK != NO_EXPERT
            np.add.at(self.tokens_DLE[:, layer_id], (doc_TK[chosen_TK], ids_TK[chosen_TK]), 1)


def no_text(_: object) -> NoReturn:
    """Nothing is generated here."""
    raise AssertionError


def measured(
    folder: Path, untrained: int | None
) -> "tuple[Halves, dict[int, LayerChanges], dict[str, Any]]":
    """The two halves, what was measured on the second, and with what."""
    import pandas as pd

    from app.studies.ablation import Texts
    from app.studies.claims import halves_of
    from data.routing import DOMAINS

    read, run = np.load(folder / "documents.npz"), np.load(folder / losses_file(untrained))
    frame = pd.DataFrame({name: read[name] for name in ("doc_id", "unit", "domain", "tokens")})
    domains = [name for name in DOMAINS if name in set(frame.domain)]
    halves, judges_D = halves_of(frame, run["choices_DLE"], domains=domains), read["judges"]
    if set(halves.judges.doc_id) != set(frame.doc_id[judges_D]):
        raise SystemExit("the documents were written by another rule for the halves; write again")
    doc_id_D, unit_D, domain_D = (read[name][judges_D] for name in ("doc_id", "unit", "domain"))
    texts = Texts(doc_id_D, unit_D, domain_D, run["choices_DLE"][judges_D])
    parameters = {name: run[name].item() for name in ("device", "torch", "seconds")}
    parameters |= {"model_sha256": run["sha"].item()}
    return halves, dict(every_layer(texts, run["nats_VD"], read["tokens"][judges_D])), parameters


def every_layer(
    texts: "Texts", nats_VD: np.ndarray, tokens_D: np.ndarray
) -> "Iterator[tuple[int, LayerChanges]]":
    num_layers, num_experts = texts.choices_DLE.shape[1:]
    change_LED = (nats_VD[1:] - nats_VD[0]).reshape(num_layers, num_experts, -1)
    for layer_id, change_ED in enumerate(change_LED):
        yield layer_id, texts.changes(layer_id, change_ED, tokens_D)


def table(folder: Path) -> None:
    import pandas as pd

    from analysis.cause_tests import with_verdicts
    from analysis.causes import DOUBLE, cause_table
    from app.studies import ablation, cause_words
    from app.studies.shipped_causes import ship

    halves, layers, run = measured(folder, None)
    started = time.perf_counter()
    claims = halves.claims()
    rows = cause_table(layers, claims, claims, seed=SEED).assign(seed=SEED)
    parameters = run | {"seed": SEED, "tokens_per_domain": "all"}
    ship(CHECKPOINT, TRACE, rows, parameters)
    print(parameters, f"table: {time.perf_counter() - started:.1f} s")
    causes = with_verdicts(rows)
    whole = causes[causes.claimed]
    last = whole[whole.group == DOUBLE]
    print(pd.crosstab(last.domain, last.verdict, margins=True).to_string())
    for column in ("estimate", "per_choice"):
        mean = whole.pivot_table(index="domain", columns="group", values=column, sort=False)
        print(f"\nmean {column}\n{mean.to_string(float_format='{:+.4f}'.format)}")
    print(last[["n_controls", "control_choices"]].describe().to_string())
    print(cause_words.headline(causes), cause_words.undecided(causes))
    print(cause_words.beside(causes, ablation.shipped_controls(CHECKPOINT)))


def controls(folder: Path) -> None:
    """Claims tested and confirmed with labels permuted over the groups that judge, and in models
    that have learned nothing."""
    import pandas as pd

    halves, layers, run = measured(folder, None)
    claims = halves.claims()
    rows = []
    for seed in range(SHUFFLES):
        order_N = np.random.default_rng(seed).permutation(len(layers[0].domain_N))
        shuffled = {layer_id: relabelled(of, order_N) for layer_id, of in layers.items()}
        rows.append(counted("with shuffled labels", seed, shuffled, claims))
    for seed in UNTRAINED:
        halves, layers, _ = measured(folder, seed)
        claims = halves.claims()
        rows.append(counted("of the specialists of an untrained model", seed, layers, claims))
    frame = pd.DataFrame(rows).assign(model_sha256=run["model_sha256"])
    frame.to_csv(CHECKPOINT / "causes_controls.csv", index=False)
    print(frame.drop(columns="model_sha256").to_string(index=False))


def relabelled(layer: "LayerChanges", order_N: np.ndarray) -> "LayerChanges":
    from dataclasses import replace

    return replace(layer, domain_N=layer.domain_N[order_N])


def counted(
    control: str, seed: int, layers: "dict[int, LayerChanges]", claims: "list[Claim]"
) -> dict[str, object]:
    from analysis.cause_tests import tally, with_verdicts
    from analysis.causes import cause_table

    row: dict[str, object] = {"control": control, "seed": seed, "claims": len(claims)}
    if not claims:
        return row | {"tested": 0, "confirmed": 0}
    of = tally(with_verdicts(cause_table(layers, claims, claims, seed=SEED)), claimed=True)
    return row | {"tested": of.tested, "confirmed": of.confirmed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["documents", "losses", "table", "controls"])
    parser.add_argument("--folder", type=Path, default=Path("."), help="of the files in between")
    parser.add_argument("--untrained", type=int, help="losses: the seed of an untrained model")
    arguments = parser.parse_args()
    if arguments.step == "losses":
        losses(arguments.folder, arguments.untrained)
        return
    {"documents": documents, "table": table, "controls": controls}[arguments.step](arguments.folder)


if __name__ == "__main__":
    main()
