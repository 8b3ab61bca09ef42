"""What the chooser says of each model."""

from dataclasses import dataclass
from html import escape

from app import model_folders
from app.jobs import models
from app.jobs.looks import all_looks
from app.jobs.memory import free_memory, job_memory
from app.jobs.queue import all_jobs
from app.model_folders import ModelFolder
from app.studies.model_facts import Facts, Loaded, count, size

COLUMNS = (
    *("Family", "MoE layers", "Experts", "Chosen", "Scoring", "Parameters", "Context", "Memory"),
)
UNKNOWN = "once loaded"  # what only a forward of the model tells
LOOKING = "being looked at, a moment …"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a folder: facts, why it cannot be chosen, or neither yet."""

    model: ModelFolder
    facts: Facts | None = None
    reason: str | None = None
    is_loaded: bool = False
    there: int = 0  # bytes that it may take


def known_models() -> list[Known]:
    return [known(model) for model in model_folders.models()]


def known(model: ModelFolder) -> Known:
    kept = all_jobs().kept.get(str(model.path.resolve()))
    if isinstance(kept, Loaded) and models.is_current(kept, model.path):
        return Known(model, kept.facts, is_loaded=True, there=memory_there(kept.facts))
    answer = all_looks().at(model.path)
    if isinstance(answer, str):
        return Known(model, reason=in_short(answer, model))
    if answer is None:
        return Known(model)
    there = memory_there(answer)
    if answer.needed_bytes > there:
        return Known(model, answer, f"too large: {size(answer.needed_bytes)}", there=there)
    return Known(model, answer, there=there)


def in_short(reason: str, model: ModelFolder) -> str:
    """Without the path: the name of the model stands beside it."""
    if model.path.is_symlink() and not model.path.exists():
        return "a link to nothing"
    return reason.replace(f"{model.path}/", "").replace(str(model.path), model.name)


def memory_there(facts: Facts) -> int:
    """What loaded models take is there, too: they make room."""
    if facts.machine.memory is not None:
        return facts.machine.memory
    kept = [one.facts.needed_bytes for one in all_jobs().kept.values()]
    free = free_memory()
    return job_memory() if free is None else min(job_memory(), free + sum(kept))


def described(one: Known) -> str:
    """As HTML."""
    if one.facts is None:
        return f'<p class="rs-note">{LOOKING}</p>'
    *known, memory = cells(one, one.facts)
    items = [
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in zip(COLUMNS, [*known, f"{memory}, {size(one.there)} free"], strict=True)
    ]
    return f'<dl class="rs-model">{"".join(items)}</dl>'


def table(known: list[Known]) -> str:
    """As HTML: each model a row, those that cannot be chosen pale and with the reason."""
    there = max((one.there for one in known), default=0)
    names = ("Model", *COLUMNS[:-1], f"{COLUMNS[-1]}, of {size(there)}" if there else COLUMNS[-1])
    heads = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = f"<tr>{heads}</tr>{''.join(map(row, known))}"
    return f'<div class="rs-scroll"><table class="rs-models">{rows}</table></div>'


def row(one: Known) -> str:
    if one.facts is None:
        shown = f'<td colspan="{len(COLUMNS)}">{escape(one.reason or LOOKING)}</td>'
    else:
        *known, memory = cells(one, one.facts)
        shown = "".join(f"<td>{escape(value)}</td>" for value in [*known, one.reason or memory])
    state = "" if one.reason is None else ' class="rs-out"'
    return f"<tr{state}><td>{escape(one.model.name)}</td>{shown}</tr>"


def cells(one: Known, facts: Facts) -> list[str]:
    """In the order of COLUMNS."""
    shared = f" + {facts.num_shared_experts} shared" if facts.num_shared_experts else ""
    varies = UNKNOWN if facts.transformers and not one.is_loaded else "varies"
    needed = size(facts.needed_bytes)
    return [
        facts.family,
        f"{facts.layers}",
        f"{facts.num_experts}{shared}" if facts.num_experts else UNKNOWN,
        f"{facts.top_k}" if facts.top_k else varies,
        facts.scoring or UNKNOWN,
        count(facts.parameters),
        f"{facts.context:,} tokens",
        f"{needed}, loaded" if one.is_loaded else needed,
    ]
