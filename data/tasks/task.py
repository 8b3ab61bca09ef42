"""What a model is evaluated on: texts, multiple-choice questions, or programs to complete."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from data.labels import checked_label, name_of
from data.lines import encodable
from data.routing import Document

Record = dict[str, object]  # a JSON object of a task file


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Multiple choice: each choice is read after the prompt."""

    prompt: str
    choices: tuple[str, ...]
    answers: tuple[int, ...]  # any of these choices is right
    domain: str | None = None
    where: str = dataclasses.field(default="", compare=False)  # file and line, for errors

    @property
    def chance(self) -> float:
        return len(self.answers) / len(self.choices)

    def continuations(self) -> list[str]:
        """A blank between prompt and choice, unless one of them brings it."""
        glue = "" if self.prompt[-1:].isspace() else " "
        return [choice if choice[0].isspace() else glue + choice for choice in self.choices]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The beginning of a program, and what must run without an error beside the whole."""

    prompt: str
    tests: str
    domain: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Items of one kind; the other two are empty."""

    name: str
    documents: tuple[Document, ...] = ()
    questions: tuple[Question, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.documents) + len(self.questions) + len(self.problems)

    @property
    def unit(self) -> str:
        return "texts" if self.documents else "questions" if self.questions else "problems"

    def domains(self) -> list[str]:
        items: Sequence[Document | Question | Problem] = (
            self.documents or self.questions or self.problems
        )
        return [name_of(item.domain) for item in items]

    def sample(self, limit: int, *, seed: int) -> "Task":
        """At most `limit` drawn questions or problems, or texts of each domain, in their order."""
        domains = np.array(self.domains())
        groups = [domains == name for name in np.unique(domains)]
        rng = np.random.default_rng(seed)
        kept: list[int] = []
        for of_group in groups if self.documents else [np.ones(len(self), bool)]:
            members = np.flatnonzero(of_group)
            kept += rng.choice(members, min(limit, len(members)), replace=False).tolist()
        kept.sort()
        return replace(
            self,
            documents=tuple(self.documents[i] for i in kept) if self.documents else (),
            questions=tuple(self.questions[i] for i in kept) if self.questions else (),
            problems=tuple(self.problems[i] for i in kept) if self.problems else (),
        )


def field(record: Record, name: str, where: str) -> object:
    if name not in record:
        raise ValueError(f"{where}: field {name!r} is missing")
    return record[name]


def text_field(record: Record, name: str, where: str) -> str:
    value = field(record, name, where)
    if not isinstance(value, str):
        raise ValueError(f"{where}: field {name!r} is {type(value).__name__}, not a string")
    if not encodable(value):
        raise ValueError(f"{where}: field {name!r} holds a lone surrogate, which is not text")
    return value


def filled_field(record: Record, name: str, where: str) -> str:
    value = text_field(record, name, where)
    if not value.strip():
        raise ValueError(f"{where}: field {name!r} is empty")
    return value


def domain_of(record: Record, where: str) -> str | None:
    return checked_label("domain", record.get("domain"), where)


def checked_choices(choices: object, where: str, *, name: str) -> tuple[str, ...]:
    """At least two different strings that are not blank."""
    if not isinstance(choices, list) or len(choices) < 2:
        raise ValueError(f"{where}: field {name!r} must hold at least two choices")
    for number, choice in enumerate(choices):
        if not isinstance(choice, str) or not choice.strip() or not encodable(choice):
            raise ValueError(f"{where}: choice {number} of field {name!r} is not a text")
    if len(set(choices)) < len(choices):
        raise ValueError(f"{where}: field {name!r} holds the same choice twice")
    return tuple(choices)
