"""Responses of inference servers with routed experts, as a client or proxy saved them: JSON Lines,
a JSON list, or one object; bare or wrapped.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import IO, Any

import ijson  # type: ignore[import-untyped]

from data.importers.checks.findings import finding
from data.importers.served.answer_rows import HOW, has_routing, layout_of, needs_top_k, rows_of
from data.importers.served.answers import Answer, answers
from data.importers.served.payloads import Layout
from data.importers.source import BATCH_CHOICES, DumpFile, Meter, Options, Source, undescribed
from data.routing import UNKNOWN, Document, Finding, RoutingBatch, concatenated
from data.strict_json import each_name_once, what_is_wrong

NAME = "responses"
TITLE = "Responses with routed experts: SGLang, vLLM, NeMo Gym, prime-rl (JSON, JSON Lines)"

LONGEST = 2**28  # characters of a response
LOOKED_AT = 8  # answers by which the layout is known
MOST_LOOKED_AT = 64  # of which some have routing
MARKS = (b'"routed_experts"', b'"prompt_routed_experts"', b'"sglext"', b'"sgl_ext"', b"nrlre1:")
ELSE = (b'"choices"', b'"meta_info"')  # of responses whose routing stands further on
WRITTEN = re.compile(rb"\s*[\[{]")

Found = tuple[Answer, str, str]  # with its place in words, and its origin


def recognizes(file: DumpFile, head: bytes) -> bool:
    if not WRITTEN.match(head.removeprefix(b"\xef\xbb\xbf")):
        return False
    return any(mark in head for mark in MARKS + ELSE)


def source(files: Sequence[DumpFile], options: Options) -> Source:
    num_experts = options.require(
        "num_experts", files[0], "does not say how many experts a layer has"
    )
    layouts = [(file, *_opened(file, options, num_experts)) for file in files]
    first, layout, answer = layouts[0]
    for file, other, _ in layouts[1:]:
        if (other.num_layers, other.top_k) != (layout.num_layers, layout.top_k):
            raise ValueError(
                f"{first.name} has {layout.num_layers} layers and {layout.top_k} experts a token, "
                f"{file.name} {other.num_layers} and {other.top_k}; import models one by one"
            )

    if layout.top_k > num_experts:
        raise ValueError(
            f"{first.name} has {layout.top_k} experts a token, --num-experts is {num_experts}; "
            "give the number of routed experts of a layer"
        )

    def batches(meter: Meter) -> Iterator[RoutingBatch]:
        found = ((one, each) for file, each, _ in layouts for one in _answers(file, meter))
        yield from _batches(found, num_experts)

    return Source(
        format=NAME,
        engine=answer.engine,
        model_name=answer.model or UNKNOWN,
        layers=undescribed(layout.num_layers, num_experts=num_experts, top_k=layout.top_k),
        batches=batches,
    )


def _opened(file: DumpFile, options: Options, num_experts: int) -> tuple[Layout, Answer]:
    """The layout of a file's payloads, and an answer of it."""
    known: list[tuple[Answer, str]] = []
    for answer, where, _ in islice(_answers(file, Meter()), MOST_LOOKED_AT):
        known.append((answer, where))
        if sum(has_routing(one) for one, _ in known) == LOOKED_AT:
            break
    routed = [answer for answer, _ in known if has_routing(answer)]
    if not routed:
        raise ValueError(f"{file.name}: no routed experts in its first {len(known)} answers; {HOW}")
    top_k = options.top_k
    if needs_top_k(routed[0]):
        top_k = options.require("top_k", file, "does not say how many experts a token chooses")
    layout = layout_of(known, num_experts=num_experts, top_k=top_k)
    assert layout is not None  # some have routing
    return layout, routed[0]


