"""Our models for lm-evaluation-harness, so that any of its tasks runs. Imported only where asked.

from app.studies.lm_eval_model import RouteScopeLM
lm_eval.simple_evaluate(model=RouteScopeLM("data/checkpoint"), tasks=["arc_easy"])
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.tasks import TaskManager
from lm_eval.utils import get_rolling_token_windows

from analysis import chance
from app.studies.reader import CHECKPOINT, Tracer, load_reader
from app.studies.scoring import COLUMNS, Advance, with_task

CHOICE_METRICS = ("acc", "acc_norm", "acc_bytes")


@register_model("routescope")
class RouteScopeLM(LM):
    """The model of a folder, or one that is loaded.

    Batches hold so many tokens, on the GPU if there is one: the harness's own settings of batch
    and device change nothing.
    """

    def __init__(
        self,
        folder: str | Path = CHECKPOINT,
        *,
        reader: Tracer | None = None,
        on_progress: Advance = lambda done, total: None,
        **_: object,
    ) -> None:
        super().__init__()
        self.reader = reader or load_reader(Path(folder))
        self.on_progress = on_progress

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        from model.likelihood import continuation, log_likelihoods

        model = self.reader.model
        sequences = [continuation(model, *request.args) for request in requests]
        likelihoods = log_likelihoods(model, sequences, on_progress=self.on_progress)
        return [(likelihood.nats, likelihood.greedy) for likelihood in likelihoods]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """As the harness asks: the last window of a text is as long as the others."""
        from model.encoded import encode_text
        from model.likelihood import Sequenced, log_likelihoods

        model = self.reader.model
        sequences, owner = [], []
        for number, request in enumerate(requests):
            for inputs, predicted in get_rolling_token_windows(
                encode_text(model, request.args[0]),
                model.start_token_id,
                model.context_length,
                context_len=1,
            ):
                sequences.append(Sequenced([*inputs, predicted[-1]], len(predicted)))
                owner.append(number)
        likelihoods = log_likelihoods(model, sequences, on_progress=self.on_progress)
        nats = [likelihood.nats for likelihood in likelihoods]
        return np.bincount(owner, nats, minlength=len(requests)).tolist()

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """At most half the context is written, whatever the task asks for."""
        from model.completion import complete

        model = self.reader.model
        texts = []
        for number, request in enumerate(requests):
            context, asked = request.args
            settings = normalize_gen_kwargs(asked)
            completion = complete(
                model,
                context,
                stops=[stop for stop in settings["until"] if stop],
                max_new_tokens=min(settings["max_gen_toks"], model.context_length // 2),
                temperature=settings.get("temperature", 0.0),
                seed=number,
            )
            texts.append(completion.text)
            self.on_progress(number + 1, len(requests))
        return texts


def harness_rows(
    reader: Tracer,
    names: Sequence[str],
    *,
    include: Path | None,
    limit: int | None,
    run_code: bool,
    on_progress: Advance,
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """(rows, how much of each task was used)"""
    manager = TaskManager(include_path=str(include) if include else None)
    require_loadable(manager, names)
    results = simple_evaluate(
        model=RouteScopeLM(reader=reader, on_progress=on_progress),
        tasks=list(names),
        task_manager=manager,
        limit=limit,
        bootstrap_iters=1_000,
        confirm_run_unsafe_code=run_code,
    )
    tables = [with_task(task_rows(results, task), task) for task in results["results"]]
    facts = [
        {"task": task, "unit": "questions", "used": size["effective"], "total": size["original"]}
        for task, size in results["n-samples"].items()
    ]
    return pd.concat([table for table in tables if len(table)], ignore_index=True), facts


def require_loadable(manager: TaskManager, names: Sequence[str]) -> None:
    """A task is a file of somebody's and may raise anything, such as for want of a network."""
    for name in names:
        if name not in manager.all_tasks:
            raise ValueError(f"the harness has no task {name!r}; is --include-path missing?")
        try:
            manager.load([name])
        except Exception as error:
            line = (str(error).splitlines() or [""])[0]
            raise ValueError(
                f"harness task {name!r} cannot be loaded: {type(error).__name__}: {line}"
            ) from error


def task_rows(results: dict[str, Any], task: str) -> pd.DataFrame:
    """One row per metric of the harness; figures of samples get our interval, others its own
    error."""
    samples = results.get("samples", {}).get(task, [])
    tables = []
    for key, value in results["results"][task].items():
        metric, _, filter_name = key.partition(",")
        if not filter_name or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        label = metric if filter_name == "none" else f"{metric} ({filter_name})"
        used = [sample for sample in samples if sample["filter"] == filter_name]
        shares_N = np.array([sample[metric] for sample in used if is_share(sample.get(metric))])
        if len(used) and len(shares_N) == len(used) and np.isclose(shares_N.mean(), value):
            chance_N = np.array([choice_chance(sample, metric) for sample in used])
            all_N = [chance.ALL] * len(used)
            tables.append(chance.pass_rate(shares_N, all_N, metric=label, chance_N=chance_N))
        else:
            error = results["results"][task].get(f"{metric}_stderr,{filter_name}")
            known = float(error) if isinstance(error, int | float) else float("nan")
            size = results["results"][task].get("sample_len", 0)
            tables.append(chance.estimate_row(label, value, known, n=size))
    empty = pd.DataFrame(columns=COLUMNS[1:])  # a group without a figure of its own
    return pd.concat(tables, ignore_index=True) if tables else empty


def is_share(value: object) -> bool:
    return isinstance(value, int | float | np.number) and 0 <= float(value) <= 1


def choice_chance(sample: dict[str, Any], metric: str) -> float:
    """Right choices over choices; NaN where the metric is no choice among given texts."""
    if metric not in CHOICE_METRICS or not all(len(args) == 2 for args in sample["arguments"]):
        return float("nan")
    choices = len({text for _, text in sample["arguments"] if isinstance(text, str)})
    target = sample["target"]
    right = len(target) if isinstance(target, list) else 1
    return right / choices if choices > 1 else float("nan")
