"""A server on 127.0.0.1 that answers as engines do, their known faults included. Routing of token t
in layer l: experts t + l and t + l + 1, modulo their number.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from tests.data.importers.engine_payloads import npy, raw, routing

MODEL = "made/moe"
LAYERS, EXPERTS, TOP_K = 3, 8, 2


@dataclass
class Engine:
    """What it speaks, and what is wrong with it."""

    api: str  # sglang, sglang-u1, vllm, vllm-lists
    rows_too_many: int = 0
    dense: int = 0  # first layers that read as expert 0
    cached: int = 0  # first rows that are -1
    fails: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    """By prompt: statuses and headers of its first answers."""
    bodies: dict[str, bytes] = field(default_factory=dict)  # by prompt: sent instead of the answer
    content_type: str = "application/json"
    without_routing: bool = False
    gone_after: int | None = None  # answers, after which connections are cut
    lists_model: bool = True
    held: threading.Event | None = None  # no answer comes before it
    begun: threading.Event = field(default_factory=threading.Event)  # a prompt is there
    asked: Counter = field(default_factory=Counter)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        chat = path.endswith("chat/completions")
        text = body["messages"][0]["content"] if chat else body["prompt"]
        prompt = [ord(letter) for letter in text]
        new = [1_000 + place for place in range(body["max_tokens"])]
        last = 0 if self.api == "vllm-lists" else 1  # token, which has no row
        ids_TLK = self._routing(len(prompt) + len(new) - last + self.rows_too_many)
        words = [f"<{token}>" for token in new]
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
        choice |= {"message": {"content": "".join(words)}} if chat else {"text": "".join(words)}
        response: dict[str, Any] = {"id": f"r-{text}", "model": MODEL, "choices": [choice]}
        response["usage"] = {"prompt_tokens": len(prompt), "completion_tokens": len(new)}
        losses: list[float | None] = [-0.5] * len(new)
        if body.get("echo"):
            choice["text"] = text + choice["text"]
            words = [*text, *words]
            losses = [None, *[-1.0] * (len(prompt) - 1), *losses]
        if chat:
            pairs = zip(words, losses, strict=True)
            choice["logprobs"] = {"content": [{"token": w, "logprob": p} for w, p in pairs]}
        else:
            choice["logprobs"] = {"tokens": words, "token_logprobs": losses}
        if body.get("return_token_ids"):
            choice |= {"token_ids": new, "prompt_token_ids": prompt}
        if not self.without_routing:
            self._add_routing(body, response, choice, ids_TLK, len(prompt))
        return response

    def _routing(self, rows: int) -> np.ndarray:
        ids_TLK = routing(rows, layers=LAYERS, top_k=TOP_K, experts=EXPERTS)
        ids_TLK[:, : self.dense] = 0
        ids_TLK[: self.cached] = -1
        return ids_TLK

    def _add_routing(
        self,
        body: dict[str, Any],
        response: dict[str, Any],
        choice: dict[str, Any],
        ids_TLK: np.ndarray,
        prompt: int,
    ) -> None:
        if self.api.startswith("sglang"):
            if body.get("return_routed_experts"):
                dtype = "u1" if self.api == "sglang-u1" else "<i4"
                response["sglext"] = {"routed_experts": raw(ids_TLK, dtype)}
        elif self.api == "vllm":
            choice["routed_experts"] = npy(ids_TLK, "u1" if not self.cached else "<i2")
            if "prompt_logprobs" in body:
                letters = choice.get("prompt_token_ids", [])
                choice["prompt_logprobs"] = [
                    {str(token): {"logprob": -1.0, "decoded_token": chr(token)}} if place else None
                    for place, token in enumerate(letters)
                ]
        else:
            choice["routed_experts"] = ids_TLK[prompt:].tolist()
            response["prompt_routed_experts"] = ids_TLK[:prompt].tolist()


def facts(engine: Engine, path: str) -> dict[str, Any] | None:
    if path == "/v1/models":
        return {"data": [{"id": MODEL, "root": MODEL}] if engine.lists_model else []}
    if engine.api.startswith("sglang"):
        if path == "/get_model_info":  # an older one: the newer path is missing
            return {"model_path": MODEL, "tokenizer_path": "made/tokenizer"}
        if path == "/server_info":
            return {"version": "0.5.23", "api_key": "secret"}
    return None


class Handler(BaseHTTPRequestHandler):
    engine: Engine
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        value = facts(self.engine, self.path)
        self.engine.headers.append(dict(self.headers))
        self._send(404 if value is None else 200, json.dumps(value or {"detail": "none"}).encode())

    def do_POST(self) -> None:
        engine = self.engine
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = body["prompt"] if "prompt" in body else body["messages"][0]["content"]
        with engine.lock:
            engine.at_once += 1
            engine.most_at_once = max(engine.most_at_once, engine.at_once)
            engine.requests.append(body)
            engine.asked[text] += 1
            number = engine.asked[text]
            gone = engine.gone_after is not None and engine.asked.total() > engine.gone_after
        engine.begun.set()
        try:
            if engine.held is not None:
                engine.held.wait()
            if gone:
                self.close_connection = True
                return
            failing = engine.fails.get(text, [])
            if number <= len(failing):
                status, headers = failing[number - 1]
                self._send(status, b'{"error": {"message": "not now"}}', headers)
                return
            answer = engine.bodies.get(text)
            self._send(200, answer or json.dumps(engine.answer(self.path, body)).encode())
        finally:
            with engine.lock:
                engine.at_once -= 1

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", self.engine.content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class Listening(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may hang up."""


@contextmanager
def serving(engine: Engine) -> Iterator[str]:
    """Its address."""
    handler = type("EngineHandler", (Handler,), {"engine": engine})
    server = Listening(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
