"""`routescope capture PROMPTS --ray`: a trace by the workers of a Ray cluster."""

import time
from pathlib import Path

from app.commands.capture import finish
from app.commands.capture_options import Asked
from app.commands.capture_prompts import Texts, texts_of
from app.commands.capture_report import NOTHING, hinting
from app.commands.progress import documents_bar
from app.commands.signals import leaving
from app.studies import ray_capture
from app.studies.ray_capture import Shards
from app.studies.ray_cluster import cluster, placement, quiet_libraries
from app.studies.ray_worker import Work


def capture_with_ray(asked: Asked, workers: int | None) -> None:
    out = asked.out.absolute()
    texts = texts_of(asked.prompts, asked.part, asked.kept)
    started = time.perf_counter()
    with ray_capture.shards_of(out, resume=asked.resume) as shards:
        resumed = len(shards.finished)
        shards.require_of(texts.described())
        with leaving(lambda: what_is_done(shards)), hinting(lambda: what_is_done(shards)):
            read(asked, texts, shards, workers)
            lost = shards.lost_workers()
            ray_capture.merge_shards(shards, out, total=len(texts))
        captured = shards.finished[resumed:]
        seconds = time.perf_counter() - started
    names = ("documents", "tokens", "truncated_documents", "truncated_tokens")
    figures: dict[str, object] = {
        name: sum(getattr(shard, name) for shard in captured) for name in names
    }
    figures |= {
        "resumed_documents": sum(shard.documents for shard in shards.finished[:resumed]),
        "lost_workers": lost,
        "seconds": round(seconds, 2),
        "tokens_per_second": round(sum(shard.tokens for shard in captured) / seconds),
    }
    finish(figures, texts, asked)


def read(asked: Asked, texts: Texts, shards: Shards, workers: int | None) -> None:
    """What is not in the shards yet, under a progress bar."""
    total, before = len(texts), shards.tokens
    work = work_of(asked, texts, shards)
    with quiet_libraries(), documents_bar() as count, cluster() as ray:
        count(0, shards.documents, total)
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        ray_capture.capture_shards(
            ray,
            work,
            texts,
            shards,
            placement(machines, workers=workers, device=asked.loading.device),
            total=total,
            on_progress=lambda now: count(now.tokens - before, now.documents, total),
        )


def work_of(asked: Asked, texts: Texts, shards: Shards) -> Work:
    return Work(
        folder=shards.folder,
        name=asked.out.stem,
        model=asked.model.absolute() if asked.model.exists() else asked.model,
        loading=asked.loading,
        sampling=asked.sampling,
        kept=asked.kept,
        allow_nonfinite=asked.allow_nonfinite,
        prompts=texts.described(),
        grouping=texts.summary.grouping,
        documents=texts.summary.documents,
        sampled=texts.num_sampled,
        before=Path(shards.finished[0].path) if shards.finished else None,
    )


def what_is_done(shards: Shards) -> str:
    if shards.some():
        return f"{shards.folder} holds what is done: add --resume to continue"
    return NOTHING
