"""The rows of an answer: its routing beside its tokens, and what does not fit.

T = tokens, L = layers of the payload, K = experts per token.
"""

from collections.abc import Sequence

import numpy as np

from data.importers.checks.findings import finding
from data.importers.served.answers import Answer
from data.importers.served.payloads import (
    Layout,
    decoded,
    describes_itself,
    logical,
    raw_bytes,
    raw_layers,
    raw_type,
)
from data.routing import DECODE, NO_TOKEN, PREFILL, Document, Finding, RoutingBatch

REPORTED = ("unrecorded-tokens", "no-pass-for-last-token", "rows-against-tokens")  # by each answer
HOW = (
    "start SGLang with --enable-return-routed-experts and ask with return_routed_experts, start "
    "vLLM with --enable-return-routed-experts"
)


def layout_of(
    known: Sequence[tuple[Answer, str]], *, num_experts: int, top_k: int | None
) -> Layout | None:
    """Layers and experts a token, by the first answers (each with its place); None where none of
    them has routing. ValueError: they cannot be told.

    `top_k` is needed for bytes that do not describe themselves.
    """
    routed = [(answer, where) for answer, where in known if has_routing(answer)]
    if not routed:
        return None
    answer, where = routed[0]
    if not needs_top_k(answer):
        payload = answer.routed_prompt if answer.routed is None else answer.routed
        _, layers, top_k = decoded(payload, where=where).shape
        if not layers:
            raise ValueError(f"{where}: routed experts without a row; leave that answer out")
        return Layout(num_layers=layers, top_k=top_k)
    assert top_k is not None  # asked for by the caller
    raw = [
        (one, raw_bytes(one.routed, at), at) for one, at in routed if isinstance(one.routed, str)
    ]
    dtype = raw_type((data for _, data, _ in raw), num_experts)
    size = np.dtype(dtype).itemsize
    sizes = [
        (len(data) // size, one.tokens - one.start)
        for one, data, _ in raw
        if one.tokens is not None
    ]
    layers = raw_layers(sizes, top_k)
    if layers is None:
        raise ValueError(
            f"{where}: routed experts are {len(raw[0][1]):,} bytes, of {answer.tokens or 'unknown'}"
            f" tokens at {top_k} experts each, which gives no number of layers; the response must "
            "count its tokens (usage or meta_info), and --top-k must be that of the model"
        )
    return Layout(num_layers=layers, top_k=top_k, raw_type=dtype)


def has_routing(answer: Answer) -> bool:
    return answer.routed is not None or answer.routed_prompt is not None


def needs_top_k(answer: Answer) -> bool:
    return answer.routed is not None and not describes_itself(answer.routed)


def rows_of(
    answer: Answer, layout: Layout, document: Document, *, num_experts: int, where: str
) -> RoutingBatch:
    """One document. Row r is of token `start` + r; ids stand as in the payload."""
    ids_TLK, start, whole = _routing(answer, layout, where)
    ids_TLK = logical(ids_TLK, num_experts)
    start, findings = _against_tokens(answer, len(ids_TLK), start, where, whole=whole)
    rows, prompt = len(ids_TLK), answer.prompt.count
    position_T = np.arange(start, start + rows)
    return RoutingBatch.of(
        doc_id_T=np.full(rows, document.doc_id),
        position_T=position_T,
        expert_ids_TLK=ids_TLK,
        token_id_T=_known(answer, "ids_T", start, np.full(rows, NO_TOKEN, np.uint32)),
        loss_T=_known(answer, "loss_T", start, np.full(rows, np.nan, np.float32)),
        token_text_T=_known(answer, "texts_T", start, np.full(rows, None, object)).tolist(),
        phase_T=None if prompt is None else np.where(position_T < prompt, PREFILL, DECODE),
        documents=(document,),
        findings=findings,
    )


def _routing(answer: Answer, layout: Layout, where: str) -> tuple[np.ndarray, int, bool]:
    """(ids_TLK, tokens before the first row, whether each token may have a row)"""
    whole = isinstance(answer.routed, dict) or (
        isinstance(answer.routed, str) and answer.routed.startswith("nrlre1:")
    )
    of_prompt = answer.routed_prompt
    if of_prompt is None:
        ids_TLK = decoded(answer.routed, where=where, layout=layout)
        alone = isinstance(answer.routed, list) and len(ids_TLK) in _of_answer_alone(answer)
        return ids_TLK, (answer.prompt.count or 0) if alone else answer.start, whole or alone
    parts = [decoded(of_prompt, where=where, layout=layout)]
    if answer.routed is not None:
        parts.append(decoded(answer.routed, where=where, layout=layout))
    return np.concatenate(parts), answer.start, True


def _of_answer_alone(answer: Answer) -> tuple[int, ...]:
    """Numbers of rows of a list that is of the answer's tokens, the prompt's being left out."""
    count, tokens = answer.answer.count, answer.tokens
    if count is None or tokens is None:
        return ()
    return tuple({count, count - 1} - {tokens, tokens - 1})


def _against_tokens(
    answer: Answer, rows: int, start: int, where: str, *, whole: bool
) -> tuple[int, tuple[Finding, ...]]:
    """The start, with the tokens that a cache held where rows say so; what was found."""
    tokens, prompt = answer.tokens, answer.prompt.count
    if prompt is not None and start > prompt:
        raise ValueError(
            f"{where}: routed experts start at token {start:,}, which is expected to be within the "
            f"prompt of {prompt:,}"
        )
    if tokens is None:
        return start, ()
    if not start and 0 < answer.cached == tokens - 1 - rows:
        start = answer.cached
    findings = []
    if start:
        findings.append(finding("unrecorded-tokens", start, where))
    if rows == tokens - 1 - start:
        findings.append(finding("no-pass-for-last-token", 1, where))
    elif not (whole and rows == tokens - start):
        example = f"{where}: {rows} rows from token {start}, {tokens} tokens"
        findings.append(finding("rows-against-tokens", 1, example))
    return start, tuple(findings)


def _known(answer: Answer, name: str, start: int, values_T: np.ndarray) -> np.ndarray:
    """Fills in what prompt and answer say of the tokens from `start`."""
    begin = -start  # of the part, in rows
    for part in (answer.prompt, answer.answer):
        if part.count is None:
            break
        given = getattr(part, name)
        first, last = max(begin, 0), min(begin + part.count, len(values_T))
        if given is not None and first < last:
            values_T[first:last] = given[first - begin : last - begin]
        begin += part.count
    return values_T
