"""The models of the paper's comparison, trained one after another on every GPU there is.

    python benchmarks/training/train_comparison.py --corpus corpus --runs runs/comparison \\
        --minutes 9

Each training is one folder of --runs; what is unfinished when the time is up goes on with the same
command. `python benchmarks/bench_comparison.py` makes the tables of what came out.
N = documents, L = MoE layers, E = routed experts, V = variants.
"""

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch

from data.tokens import END_OF_TEXT_ID, TokenStore, batches
from data.training_folder import TrainingFolder
from model.checkpoint import save_model
from model.evaluation import document_nats, evaluation_batches
from model.intervene import activated, masked_top, without_shared
from model.presets import PRESETS
from model.router import admitted
from model.training.batches import PlainBatches
from model.training.own_model import OwnModel
from model.training.train_config import TrainConfig
from model.training.trainer import Progress, Trainer
from model.transformer import Transformer

STEPS = 2_600
BATCH_SIZE = 128  # sequences of 512 tokens
RUNS = [  # (preset, seed), those that matter most first
    ("mini-dense-x16", 0),
    ("mini-deepseekmoe", 0),
    ("mini-gshard", 0),
    ("mini-gshard-x1.5", 0),
    ("mini-deepseekmoe-m8", 0),
    ("mini-dense", 0),
    ("mini-hash", 0),
    ("mini-switch", 0),
    ("mini-deepseekmoe", 1),
    ("mini-gshard", 1),
    ("mini-deepseekmoe-m1", 0),
    ("mini-deepseekmoe-m2", 0),
    ("mini-deepseekmoe-s0", 0),
    ("mini-deepseekmoe-s2", 0),
    ("mini-gshard-capacity", 0),
    ("mini-switch-capacity", 0),
    ("mini-dense-x1", 0),
    ("mini-hash-x1", 0),
    ("mini-switch-x1", 0),
    ("mini-gshard-x1.5", 1),
    ("mini-deepseek-v3", 0),
    ("mini-deepseekmoe", 2),
    ("mini-gshard", 2),
    ("mini-gshard-x1.5", 2),
]
MASKED_SIXTEENTHS = (1, 2, 3, 4)  # of the routed experts, as in figure 4 of the paper
MASKED_FROM = 15  # experts: of fewer a sixteenth is none


def main() -> None:
    arguments = asked(__doc__, steps=STEPS)
    if arguments.one:
        preset, seed = arguments.one.split(":")
        train_one(preset, int(seed), arguments)
    else:
        chosen = set(arguments.only.split(",")) if arguments.only else set(PRESETS)
        train_all([run for run in RUNS if run[0] in chosen], arguments)


def asked(description: str | None, *, steps: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--at-once", type=int, default=2, help="Trainings on one GPU.")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--only", help="Names, comma-separated.")
    parser.add_argument("--one", help="NAME:SEED, in this process.")
    return parser.parse_args()


