"""`routescope train`: from tokens to a checkpoint with its evaluation."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from app.commands import train_options as options
from app.commands.model_choice import Segments, Shared, chosen_config
from app.commands.model_class import ModelClass, config_path, new_transformers_model
from app.commands.parallel import ranks_of_torchrun
from app.commands.progress import progress_bar
from app.commands.signals import leaving
from data.outputs import write_atomically
from data.strict_json import json_text
from data.tokenizer import save_with_start
from data.tokens import DomainWindows, TokenStore, batches, corpus_identity
from data.training_folder import TrainingFolder

if TYPE_CHECKING:
    import numpy as np

    from model.config import ModelConfig
    from model.training.batches import Batches
    from model.training.stages import Stage
    from model.training.train_config import TrainConfig
    from model.training.trainable import TrainableModel
    from model.training.trainer import Progress, Trainer

    Heldout = tuple[np.ndarray, np.ndarray]  # of evaluation_batches


def train(
    folder: options.Folder,
    corpus: options.Corpus,
    preset: options.Preset = None,
    model_class: ModelClass = None,
    segments: Segments = 1,
    shared: Shared = 0,
    dense: options.Dense = False,
    stages: options.Stages = None,
    no_curriculum: options.NoCurriculum = False,
    no_adversarial: options.NoAdversarial = False,
    steps: options.Steps = 22_000,
    batch_size: options.BatchSize = 128,
    learning_rate: options.LearningRate = 2e-3,
    warmup_steps: options.WarmupSteps = 300,
    snapshots: options.Snapshots = 12,
    seed: options.Seed = 0,
    minutes: options.Minutes = None,
    parallel: options.Parallel = False,
    as_json: options.Json = False,
) -> None:
    """Train a model on a GPU if there is one (on several under torchrun), otherwise on the CPU.

    Example: routescope train runs/tiny --corpus corpus

    Of transformers: routescope train runs/qwen3 --corpus corpus
    --model-class transformers:benchmarks/configs/qwen3_moe.json

    Several processes: torchrun --standalone --nproc-per-node 2 $(which routescope) train runs/tiny
    --corpus corpus --parallel
    """
    chosen = chosen_model(  # before torch is loaded
        model_class,
        preset=preset,
        segments=segments,
        shared=shared,
        dense=dense,
        stages=stages,
        parallel=parallel,
    )
    from model.training.train_config import TrainConfig

    schedule = TrainConfig(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        snapshots=snapshots,
        stages=chosen_stages(stages, no_curriculum=no_curriculum, no_adversarial=no_adversarial),
        seed=seed,
    )
    with ExitStack() as ending:
        begins: AbstractContextManager[None] = nullcontext()
        if parallel:
            torchrun = ranks_of_torchrun("train FOLDER --corpus CORPUS")
            begins = ending.enter_context(torchrun).agreeing()
        with begins:
            heldout = TokenStore.load(corpus, "heldout")
            trainer = new_trainer(
                folder, corpus, heldout, chosen, schedule, dense=dense, parallel=parallel
            )
        finished = run_within(trainer, folder, minutes=minutes)
    if trainer.rank == 0:
        report(trainer, folder, corpus, heldout, finished=finished, as_json=as_json)


def new_trainer(
    folder: Path,
    corpus: Path,
    heldout: TokenStore,
    chosen: "ModelConfig | Path",
    schedule: "TrainConfig",
    *,
    dense: bool,
    parallel: bool,
) -> "Trainer":
    from model.training.snapshots import Sample
    from model.training.trainer import Trainer

    training = TokenStore.load(corpus, "train")
    model = new_model(chosen, dense=dense)
    for store in (training, heldout):
        store.require_ids_below(model.vocab_size)
    length = model.context_length
    sample = Sample(*heldout.opening_windows(length), heldout.domains)
    if not len(sample.token_ids_NS):
        raise ValueError(
            f"no held-out text of {corpus} fills the context of {length} tokens; use a model of a "
            "shorter one"
        )
    return Trainer(
        model,
        schedule,
        folder,
        batches=sequences(training, schedule, length),
        sample=sample,
        parallel=parallel,
        corpus=corpus_identity(corpus),
    )


def run_within(trainer: "Trainer", folder: Path, *, minutes: float | None) -> bool:
    """Whether it came to its end."""
    from model.training.trainer import DivergedError

    deadline = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    try:
        with leaving(lambda: how_to_continue(folder)):
            return run_with_bar(trainer, lambda: time.monotonic() > deadline)
    except DivergedError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def report(
    trainer: "Trainer",
    folder: Path,
    corpus: Path,
    heldout: TokenStore,
    *,
    finished: bool,
    as_json: bool,
) -> None:
    bits = None
    if finished:
        bring_tokenizer(corpus, folder)
        bits = write_evaluation(trainer.model, heldout, folder)
    if as_json:
        print(json_text({"finished": finished, "step": trainer.step, "bits_per_byte": bits}))
    elif finished:
        evaluation = TrainingFolder(folder).evaluation.name
        print(f"finished: {folder} holds the weights, bits per byte in {evaluation}")
    else:
        print(
            f"stopped at step {trainer.step} of {trainer.last_step}; run the same command to "
            "continue"
        )


def how_to_continue(folder: Path) -> str:
    if TrainingFolder(folder).progress.exists():
        return "run the same command to continue from the last checkpoint"
    return "there is no checkpoint yet: the same command begins again"


def sequences(store: TokenStore, schedule: "TrainConfig", length: int) -> "Batches":
    """By domain where there are stages: these choose what to draw."""
    from model.training.batches import PlainBatches
    from model.training.curriculum import StagedBatches

    if schedule.stages:
        source = DomainWindows(store, seed=schedule.seed)
        return StagedBatches(source, context_length=length, seed=schedule.seed)
    return PlainBatches(batches(store, length, schedule.batch_size, seed=schedule.seed))


def chosen_stages(
    stages: str | None, *, no_curriculum: bool, no_adversarial: bool
) -> "tuple[Stage, ...]":
    from model.training.stages import article_stages, read_stages, without

    if stages is None:
        if no_curriculum or no_adversarial:
            raise ValueError(
                "--no-curriculum and --no-adversarial leave out parts of staged training; add "
                "--stages"
            )
        return ()
    table = article_stages() if stages == "article" else read_stages(Path(stages))
    return without(table, curriculum=no_curriculum, adversarial=no_adversarial)


def chosen_model(
    model_class: str | None,
    *,
    preset: str | None,
    segments: int,
    shared: int,
    dense: bool,
    stages: str | None,
    parallel: bool,
) -> "ModelConfig | Path":
    """Our config, or the path of one of transformers."""
    if model_class is None:
        return chosen_config(preset or "tiny", segments=segments, shared=shared)
    given = {"preset": preset, "segments": segments > 1, "shared": shared, "dense": dense}
    return config_path(model_class, given | {"stages": stages, "parallel": parallel})


def new_model(chosen: "ModelConfig | Path", *, dense: bool) -> "TrainableModel":
    """On this process's GPU if there is one."""
    import torch

    from model.config import dense_twin
    from model.parallel.ranks import process_rank
    from model.training.own_model import OwnModel
    from model.transformer import Transformer

    rank, _ = process_rank()
    torch.set_float32_matmul_precision("high")
    device = f"cuda:{rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
    if isinstance(chosen, Path):
        return new_transformers_model(chosen, device=device)
    return OwnModel(Transformer(dense_twin(chosen) if dense else chosen).to(device))


