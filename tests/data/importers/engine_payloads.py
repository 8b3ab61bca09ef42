"""Routing as engines return it, made from arrays. T = tokens, L = layers, K = experts per token."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from data.importers.source import DumpFile, Meter, Source
from data.routing import RoutingBatch


def routing(rows: int, *, layers: int = 2, top_k: int = 2, experts: int = 8) -> np.ndarray:
    """Row t of layer l: experts t + l, t + l + 1 and so on, modulo their number."""
    place_TLK = (
        np.arange(rows)[:, None, None]
        + np.arange(layers)[None, :, None]
        + np.arange(top_k)[None, None, :]
    )
    return (place_TLK % experts).astype(np.int32)


def raw(ids_TLK: np.ndarray, dtype: str = "<i4") -> str:
    return base64.b64encode(ids_TLK.astype(dtype).tobytes()).decode()


def npy(ids_TLK: np.ndarray, dtype: str = "<i2") -> str:
    return base64.b64encode(npy_bytes(ids_TLK, dtype)).decode()


def npy_bytes(ids_TLK: np.ndarray, dtype: str = "<i2") -> bytes:
    with io.BytesIO() as buffer:
        np.save(buffer, ids_TLK.astype(dtype))
        return buffer.getvalue()


def nemo(ids_TLK: np.ndarray, dtype: str = "int16") -> str:
    return f"nrlre1:{dtype}:{'x'.join(map(str, ids_TLK.shape))}:{raw(ids_TLK, dtype)}"


def verifiers(ids_TLK: np.ndarray, *, start: int = 0) -> dict[str, Any]:
    return {"data": raw(ids_TLK, "u1"), "shape": list(ids_TLK.shape), "start": start}


def vllm(prompt: list[int], answer: list[int], payload: object, **more: Any) -> dict[str, Any]:
    """A completion of today's vLLM, asked with return_token_ids."""
    choice = {
        "index": 0,
        "text": f"answer {answer}",
        "token_ids": answer,
        "prompt_token_ids": prompt,
        "routed_experts": payload,
    }
    return {"id": "cmpl-1", "model": "moe", "choices": [choice | more], "usage": None}


def sglang(prompt: list[int], answer: list[int], payload: object, **more: Any) -> dict[str, Any]:
    """A response of SGLang's /generate."""
    meta = {
        "id": "r1",
        "prompt_tokens": len(prompt),
        "completion_tokens": len(answer),
        "routed_experts": payload,
        "input_token_logprobs": [
            [None if place == 0 else -1.0, token, f"p{token}"] for place, token in enumerate(prompt)
        ],
        "output_token_logprobs": [[-0.5, token, f"a{token}"] for token in answer],
    }
    text = "".join(f"a{token}" for token in answer)
    return {"text": text, "output_ids": answer, "meta_info": meta | more}


def saved(path: Path, *values: object) -> DumpFile:
    """As JSON Lines."""
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return DumpFile(path, path.name)


def read(source: Source) -> list[RoutingBatch]:
    batches = list(source.batches(Meter()))
    assert all(isinstance(batch, RoutingBatch) for batch in batches)
    return [batch for batch in batches if isinstance(batch, RoutingBatch)]
