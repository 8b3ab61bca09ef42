"""Small dumps of research tools and of the llama.cpp family, and what an importer reads in them."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.counts import CountsBatch
from data.importers.source import DumpFile, Importer, Meter, Options, Source, dump_files
from data.routing import Document, Finding, RoutingBatch, concatenated

# A token in two layers: experts and weights of each.
TOKEN_A = (([3, 1], [0.5, 0.25]), ([0, 2], [0.75, 0.125]))
TOKEN_B = (([2, 0], [0.5, 0.5]), ([1, 3], [0.25, 0.25]))


@dataclass(frozen=True)
class Reading:
    source: Source
    batches: list[RoutingBatch | CountsBatch]
    meter: Meter

    @property
    def routing(self) -> RoutingBatch:
        batches = [batch for batch in self.batches if isinstance(batch, RoutingBatch)]
        assert len(batches) == len(self.batches)
        return concatenated(batches)

    @property
    def counts(self) -> CountsBatch:
        [batch] = self.batches
        assert isinstance(batch, CountsBatch)
        return batch

    @property
    def documents(self) -> list[Document]:
        return [document for batch in self.batches for document in batch.documents]

    @property
    def findings(self) -> dict[str, int]:
        """How often each kind occurs."""
        found: dict[str, int] = {}
        for finding in self._findings():
            found[finding.kind] = found.get(finding.kind, 0) + finding.occurrences
        return found

    def _findings(self) -> list[Finding]:
        return [*self.source.findings, *(one for batch in self.batches for one in batch.findings)]


def read(importer: Importer, path: Path, options: Options | None = None) -> Reading:
    """All files of `path`, which the importer must recognize."""
    files = dump_files([path])
    assert all(importer.recognizes(file, file.head()) for file in files)
    return read_files(importer, files, options)


def read_files(
    importer: Importer, files: Sequence[DumpFile], options: Options | None = None
) -> Reading:
    source = importer.source(files, options or Options(num_experts=4))
    meter = Meter()
    return Reading(source, list(source.batches(meter)), meter)


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def esft_line(ids: Sequence[int], weights: Sequence[float]) -> str:
    return "\t".join(map(str, ids)) + "\t\t" + "\t".join(map(str, weights)) + "\n"


def mbolt_file(
    records: Sequence[tuple[int, Sequence[Sequence[int]]]], *, experts: int = 4
) -> bytes:
    """Records: layer, and the ids of its tokens."""
    parts = [struct.pack("<4sii", b"MBLT", 1, experts)]
    for layer, ids in records:
        ids_TK = np.array(ids, "<i4")
        parts += [struct.pack("<iii", layer, ids_TK.shape[1], len(ids_TK)), ids_TK.tobytes()]
    return b"".join(parts)


def answer(tokens: dict[int, tuple[tuple[list[int], list[float]], ...]], **more: object) -> str:
    """Of gpt-oss: what each position chose in each layer."""
    router_data = [
        {
            f"token_{position}": {
                f"layer_{layer}": {"selected_experts": ids, "selected_probs": weights}
                for layer, (ids, weights) in enumerate(layers)
            }
        }
        for position, layers in tokens.items()
    ]
    return json.dumps({**more, "router_data": router_data})


def policylang_file(rows: Sequence[dict[str, object]], **header: object) -> str:
    first = {
        "model_name": "tiny",
        "num_layers": 2,
        "num_experts": 4,
        "top_k": 2,
        "num_entries": len(rows),
        "records_full_softmax": False,
    }
    return "".join(json.dumps(line) + "\n" for line in ({**first, **header}, *rows))


def mutations(content: bytes, *, seed: int, number: int) -> list[bytes]:
    """Cut off, with bits flipped, with a byte exchanged, or a piece left out or repeated."""
    random = np.random.default_rng(seed)
    mutated = []
    for kind in random.integers(0, 5, number).tolist():
        data = bytearray(content)
        place, length = random.integers(0, len(data)), random.integers(1, 20)
        if kind == 0:
            del data[place:]
        elif kind == 1:
            data[place] ^= 1 << random.integers(0, 8)
        elif kind == 2:
            data[place] = b'0123456789-.,:"[]{}e\n\t '[random.integers(0, 23)]
        elif kind == 3:
            del data[place : place + length]
        else:
            data[place:place] = data[place : place + length]
        mutated.append(bytes(data))
    return mutated


def survives(importer: Importer, path: Path, *, seed: int = 0, number: int = 300) -> int:
    """How many of so many mutated files are read. The others are refused in one line that names the
    file; anything else is raised."""
    content = path.read_bytes()
    refusals: list[str] = []
    for mutated in mutations(content, seed=seed, number=number):
        path.write_bytes(mutated)
        file = DumpFile(path, path.name)
        importer.recognizes(file, file.head())
        try:
            read_files(importer, [file], Options(num_experts=4))
        except ValueError as error:
            refusals.append(str(error))
    assert [said for said in refusals if path.name not in said or "\n" in said] == []
    return number - len(refusals)