def run_with_bar(trainer: "Trainer", should_stop: Callable[[], bool]) -> bool:
    with progress_bar("steps") as advance:
        advance(0, trainer.last_step, "compiling")

        def count(done: "Progress") -> None:
            rate = f"{done.tokens_per_second / 1e3:,.0f} k tokens/s"
            advance(done.step, trainer.last_step, f"loss {done.loss:.3f}  {rate}")

        return trainer.run(on_progress=count, should_stop=should_stop)


def bring_tokenizer(corpus: Path, folder: Path) -> None:
    """A model is captured and evaluated with the tokenizer that made its tokens."""
    from model.fingerprint import is_transformers

    source = corpus / "tokenizer.json"
    if source.is_file() and is_transformers(folder):
        save_with_start(source, folder / "tokenizer.json")
    elif source.is_file():
        shutil.copyfile(source, folder / "tokenizer.json")
    else:
        line = f"{corpus} has no tokenizer.json; copy its tokenizer to {folder} to capture with it"
        print(f"warning: {line}", file=sys.stderr)


def write_evaluation(
    model: "TrainableModel", heldout: TokenStore, folder: Path
) -> dict[str, float]:
    """Bits per byte of the weights as shipped (rounded to bfloat16), into the training's folder."""
    from model.evaluation import bits_per_byte, document_nats, evaluation_batches

    shipped, length = model.reloaded(folder), model.context_length
    texts = list(
        evaluation_batches(heldout.tokens, heldout.doc_start, length=length, batch_size=64)
    )
    with progress_bar("held-out batches") as advance:
        nats_N = document_nats(shipped, told(texts, advance), num_documents=len(heldout.domain_id))
    result = bits_per_byte(nats_N, heldout.bytes_per_doc, heldout.domain_id, heldout.domains)
    write_atomically(TrainingFolder(folder).evaluation, json_text(result, indent=2) + "\n")
    return result


def told(texts: list["Heldout"], advance: Callable[[int, int], None]) -> Iterator["Heldout"]:
    for done, batch in enumerate(texts):
        advance(done, len(texts))
        yield batch
