"""HTTP to an inference server: bounded, tried again where that helps, and refused in a line."""

import json
import os
import socket
from contextlib import suppress
from threading import Event, Lock
from typing import Any

import httpx2
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
)

from data.strict_json import what_is_wrong

KEY = "OPENAI_API_KEY"  # of the environment; nowhere else, and never stored
ATTEMPTS = 6
FIRST_PAUSE = 1.0  # seconds before the second attempt; doubled before each other
LONGEST_PAUSE = 60.0  # seconds
LONGEST_ANSWER = 2**28  # bytes, of all that come at once
SILENCE = 600.0  # seconds in which a server may compute without sending anything
BUSY = (408, 425, 429)  # and all from 500


class AgainError(Exception):
    """Another attempt may do better; `after` so many seconds, if the server says."""

    def __init__(self, said: str, after: float | None = None) -> None:
        super().__init__(said)
        self.after = after


class MissingError(ValueError):
    """The server has nothing under a path."""


class Server:
    """One server, by the address that its users give; use it in a with block."""

    def __init__(self, address: str, *, first_pause: float = FIRST_PAUSE) -> None:
        """ValueError: no address of a server."""
        url = _parsed(address)
        self.url = str(url.copy_with(userinfo=b"")).rstrip("/").removesuffix("/v1")
        self.is_here = url.host in ("127.0.0.1", "::1", "localhost")
        self._first_pause = first_pause
        self._stopped = Event()
        self._sockets: list[socket.socket] = []
        self._held, self._counting = 0, Lock()  # bytes of answers that are on their way
        key = os.environ.get(KEY)
        self._client = httpx2.Client(
            auth=(url.username, url.password) if url.userinfo else None,
            headers={"Authorization": f"Bearer {key}"} if key and not url.userinfo else {},
            timeout=httpx2.Timeout(SILENCE, connect=10.0),
            trust_env=False,  # a proxy would see every prompt
        )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self.hang_up()
        self._client.close()

    def hang_up(self) -> None:
        """Ends what waits for an answer in other threads, and asks nothing more."""
        self._stopped.set()
        for connection in self._sockets:
            with suppress(OSError):  # it is closed already, or was given to TLS
                connection.shutdown(socket.SHUT_RDWR)

    def get(self, path: str) -> dict[str, Any]:
        return self._tried("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer, a JSON object. ValueError: there is none, or a refusal."""
        return self._tried("POST", path, body)

    def _tried(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        trying = Retrying(
            retry=retry_if_exception_type(AgainError),
            stop=stop_after_attempt(ATTEMPTS) | stop_when_event_set(self._stopped),
            wait=self._pause,
            sleep=sleep_using_event(self._stopped),
            reraise=True,
        )
        try:
            return trying(self._once, method, path, body)
        except AgainError as error:
            raise ValueError(f"{self.url}{path}: {error}, {ATTEMPTS} times in all") from error

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        said = error.after if isinstance(error, AgainError) else None
        doubled = self._first_pause * 2.0 ** (state.attempt_number - 1)
        return min(LONGEST_PAUSE, doubled if said is None else max(said, self._first_pause))

    def _once(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        try:
            known = {"trace": self._keep_socket}
            with self._client.stream(
                method, self.url + path, json=body, extensions=known
            ) as response:
                data = self._bounded(response, path)
                if response.status_code != 200:
                    self._refuse(response, data, path)
                return self._object(response, data, path)
        except httpx2.TransportError as error:
            raise AgainError(
                f"no answer ({type(error).__name__}: {_line(str(error))}); see that the server "
                "runs there"
            ) from error
        except httpx2.HTTPError as error:
            raise ValueError(f"{self.url}{path}: {_line(str(error))}") from error

    def _keep_socket(self, event: str, information: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._sockets.append(information["return_value"].get_extra_info("socket"))
            if self._stopped.is_set():
                self.hang_up()

    def _bounded(self, response: httpx2.Response, path: str) -> bytes:
        """All answers that are on their way share what may be held."""
        parts: list[bytes] = []
        try:
            for part in response.iter_bytes():
                parts.append(part)
                if self._hold(len(part)) > LONGEST_ANSWER:
                    raise ValueError(
                        f"{self.url}{path}: answers on their way have more than "
                        f"{LONGEST_ANSWER:,} bytes together; ask for fewer tokens"
                    )
            return b"".join(parts)
        finally:
            self._hold(-sum(map(len, parts)))

    def _hold(self, size: int) -> int:
        with self._counting:
            self._held += size
            return self._held

    def _refuse(self, response: httpx2.Response, data: bytes, path: str) -> None:
        status = response.status_code
        said = f"{self.url}{path} answers {status}"
        if status in BUSY or status >= 500:
            raise AgainError(f"answers {status} ({_words(data)})", _seconds(response))
        if 300 <= status < 400:
            where = _line(response.headers.get("location", "elsewhere"))
            raise ValueError(f"{said}, a redirect to {where}; give that server as --server")
        if status in (401, 403):
            raise ValueError(f"{said}; set {KEY} to a key that it takes")
        if status in (404, 405):
            raise MissingError(
                f"{said}: no such path; give the address of the server itself, such as "
                "http://127.0.0.1:30000"
            )
        raise ValueError(f"{said}: {_words(data)}")

    def _object(self, response: httpx2.Response, data: bytes, path: str) -> dict[str, Any]:
        kind = response.headers.get("content-type", "")
        if "html" in kind:
            raise ValueError(
                f"{self.url}{path} answers with {_line(kind)}, a page for people; give the address "
                "of an inference server"
            )
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise AgainError(f"no JSON ({_line(what_is_wrong(error))})") from error
        if not isinstance(value, dict):
            raise ValueError(f"{self.url}{path}: a JSON {type(value).__name__}, not an object")
        return value


def _parsed(address: str) -> httpx2.URL:
    try:
        url = httpx2.URL(address)
    except httpx2.InvalidURL as error:
        raise ValueError(f"--server is no address: {_line(str(error))}") from error
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise ValueError(
            "--server is no address of a server; give one such as http://127.0.0.1:30000"
        )
    return url


def _seconds(response: httpx2.Response) -> float | None:
    said = response.headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdigit() and len(said) < 9 else None


def _words(data: bytes) -> str:
    """What a server says of an error: its message, or the beginning of whatever it sent."""
    try:
        value = json.loads(data[:100_000])
    except (ValueError, RecursionError):
        return _line(data[:200].decode(errors="replace")) or "without a word"
    error = value.get("error", value) if isinstance(value, dict) else value
    said = error.get("message", error) if isinstance(error, dict) else error
    return _line(str(said))


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:200].strip()
