"""Task files by their suffix."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data.inputs import require_file
from data.prompts import read_documents
from data.tasks.bigbench import read_bigbench
from data.tasks.jsonl import read_jsonl
from data.tasks.task import Task

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet")


def read_tasks(paths: Sequence[Path]) -> list[Task]:
    """All of them, before a model is loaded: a bad line is found first."""
    tasks = [read_task(path) for path in paths]
    [(name, times)] = Counter(task.name for task in tasks).most_common(1) or [("", 0)]
    if times > 1:
        raise ValueError(f"{times} task files are called {name!r}; give each a name of its own")
    return tasks


def read_task(path: Path) -> Task:
    require_file(path)
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise ValueError(f"{path.name} is not one of {', '.join(SUFFIXES)}")
    name = task_name(path, suffix)
    if suffix == ".json":
        return read_bigbench(path, name)
    if suffix == ".parquet":
        documents = tuple(read_documents(path))
        if not documents:
            raise ValueError(f"{path.name} holds no texts")
        return Task(name=name, documents=documents)
    return read_jsonl(path, name)


def task_name(path: Path, suffix: str) -> str:
    """The file's; of a task.json the folders' below benchmark_tasks, or its own folder's."""
    if suffix != ".json" or path.name != "task.json":
        return path.name[: -len(suffix)]
    folders = path.resolve().parent.parts
    if "benchmark_tasks" in folders:
        return "/".join(folders[folders.index("benchmark_tasks") + 1 :])
    return folders[-1]