def train_all(runs: list[tuple[str, int]], arguments: argparse.Namespace) -> None:
    """Every process takes the next training that is not finished, until the time is up."""
    deadline = time.monotonic() + 60 * arguments.minutes
    waiting: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    for preset, seed in runs:
        if not (folder_of(arguments.runs, preset, seed) / "done").exists():
            waiting.put((preset, seed))
    devices = max(1, torch.cuda.device_count()) * arguments.at_once
    threads = [
        threading.Thread(target=work, args=(waiting, str(place // arguments.at_once), deadline))
        for place in range(devices)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{waiting.qsize()} trainings not begun")


def work(waiting: "queue.SimpleQueue[tuple[str, int]]", gpu: str, deadline: float) -> None:
    while (left := deadline - time.monotonic()) > 45:
        try:
            preset, seed = waiting.get_nowait()
        except queue.Empty:
            return
        command = [sys.executable, *sys.argv, "--one", f"{preset}:{seed}", "--minutes"]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": gpu, "OMP_NUM_THREADS": "4"}
        subprocess.run([*command, str(left / 60)], env=environment, check=False)


def folder_of(runs: Path, preset: str, seed: int) -> Path:
    return runs / f"{preset}.{seed}"


def train_one(preset: str, seed: int, arguments: argparse.Namespace) -> None:
    deadline = time.monotonic() + 60 * arguments.minutes - 25  # to compile and to evaluate
    folder = folder_of(arguments.runs, preset, seed)
    torch.set_float32_matmul_precision("high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Transformer(PRESETS[preset]()).to(device)
    store = TokenStore.load(arguments.corpus, "train")
    schedule = TrainConfig(
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        learning_rate=2e-3,
        warmup_steps=min(150, arguments.steps),
        checkpoint_every=100_000,  # only where it stops
        seed=seed,
    )
    length = model.config.context_length
    batch_of = batches(store, length, arguments.batch_size, seed=seed)
    trainer = Trainer(OwnModel(model), schedule, folder, batches=PlainBatches(batch_of))
    began, rates = time.perf_counter(), list[float]()

    def note(done: Progress) -> None:
        rates.append(done.tokens_per_second)

    finished = trainer.run(on_progress=note, should_stop=lambda: time.monotonic() > deadline)
    seconds = time.perf_counter() - began
    print(f"{preset}.{seed}: step {trainer.step}, {seconds:.0f} s", flush=True)
    with (folder / "sessions.jsonl").open("a", encoding="utf-8") as log:
        median = float(np.median(rates)) if rates else None
        log.write(json.dumps({"step": trainer.step, "seconds": seconds, "rate": median}) + "\n")
    if finished:
        save_model(model, folder)
        measure(model.eval(), TokenStore.load(arguments.corpus, "shipped"), folder)
        TrainingFolder(folder).progress.unlink(missing_ok=True)
        (folder / "done").touch()


@torch.inference_mode()
def measure(model: Transformer, store: TokenStore, folder: Path) -> None:
    """results.npz: nats_N, what the variants cost, and where the tokens went."""
    arrays = {"nats_N": nats(model, store)}
    if model.config.num_experts:
        arrays |= loads(model, store)
        for name, block in variants(model).items():
            with block():
                arrays[f"nats_N|{name}"] = nats(model, store)
    np.savez_compressed(folder / "results.npz", allow_pickle=False, **arrays)


def nats(model: Transformer, store: TokenStore) -> np.ndarray:
    return document_nats(model, windows(model, store), num_documents=len(store.domain_id))


def windows(model: Transformer, store: TokenStore) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    length = model.config.context_length
    yield from evaluation_batches(store.tokens, store.doc_start, length=length, batch_size=64)


def variants(model: Transformer) -> dict[str, Callable[[], AbstractContextManager[None]]]:
    """The paper's experiments (arXiv 2401.06066, 4.5), where the model can be asked."""
    config = model.config
    if config.router == "hash" or config.groups_per_token or config.capacity_factor:
        return {}
    found: dict[str, Callable[[], AbstractContextManager[None]]] = {}
    for part in MASKED_SIXTEENTHS if config.num_experts >= MASKED_FROM else ():
        count = round(part * config.num_experts / 16)
        found[f"masked {part}/16"] = partial(masked_top, model, count)
    for count in range(1, config.top_k):
        found[f"activated {count}"] = partial(activated, model, count)
    if config.num_shared_experts:
        found["shared off"] = partial(without_shared, model)
        found["shared replaced"] = partial(replaced, model)
    return found


@contextmanager
def replaced(model: Transformer) -> Iterator[None]:
    more = model.config.top_k + model.config.num_shared_experts
    with without_shared(model), activated(model, more):
        yield


def loads(model: Transformer, store: TokenStore) -> dict[str, np.ndarray]:
    """tokens_NLE and dropped_NLE: the choices executed and refused, document starts left out."""
    config = model.config
    shape = (len(store.domain_id), config.num_moe_layers, config.num_experts)
    device = model.embedding.weight.device
    tokens_NLE, dropped_NLE = (torch.zeros(shape, device=device).flatten() for _ in range(2))
    layer_L = torch.arange(config.num_moe_layers, device=device)
    capacity = config.expert_capacity
    for ids_BS, document_B in windows(model, store):
        inputs_BS = torch.from_numpy(ids_BS[:, :-1].astype(np.int64)).to(device)
        counted_T = (inputs_BS > END_OF_TEXT_ID).flatten()
        document_T = torch.from_numpy(document_B).to(device).repeat_interleave(inputs_BS.shape[1])
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            _, routed = model.hidden(inputs_BS.clamp(min=0))
        ids_TLK = torch.stack([decided.expert_ids_TK for decided in routed], dim=1)
        kept_TLK = torch.ones_like(ids_TLK, dtype=torch.bool)
        if capacity is not None:
            none_BE = ids_TLK.new_zeros((len(inputs_BS), config.num_experts), dtype=torch.int32)
            for layer in range(config.num_moe_layers):
                kept_TLK[:, layer] = admitted(ids_TLK[:, layer], none_BE, capacity=capacity)[0]
        place_TLK = (document_T[:, None] * config.num_moe_layers + layer_L)[..., None]
        place_TLK = place_TLK * config.num_experts + ids_TLK
        for sums, of_TLK in ((tokens_NLE, kept_TLK), (dropped_NLE, ~kept_TLK)):
            weight_TLK = (of_TLK & counted_T[:, None, None]).float()
            sums.index_add_(0, place_TLK.flatten(), weight_TLK.flatten())
    found = {"tokens_NLE": tokens_NLE, "dropped_NLE": dropped_NLE}
    return {name: x.view(shape).cpu().numpy().astype(np.uint16) for name, x in found.items()}


if __name__ == "__main__":
    main()
