"""Our own task files: one JSON object a line, its fields decide the kind.

- texts: text
- multiple choice: prompt, choices, answer (the index from 0, or the choice itself)
- code: prompt, tests, and entry_point where the tests define `check(candidate)`

Each may have a domain. HumanEval.jsonl is read too. What cannot be read is a ValueError that names
line and field.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from data.lines import json_objects
from data.routing import Document
from data.tasks.human_eval import human_eval_problem
from data.tasks.task import (
    Problem,
    Question,
    Record,
    Task,
    checked_choices,
    domain_of,
    field,
    filled_field,
    text_field,
)

Item = Document | Question | Problem


def read_jsonl(path: Path, name: str) -> Task:
    """Every line has the kind of the first."""
    items: list[Item] = []
    read: Callable[[Record, str], Item] | None = None
    for number, record in json_objects(path):
        where = f"{path.name}:{number}"
        read = read or reader(record, where)
        items.append(read(record, where))
    if not items:
        raise ValueError(f"{path.name} holds no questions")
    texts = (item for item in items if isinstance(item, Document))
    return Task(
        name=name,
        documents=tuple(replace(text, doc_id=doc_id) for doc_id, text in enumerate(texts)),
        questions=tuple(item for item in items if isinstance(item, Question)),
        problems=tuple(item for item in items if isinstance(item, Problem)),
    )


def reader(record: Record, where: str) -> Callable[[Record, str], Item]:
    if "choices" in record or "answer" in record:
        return question
    if "test" in record:
        return human_eval_problem
    if "tests" in record or "entry_point" in record:
        return problem
    if "text" in record:
        return document
    shown = ", ".join(repr(name[:40]) for name in list(record)[:10]) or "none"
    raise ValueError(
        f"{where}: field 'choices', 'tests' or 'text' is missing, which says the kind of task; "
        f"found {shown}"
    )


def question(record: Record, where: str) -> Question:
    prompt = text_field(record, "prompt", where)
    choices = checked_choices(field(record, "choices", where), where, name="choices")
    answer = field(record, "answer", where)
    if isinstance(answer, str):
        if answer not in choices:
            raise ValueError(f"{where}: field 'answer' is {answer[:40]!r}, none of the choices")
        answer = choices.index(answer)
    if not isinstance(answer, int) or isinstance(answer, bool):
        raise ValueError(
            f"{where}: field 'answer' is {type(answer).__name__}, not an index or text"
        )
    if not 0 <= answer < len(choices):
        raise ValueError(
            f"{where}: field 'answer' is {answer}, not an index from 0 to {len(choices) - 1}"
        )
    return Question(
        prompt=prompt,
        choices=choices,
        answers=(answer,),
        domain=domain_of(record, where),
        where=where,
    )


def problem(record: Record, where: str) -> Problem:
    prompt = filled_field(record, "prompt", where)
    tests = filled_field(record, "tests", where)
    if record.get("entry_point") is not None:
        if "def check(" not in tests:
            raise ValueError(
                f"{where}: field 'entry_point' needs tests that define check(candidate)"
            )
        tests += f"\ncheck({filled_field(record, 'entry_point', where)})"
    return Problem(prompt=prompt, tests=tests, domain=domain_of(record, where))


def document(record: Record, where: str) -> Document:
    """Numbered once all are read."""
    text = filled_field(record, "text", where)
    return Document(doc_id=0, text=text, domain=domain_of(record, where))
