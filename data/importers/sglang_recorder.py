"""SGLang's expert-distribution recorder, all of its modes: stat, per_pass, per_token.

L = layers, P = physical experts.
"""

from collections.abc import Sequence

import numpy as np

from data.importers.checks.findings import finding
from data.importers.sglang_counts import ENGINE, is_identity, pass_batches, stat_source
from data.importers.sglang_dump import DRAFT_MODES, Detail, Record, Stat, read_dump
from data.importers.sglang_tokens import token_batches, used_choices
from data.importers.source import DumpFile, Options, Source, undescribed
from data.routing import Finding

NAME = "sglang-recorder"
TITLE = "SGLang expert-distribution recorder (.pt of modes stat, stat_approx, per_pass, per_token)"


def recognizes(file: DumpFile, head: bytes) -> bool:
    saved = head.startswith(b"PK\x03\x04") and b"data.pkl" in head
    old = head.startswith(b"\x80") and file.suffix in (".pt", ".pth")
    keys = b"logical_count" in head, b"forward_pass_id" in head, b"last_physical_to" in head
    return (saved or old) and any(keys)


def source(files: Sequence[DumpFile], options: Options) -> Source:
    dumps = [read_dump(file) for file in files]
    for dump in dumps:
        if dump.mode != dumps[0].mode:
            raise ValueError(
                f"{dumps[0].file.name} is of mode {dumps[0].mode}, {dump.file.name} of "
                f"{dump.mode}: import one mode at a time"
            )
    stats = [dump for dump in dumps if isinstance(dump, Stat)]
    if stats:
        return stat_source(NAME, stats, options)
    return _detail_source([dump for dump in dumps if isinstance(dump, Detail)], options)


def _detail_source(dumps: Sequence[Detail], options: Options) -> Source:
    _check_agreement(dumps)
    passes = _passes(dumps)
    map_LP, mode = dumps[0].map_LP, dumps[0].mode
    experts, physical = _experts(dumps[0], options), _physical(dumps)
    moved = map_LP is not None and not is_identity(map_LP)
    findings = _findings(dumps, passes, moved=moved)
    by_token = mode == "per_token"
    top_k = options.top_k or (used_choices(passes) if by_token else None)
    layers = _shape(dumps[0].records[0])[0]
    return Source(
        format=NAME,
        engine=ENGINE,
        layers=undescribed(layers, num_experts=experts, top_k=top_k),
        batches=lambda meter: (
            token_batches(dumps, passes, top_k or 1, meter)
            if by_token
            else pass_batches(dumps, passes, experts, meter)
        ),
        config={"recorder_mode": mode, "physical_experts": physical},
        counts_only=not by_token,
        physical_map_LP=map_LP if moved and by_token else None,
        findings=findings,
    )


def _check_agreement(dumps: Sequence[Detail]) -> None:
    """ValueError: the files, or records of one, are of different models or maps."""
    first = dumps[0].records[0]
    for record in (record for dump in dumps for record in dump.records):
        one, two = _shape(first), _shape(record)
        if one != two:
            raise ValueError(
                f"{first.where} is of {one[0]} layers and {one[1]} {_columns(first)}, "
                f"{record.where} of {two[0]} and {two[1]}: import one model at a time"
            )
    for dump in dumps:
        if not _same(dumps[0].map_LP, dump.map_LP):
            raise ValueError(
                f"{dumps[0].file.name} and {dump.file.name} have different maps of physical "
                "experts: experts were moved between them, so import each by itself"
            )
        if dump.map_LP is not None:
            _check_map(dump, dump.map_LP, _shape(first))


def _check_map(dump: Detail, map_LP: np.ndarray, shape: tuple[int, int]) -> None:
    fits = map_LP.shape == shape if dump.mode == "per_pass" else len(map_LP) == shape[0]
    if not fits:
        raise ValueError(
            f"{dump.file.name}: last_physical_to_logical_map is {list(map_LP.shape)}, records are "
            f"of {shape[0]} layers"
            + (f" and {shape[1]} physical experts" if dump.mode == "per_pass" else "")
        )


