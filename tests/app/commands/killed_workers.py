"""Workers of Ray that are killed, each once, as by a machine that is lost."""

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from app.studies.ray_worker import Shard, Worker
from data.routing import Document


class KilledWorker(Worker):
    """Killed at the third document of the first task, and when the shard of another is finished
    but nobody knows."""

    def __call__(self, texts: pa.Table) -> pa.Table:
        self._first = texts["doc_id"][0].as_py()
        return super().__call__(texts)

    def shard(self, documents: list[Document]) -> Shard:
        done = super().shard(documents)
        if self._first > 0:
            self._die_once("after")
        return done

    def _capture(self, documents: Iterable[Document], path: Path) -> None:
        super()._capture(self._read(documents), path)

    def _read(self, documents: Iterable[Document]) -> Iterator[Document]:
        for place, document in enumerate(documents):
            if place == 2 and self._first == 0:
                self._die_once("middle")
            yield document

    def _die_once(self, name: str) -> None:
        try:
            (self._work.folder.parent / f"killed_{name}").touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)
