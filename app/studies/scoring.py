"""A model on tasks: what is measured becomes rows that say where chance is.

torch is imported when something is measured, not before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import chance
from analysis.groups import units
from app.studies.programs.runner import DEFAULT_LIMITS, CodeLimits, run_program
from app.studies.reader import Tracer, require_temperature
from data.routing import Document
from data.tasks.task import Problem, Question, Task

COLUMNS = [
    "task",
    "domain",
    "metric",
    "estimate",
    "low",
    "high",
    "chance",
    "n",
    "n_groups",
    "verdict",
]
STOPS = ("\ndef", "\nclass", "\nif", "\nprint", "\n#", "\n@", "\n```")  # the function is over

Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSettings:
    """How programs are written and run."""

    samples: int = 1  # a problem
    temperature: float = 0.0  # 0: always the likeliest token
    max_new_tokens: int = 256
    seed: int = 0
    limits: CodeLimits = DEFAULT_LIMITS

    def __post_init__(self) -> None:
        require_temperature(self.temperature)
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"{self.samples} samples at temperature 0 are all the same; raise the temperature"
            )


@dataclass(frozen=True, slots=True)
class Evaluated:
    """`cut` counts questions or problems whose prompt lost tokens on its left."""

    table: pd.DataFrame
    cut: int = 0
    outcomes: dict[str, int] | None = None  # of programs


def evaluate_task(
    reader: Tracer, task: Task, code: CodeSettings, *, seed: int, on_progress: Advance
) -> Evaluated:
    if task.documents:
        return text_rows(reader, task.documents, task.domains(), on_progress=on_progress)
    if task.questions:
        return question_rows(reader, task.questions, task.domains(), on_progress)
    return problem_rows(reader, task.problems, task.domains(), code, on_progress)


def text_rows(
    reader: Tracer,
    documents: Sequence[Document],
    domains: Sequence[str],
    *,
    on_progress: Advance,
) -> Evaluated:
    texts = [document.text for document in documents]
    nats_N = text_nats(reader, texts, on_progress=on_progress)
    bytes_N = np.array([len(text.encode()) for text in texts])
    unit_N = units(domains, [document.group for document in documents])
    return Evaluated(chance.bits_per_byte(nats_N, bytes_N, domains, unit_N=unit_N))


def text_nats(reader: Tracer, texts: Sequence[str], *, on_progress: Advance) -> np.ndarray:
    """Nats of each text, all of it, in windows of the context."""
    from model.likelihood import log_likelihoods, text_windows

    model = reader.model
    windows = [text_windows(model, token_ids) for token_ids, _ in model.encode(list(texts))]
    owner = np.repeat(np.arange(len(texts)), [len(of_text) for of_text in windows])
    likelihoods = log_likelihoods(
        model, [item for of_text in windows for item in of_text], on_progress=on_progress
    )
    return -np.bincount(owner, [item.nats for item in likelihoods], minlength=len(texts))


def question_rows(
    reader: Tracer, questions: Sequence[Question], domains: Sequence[str], on_progress: Advance
) -> Evaluated:
    from model.likelihood import choice_log_likelihoods

    likelihoods = choice_log_likelihoods(
        reader.model,
        [(question.prompt, question.continuations()) for question in questions],
        places=[question.where for question in questions],
        on_progress=on_progress,
    )
    bytes_NC = [np.array([len(c.encode()) for c in question.choices]) for question in questions]
    answers_N = [question.answers for question in questions]
    table = chance.accuracy(likelihoods.nats_QC, bytes_NC, answers_N, domains)
    return Evaluated(table, cut=likelihoods.cut_prompts)


def problem_rows(
    reader: Tracer,
    problems: Sequence[Problem],
    domains: Sequence[str],
    code: CodeSettings,
    on_progress: Advance,
) -> Evaluated:
    """Every program runs in a process of its own, one after the other."""
    from model.completion import complete

    outcomes = {"passed": 0, "failed": 0, "timed out": 0}
    passed_N = np.zeros(len(problems))
    cut = 0
    for number, problem in enumerate(problems):
        for sample in range(code.samples):
            written = complete(
                reader.model,
                problem.prompt,
                stops=STOPS,
                max_new_tokens=code.max_new_tokens,
                temperature=code.temperature,
                seed=code.seed + number * code.samples + sample,
            )
            program = problem.prompt + written.text
            outcome = run_program(program, problem.tests, code.limits, prompt=problem.prompt)
            outcomes[outcome] += 1
            passed_N[number] += (outcome == "passed") / code.samples
            on_progress(number * code.samples + sample + 1, len(problems) * code.samples)
        cut += written.cut > 0
    return Evaluated(chance.pass_rate(passed_N, domains), cut=cut, outcomes=outcomes)


def with_task(table: pd.DataFrame, task: str) -> pd.DataFrame:
    return table.assign(task=task)[COLUMNS]


def records(table: pd.DataFrame) -> list[dict[str, object]]:
    """For JSON: a missing number is null."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]
