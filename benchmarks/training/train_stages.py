"""The article's three stages on 256 experts, and the same without each part of it.

    python -m benchmarks.training.train_stages --corpus corpus --runs runs/stages --minutes 9

Trains one after another on every GPU there is; what is unfinished when the time is up goes on with
the same command. `python benchmarks/bench_stages.py` prepares the typos and makes the tables.
N = documents, G = domains, L = MoE layers, E = routed experts, T = tokens, W = windows.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.training.train_comparison import asked, nats, train_all, windows
from data.tokens import END_OF_TEXT_ID, DomainWindows, TokenStore
from data.training_folder import TrainingFolder
from model.losses import by_expert
from model.presets import tiny_dsr
from model.router import DynamicRouter
from model.training.curriculum import StagedBatches
from model.training.objective import autocast, within_ball
from model.training.own_model import OwnModel
from model.training.snapshots import Sample
from model.training.stages import Stage, article_stages, without
from model.training.train_config import TrainConfig
from model.training.trainer import RADIUS, Trainer
from model.transformer import Transformer

STEPS = 1_200
ONE_STAGE = (Stage(name="one stage", percent=100, batch=1 / 2, min_k=8, max_k=256, top_p=0.9),)
SCHEDULES = {
    "three-stages": article_stages(),
    "without-curriculum": without(article_stages(), curriculum=True),
    "without-adversarial": without(article_stages(), adversarial=True),
    "one-stage": ONE_STAGE,
}
RUNS = [(name, seed) for seed in (0, 1) for name in SCHEDULES]
Limits = tuple[int, int, float]  # min_k, max_k, top_p
RANGES: dict[str, Limits] = {
    f"{stage.min_k}-{stage.max_k}": (stage.min_k, stage.max_k, stage.top_p)
    for stage in article_stages()
    if stage.min_k is not None and stage.max_k is not None and stage.top_p is not None
}
NOISES = {"noise": RADIUS, "more noise": 2 * RADIUS}  # of the norm of a sequence's embeddings


def main() -> None:
    arguments = asked(__doc__, steps=STEPS)
    if arguments.one:
        name, seed = arguments.one.split(":")
        train_one(name, int(seed), arguments)
    else:
        chosen = set(arguments.only.split(",")) if arguments.only else set(SCHEDULES)
        train_all([run for run in RUNS if run[0] in chosen], arguments)


def train_one(name: str, seed: int, arguments: argparse.Namespace) -> None:
    deadline = time.monotonic() + 60 * arguments.minutes - 40  # to compile and to evaluate
    folder = arguments.runs / f"{name}.{seed}"
    torch.set_float32_matmul_precision("high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Transformer(tiny_dsr()).to(device)
    schedule = TrainConfig(
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        learning_rate=2e-3,
        warmup_steps=min(100, arguments.steps),
        log_every=10,
        checkpoint_every=100_000,  # only where it stops
        stages=SCHEDULES[name],
        seed=seed,
    )
    heldout = TokenStore.load(arguments.corpus, "shipped")
    length = model.config.context_length
    windows = DomainWindows(TokenStore.load(arguments.corpus, "train"), seed=seed)
    source = StagedBatches(windows, context_length=length, seed=seed)
    sample = Sample(*heldout.opening_windows(length), heldout.domains)
    trainer = Trainer(OwnModel(model), schedule, folder, batches=source, sample=sample)
    began = time.perf_counter()
    finished = trainer.run(
        on_progress=lambda done: None, should_stop=lambda: time.monotonic() > deadline
    )
    seconds = time.perf_counter() - began
    print(f"{name}.{seed}: step {trainer.step}, {seconds:.0f} s", flush=True)
    if finished:
        with torch.compiler.set_stance("force_eager"):
            measure(model.eval(), arguments.corpus, folder)
        TrainingFolder(folder).progress.unlink(missing_ok=True)
        (folder / "done").touch()


@torch.inference_mode()
def measure(model: Transformer, corpus: Path, folder: Path) -> None:
    """results.npz: loss, routing and its stability, at the limits of each stage and at its own."""
    store = TokenStore.load(corpus, "shipped")
    arrays: dict[str, np.ndarray] = {}
    for label, limits in {"own": own_limits(model), **RANGES}.items():
        with activating(model, limits):
            arrays[f"{label}|nats_N"] = nats(model, store)
            arrays |= {f"{label}|{key}": value for key, value in loads(model, store).items()}
            for name, radius in NOISES.items():
                arrays |= flips(model, noisy(model, store, radius), store, f"{label}|{name}")
            arrays |= flips(model, mistyped(model, corpus), store, f"{label}|typos")
    np.savez_compressed(folder / "results.npz", allow_pickle=False, **arrays)


def gates(model: Transformer) -> list[DynamicRouter]:
    return [moe.gate for moe in model.moe_layers() if isinstance(moe.gate, DynamicRouter)]


def own_limits(model: Transformer) -> Limits:
    gate = gates(model)[0]
    return int(gate.min_k), int(gate.max_k), float(gate.top_p)


@contextmanager
def activating(model: Transformer, limits: Limits) -> Iterator[None]:
    before = own_limits(model)
    try:
        for gate in gates(model):
            gate.limit(min_k=limits[0], max_k=limits[1], top_p=limits[2])
        yield
    finally:
        for gate in gates(model):
            gate.limit(min_k=before[0], max_k=before[1], top_p=before[2])


def chosen(model: Transformer, ids_BS: Tensor, perturbation_BSD: Tensor | None = None) -> Tensor:
    """Which experts each token goes to, bool [T, L, E]."""
    with autocast(ids_BS):
        _, routed = model.hidden(ids_BS.clamp(min=0), perturbation_BSD=perturbation_BSD)
    layers = [decided.expert_ids_TK for decided in routed]
    ones = [torch.ones_like(ids_TK, dtype=torch.bool) for ids_TK in layers]
    num_experts = model.config.num_experts
    pairs = zip(ones, layers, strict=True)
    return torch.stack([by_expert(one, ids_TK, num_experts) for one, ids_TK in pairs], dim=1)


def loads(model: Transformer, store: TokenStore) -> dict[str, np.ndarray]:
    """tokens_NLE; k_GLE: tokens of each domain that chose 1 to E experts. Without text starts."""
    config, device = model.config, model.embedding.weight.device
    layers, experts = config.num_moe_layers, config.num_experts
    tokens_NLE = torch.zeros(len(store.domain_id), layers, experts, device=device)
    k_GLE = torch.zeros(len(store.domains), layers, experts, device=device)
    layer_L = torch.arange(layers, device=device)
    for ids_BS, document_B in windows(model, store):
        inputs_BS = torch.from_numpy(ids_BS[:, :-1].astype(np.int64)).to(device)
        counted_T = (inputs_BS > END_OF_TEXT_ID).flatten()
        chosen_TLE = chosen(model, inputs_BS)[counted_T]
        document_T = torch.from_numpy(document_B).to(device).repeat_interleave(inputs_BS.shape[1])
        tokens_NLE.index_add_(0, document_T[counted_T], chosen_TLE.float())
        domain_B = torch.from_numpy(store.domain_id[document_B].astype(np.int64)).to(device)
        domain_T = domain_B.repeat_interleave(inputs_BS.shape[1])[counted_T]
        k_TL = chosen_TLE.sum(-1) - 1
        ones_TL = torch.ones_like(k_TL, dtype=torch.float32)
        k_GLE.index_put_((domain_T[:, None], layer_L, k_TL), ones_TL, accumulate=True)
    return {
        "tokens_NLE": tokens_NLE.cpu().numpy().astype(np.uint16),
        "k_GLE": k_GLE.cpu().numpy().astype(np.uint32),
    }


Pairs = Iterator[tuple[Tensor, Tensor, Tensor]]  # chosen_TLE, the same perturbed, document_T


def noisy(model: Transformer, store: TokenStore, radius: float) -> Pairs:
    """Random noise on the embeddings, of `radius` of a sequence's norm."""
    device = model.embedding.weight.device
    generator = torch.Generator(device).manual_seed(0)
    for ids_BS, document_B in first_windows(model, store):
        inputs_BS = torch.from_numpy(ids_BS).to(device)
        embedded_BSD = model.embedding(inputs_BS.clamp(min=0))
        noise_BSD = torch.randn(embedded_BSD.shape, generator=generator, device=device)
        moved_BSD = within_ball(noise_BSD, embedded_BSD, radius=radius)
        counted_T = (inputs_BS > END_OF_TEXT_ID).flatten()
        document_T = torch.from_numpy(document_B).to(device).repeat_interleave(inputs_BS.shape[1])
        clean_TLE, moved_TLE = chosen(model, inputs_BS), chosen(model, inputs_BS, moved_BSD)
        yield clean_TLE[counted_T], moved_TLE[counted_T], document_T[counted_T]