def _batches(found: Iterator[tuple[Found, Layout]], num_experts: int) -> Iterator[RoutingBatch]:
    held: list[RoutingBatch] = []
    findings: list[Finding] = []
    choices = doc_id = 0
    model, places = "", dict[str, str]()
    for (answer, where, origin), layout in found:
        place = where.partition(" choice ")[0]  # of the response, which may have several
        if answer.name and places.setdefault(answer.name, place) != place:
            findings.append(finding("repeated-requests", 1, origin))
        model = model or answer.model
        if answer.model not in ("", model):
            raise ValueError(
                f"{where} is an answer of the model {answer.model!r:.80}, those before are of "
                f"{model!r:.80}; import models one by one"
            )
        if not has_routing(answer):
            findings.append(finding("unrecorded-tokens", answer.tokens or 1, where))
            continue
        if choices >= BATCH_CHOICES:
            yield _with(concatenated(held), findings)
            held, choices, findings = [], 0, []
        document = Document(doc_id=doc_id, text=answer.text, origin=origin)
        doc_id += 1
        batch = rows_of(answer, layout, document, num_experts=num_experts, where=where)
        findings += batch.findings
        held.append(batch)
        choices += batch.expert_ids_TLK.size
    if held:
        yield _with(concatenated(held), findings)


def _with(batch: RoutingBatch, findings: list[Finding]) -> RoutingBatch:
    """With one finding of each kind."""
    counts: dict[str, Finding] = {}
    for one in findings:
        before = counts.get(one.kind)
        counts[one.kind] = (
            one
            if before is None
            else replace(before, occurrences=before.occurrences + one.occurrences)
        )
    return replace(batch, findings=tuple(counts.values()))


def _answers(file: DumpFile, meter: Meter) -> Iterator[Found]:
    for value, place in _values(file, meter):
        where = f"{file.name}:{place}"
        for answer in answers(value, where):
            name = f" id={answer.name}" if answer.name else ""
            yield answer, where, f"{where}{name}"


def _values(file: DumpFile, meter: Meter) -> Iterator[tuple[Any, int]]:
    """(value, line or number of the record)"""
    with file.path.open("rb") as stream:
        start = stream.read(4_096).removeprefix(b"\xef\xbb\xbf").lstrip()
        stream.seek(0)
        if start.startswith(b"["):
            yield from _elements(stream, file, meter)
        else:
            yield from _lines(stream, file, meter)


def _lines(stream: IO[bytes], file: DumpFile, meter: Meter) -> Iterator[tuple[Any, int]]:
    number = 0
    while line := stream.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise ValueError(
                f"{file.name}:{number}: a line of more than {LONGEST:,} bytes; a response has fewer"
            )
        if not line.strip():
            meter.advance(len(line))
            continue
        try:
            value = parsed(line)
        except ValueError as error:
            if number > 1 or stream.peek(1) == b"" or file.size > LONGEST:  # type: ignore[attr-defined]
                raise ValueError(f"{file.name}:{number}: {_not_json(error)}") from error
            yield _whole(line + stream.read(), file), 1
            meter.advance(file.size)
            return
        meter.advance(len(line))
        yield value, number


def _whole(data: bytes, file: DumpFile) -> Any:
    try:
        return parsed(data)
    except ValueError as error:
        line = getattr(error.__cause__, "lineno", 1)
        raise ValueError(f"{file.name}:{line}: {_not_json(error)}") from error


def _not_json(error: ValueError) -> str:
    return f"no JSON: {error}; a response, or one on each line, is expected"


def parsed(data: bytes) -> Any:
    """ValueError, in one line: it is not JSON."""
    try:
        return json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=each_name_once, parse_constant=_refuse
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(what_is_wrong(error)) from error


def _refuse(name: str) -> Any:
    raise ValueError(f"it has {name}, which is not JSON")


def _elements(stream: IO[bytes], file: DumpFile, meter: Meter) -> Iterator[tuple[Any, int]]:
    number = 0
    try:
        for value in ijson.items(_Metered(stream, meter), "item", use_float=True):
            number += 1
            yield value, number
    except (ijson.JSONError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"{file.name}:{number + 1}: no JSON list of responses: "
            f"{' '.join(str(error).split())[:160]}"
        ) from error


class _Metered:
    """A file that counts what is read of it."""

    def __init__(self, stream: IO[bytes], meter: Meter) -> None:
        self._stream, self._meter = stream, meter

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._meter.advance(len(data))
        return data