def _shape(record: Record) -> tuple[int, int]:
    """Layers, and physical experts (per_pass) or places for choices (per_token)."""
    if record.tokens is not None:
        return record.tokens.ids.shape[0], record.tokens.ids.shape[2]
    assert record.counts is not None
    return record.counts.shape[0], record.counts.shape[1]


def _columns(record: Record) -> str:
    return "physical experts" if record.tokens is None else "choices"


def _same(one: np.ndarray | None, two: np.ndarray | None) -> bool:
    if one is None or two is None:
        return one is two
    return np.array_equal(one, two)


def _physical(dumps: Sequence[Detail]) -> int | None:
    if dumps[0].map_LP is not None:
        return int(dumps[0].map_LP.shape[1])
    return None if dumps[0].mode == "per_token" else _shape(dumps[0].records[0])[1]


def _experts(dump: Detail, options: Options) -> int:
    """Logical ones, by the map or by the user."""
    if dump.map_LP is None:
        given = options.require("num_experts", dump.file, "has no map of physical experts")
        physical = _physical([dump])
        if physical not in (None, given):
            raise ValueError(
                f"{dump.file.name} counts {physical} physical experts and has no map of them, "
                f"--num-experts says {given}"
            )
        return given
    mapped = int(dump.map_LP.max()) + 1
    if options.num_experts is not None and options.num_experts < mapped:
        raise ValueError(
            f"{dump.file.name} maps to {mapped} experts, --num-experts says {options.num_experts}"
        )
    return options.num_experts or mapped


def _passes(dumps: Sequence[Detail]) -> list[list[Record]]:
    """Records of each pass, by rank. ValueError: a rank has two of one pass."""
    found: dict[tuple[int, int], Record] = {}
    for record in (record for dump in dumps for record in dump.records):
        key = record.pass_id, record.rank
        if key in found:
            raise ValueError(
                f"{found[key].where} and {record.where} are both of rank {record.rank}: these are "
                "two runs, or one file twice, so import each by itself"
            )
        found[key] = record
    passes: dict[int, list[Record]] = {}
    for (pass_id, _), record in sorted(found.items()):
        passes.setdefault(pass_id, []).append(record)
    return list(passes.values())


def _findings(
    dumps: Sequence[Detail], passes: Sequence[Sequence[Record]], *, moved: bool
) -> tuple[Finding, ...]:
    by_token = dumps[0].mode == "per_token"
    name = dumps[0].file.name
    found = [] if by_token else [finding("counts-only", len(dumps), name)]
    if moved:
        found.append(finding("last-map-only", len(dumps), name))
    found += _missing(passes)
    if by_token:
        found += _of_tokens(passes)
    return tuple(found)


def _missing(passes: Sequence[Sequence[Record]]) -> list[Finding]:
    """Gaps between the first pass and the last, and passes that not every rank has."""
    ranks = {record.rank for records in passes for record in records}
    ids = np.array([records[0].pass_id for records in passes])
    gaps = np.diff(ids) - 1
    partial = [records for records in passes if len(records) < len(ranks)]
    number = int(gaps.sum()) + len(partial)
    if not number:
        return []
    if partial:
        few = partial[0]
        example = f"{few[0].where}, of {len(few)} of {len(ranks)} ranks"
    else:
        at = int(np.flatnonzero(gaps)[0])
        example = f"{passes[at][0].where}, then pass {ids[at + 1]}"
    return [finding("missing-passes", number, example)]


def _of_tokens(passes: Sequence[Sequence[Record]]) -> list[Finding]:
    records = [record for records in passes for record in records]
    drafts, padded = [], []
    kept: list[tuple[Record, int]] = []
    for record in records:
        tokens = record.tokens
        assert tokens is not None
        rows = len(tokens.token_id_T)
        if tokens.mode in DRAFT_MODES and rows:
            drafts.append((record, rows))
            continue
        rest = 0 if tokens.lengths is None else rows - int(tokens.lengths.sum())
        if rest:
            padded.append((record, rest))
        if rows > rest and (not kept or kept[-1][0].pass_id != record.pass_id):
            kept.append((record, 1))  # once, whatever ranks recorded it
    found = {"draft-tokens": drafts, "padding-rows": padded, "passes-as-texts": kept}
    return [
        finding(kind, sum(number for _, number in those), those[0][0].where)
        for kind, those in found.items()
        if those
    ]