def first_windows(model: Transformer, store: TokenStore) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The first window of every document."""
    seen = np.zeros(len(store.domain_id), dtype=bool)
    for ids_BS, document_B in windows(model, store):
        first_B = ~seen[document_B] & (np.r_[-1, document_B[:-1]] != document_B)
        seen[document_B] = True
        yield ids_BS[first_B, :-1].astype(np.int64), document_B[first_B]


def mistyped(model: Transformer, corpus: Path) -> Pairs:
    """Tokens that are the same in the text with typos, after its first one."""
    device = model.embedding.weight.device
    with np.load(corpus / "typos.npz") as found:
        clean_WS, typos_WS = found["clean_WS"].astype(np.int64), found["typos_WS"].astype(np.int64)
        document_W, pairs = found["document_W"], found["pairs"]  # [P, 3]: window, clean, typo place
    length = clean_WS.shape[1]
    for first in range(0, len(clean_WS), 64):
        rows = slice(first, first + 64)
        clean_TLE = chosen(model, torch.from_numpy(clean_WS[rows]).to(device))
        typos_TLE = chosen(model, torch.from_numpy(typos_WS[rows]).to(device))
        here = pairs[(pairs[:, 0] >= first) & (pairs[:, 0] < first + 64)].astype(np.int64)
        clean_P = torch.from_numpy((here[:, 0] - first) * length + here[:, 1]).to(device)
        typos_P = torch.from_numpy((here[:, 0] - first) * length + here[:, 2]).to(device)
        document_P = torch.from_numpy(document_W[here[:, 0]].astype(np.int64)).to(device)
        yield clean_TLE[clean_P], typos_TLE[typos_P], document_P


def flips(model: Transformer, pairs: Pairs, store: TokenStore, name: str) -> dict[str, np.ndarray]:
    """Of each document and layer: choices of the clean text, and those not made in the other."""
    shape = (len(store.domain_id), model.config.num_moe_layers)
    device = model.embedding.weight.device
    choices_NL, flipped_NL, others_NL = (torch.zeros(shape, device=device) for _ in range(3))
    for clean_TLE, other_TLE, document_T in pairs:
        choices_NL.index_add_(0, document_T, clean_TLE.sum(-1).float())
        others_NL.index_add_(0, document_T, other_TLE.sum(-1).float())
        flipped_NL.index_add_(0, document_T, (clean_TLE & ~other_TLE).sum(-1).float())
    found = {"choices_NL": choices_NL, "flipped_NL": flipped_NL, "others_NL": others_NL}
    return {f"{name}|{key}": x.cpu().numpy().astype(np.uint32) for key, x in found.items()}


if __name__ == "__main__":
    main()
