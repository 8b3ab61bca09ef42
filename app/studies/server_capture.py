"""A trace from a running server: prompts are sent, answers come with the routing of every token.

T = tokens, L = layers of the payload, K = experts per token.
"""

import platform
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import chain, islice

import numpy as np

from app.studies.in_flight import in_order
from app.studies.served_model import ServedModel
from app.studies.server_client import Server
from app.studies.server_dialects import NO_ROUTING, Asking
from data.groups import Grouping
from data.importers.checks.findings import finding
from data.importers.checks.integrity import Checked
from data.importers.served.answer_rows import REPORTED, has_routing, layout_of, needs_top_k, rows_of
from data.importers.served.answers import Answer, answers
from data.importers.served.payloads import Layout
from data.importers.source import Meter, Options, Source
from data.new_trace import TraceDescription
from data.routing import Document, Finding, LayerDescription, RoutingBatch, TraceSink

AT_ONCE = 8  # requests on their way
FIRST = 8  # answers by which the layers are known

Answered = tuple[Document, Answer]


@dataclass(slots=True)
class Captured:
    documents: int = 0
    tokens: int = 0


class ServerCapture:
    """Ask for the first answers, which tell the layers; then `write` all.

    A resumed capture asks for them again, and stores those only that are not stored.
    """

    def __init__(
        self,
        server: Server,
        model: ServedModel,
        asking: Asking,
        documents: Iterable[Document],
        *,
        at_once: int = AT_ONCE,
    ) -> None:
        """ValueError: the server does not answer, or not with routing that can be right."""
        self.server, self.model, self.asking = server, model, asking
        self._answering = ""  # the model, as answers name it
        self._stored: set[int] = set()
        self._at_once = at_once
        self._rest = iter(documents)
        self._first = list(self._asked(islice(self._rest, FIRST)))
        if not self._first:
            raise ValueError("there is no prompt to send")
        self._layout = self._known_layout()
        self._probe()

    def description(
        self, name: str, *, prompts: Mapping[str, object], grouping: Grouping
    ) -> TraceDescription:
        sampling = asdict(self.asking)
        return TraceDescription(
            name=name,
            source=self.asking.api,
            model_name=self.model.name,
            model_sha256="",
            tokenizer=self.model.tokenizer,
            layers=self.layers,
            seed=self.asking.seed,
            config={
                "model": self.model.config,
                "server": {"url": self.server.url, **self.model.said},
                "capture": {
                    "prompts": prompts,
                    "groups": grouping.described(),
                    "sampling": sampling,
                },
                "versions": {
                    "routescope": version("routescope"),
                    "python": platform.python_version(),
                },
            },
        )

    def write(
        self,
        sink: TraceSink,
        *,
        stored: Collection[int] = (),
        on_progress: Callable[[int, int], None] = lambda *_: None,
    ) -> Captured:
        """In the order of the documents. What was noticed until an error is stored with them."""
        captured = Captured()
        self._stored |= set(stored)
        if all(document.doc_id in self._stored for document in self._ahead()):
            return captured
        rest = (document for document in self._rest if document.doc_id not in self._stored)
        with closing(self._asked(rest)) as answered:
            checked = Checked(self._source(answered), Options(layers="moe"), Meter())
            try:
                for batch in checked.batches():
                    assert isinstance(batch, RoutingBatch)
                    sink.write(batch)
                    captured.documents += len(batch.documents)
                    captured.tokens += len(batch.position_T)
                    on_progress(captured.tokens, captured.documents)
            except BaseException:
                if captured.documents:
                    findings = tuple(one for one in checked.findings if one.kind not in REPORTED)
                    sink.write(_nothing_but(findings, len(self.layers), self._layout))
                raise
        return captured

    def _ahead(self) -> list[Document]:
        """The documents whose answers are held, and the next one that is not stored."""
        held = [document for document, _ in self._first]
        following = next((one for one in self._rest if one.doc_id not in self._stored), None)
        if following is None:
            return held
        self._rest = chain([following], self._rest)
        return [*held, following]

    def _asked(self, documents: Iterable[Document]) -> Generator[Answered, None, None]:
        return in_order(documents, self._answer, at_once=self._at_once, hang_up=self.server.hang_up)

    def _answer(self, document: Document) -> Answer:
        body = self.asking.body(self.model.name, document.text)
        try:
            value = self.server.post(self.asking.path, body)
        except ValueError as error:
            raise ValueError(f"{document.origin}: {error}") from error
        [*found] = answers({"request": body, "response": value}, document.origin)
        if len(found) != 1:
            raise ValueError(
                f"{document.origin}: {self.server.url} gave {len(found)} answers; one is expected"
            )
        self._answering = self._answering or found[0].model
        if found[0].model not in ("", self._answering):
            raise ValueError(
                f"{document.origin}: {self.server.url} answers with the model "
                f"{found[0].model!r:.80}, and before with {self._answering!r:.80}; capture models "
                "one by one"
            )
        if not has_routing(found[0]):
            raise ValueError(
                f"{document.origin}: {self.server.url} answers without routed experts; "
                f"{NO_ROUTING[self.asking.api]}"
            )
        return found[0]

    def _known_layout(self) -> Layout:
        top_k, layers = self.model.top_k, self.model.layers
        if top_k is None and any(needs_top_k(answer) for _, answer in self._first):
            raise ValueError(
                f"{self.server.url} does not say how many experts a token chooses; give --top-k, "
                "or --model FOLDER with its config.json"
            )
        known = [(answer, document.origin) for document, answer in self._first]
        layout = layout_of(known, num_experts=self.model.num_experts, top_k=top_k)
        assert layout is not None  # all have routing
        if layers is not None and layout.raw_type is not None:
            return replace(layout, num_layers=layers)
        for name, said, found in (
            ("--num-layers", layers, layout.num_layers),
            ("--top-k", top_k, layout.top_k),
            ("--num-experts", self.model.num_experts, max(self.model.num_experts, layout.top_k)),
        ):
            if said not in (None, found):
                raise ValueError(
                    f"{self.server.url} answers with {layout.num_layers} layers and {layout.top_k} "
                    f"experts a token; {name} (or config.json) says {said}, where {found} fits"
                )
        return layout

    def _probe(self) -> None:
        """Which layers of a payload are MoE layers, by the first answers."""
        all_layers = self.model.described(self._layout.num_layers, self._layout.top_k)
        batches = [self._rows(document, answer) for document, answer in self._first]
        source = self._of(all_layers, lambda _: iter(batches))
        checked = Checked(source, Options(), Meter())
        self.layers = checked.layers
        names = {layer.name for layer in self.layers}
        self._kept = [i for i, layer in enumerate(all_layers) if layer.name in names]
        self._left = [i for i, layer in enumerate(all_layers) if layer.name not in names]
        dense = self._left == self.model.dense_layers(len(all_layers))
        kind = "dense-layers" if dense else "zero-layers"
        self._of_layers: tuple[Finding, ...] = ()
        if self._left:
            self._of_layers = (finding(kind, len(self._left), all_layers[self._left[0]].name),)

    def _source(self, answered: Iterable[Answered]) -> Source:
        findings = () if self._stored else self._of_layers
        return self._of(self.layers, lambda _: self._batches(answered), findings=findings)

    def _of(
        self,
        layers: tuple[LayerDescription, ...],
        batches: Callable[[Meter], Iterator[RoutingBatch]],
        *,
        findings: tuple[Finding, ...] = (),
    ) -> Source:
        return Source(
            format="server",
            engine=self.asking.api,
            layers=layers,
            batches=batches,
            findings=findings,
        )

    def _batches(self, answered: Iterable[Answered]) -> Iterator[RoutingBatch]:
        for document, answer in chain(self._first, answered):
            if document.doc_id not in self._stored:
                batch = self._rows(document, answer)
                ids_TLK = batch.expert_ids_TLK
                if (ids_TLK[:, self._left] > 0).any():
                    raise ValueError(
                        f"{document.origin}: a layer that was all expert 0 in the first answers "
                        "names others; it was recorded in part, so restart the server and begin "
                        "again"
                    )
                yield replace(
                    batch,
                    expert_ids_TLK=ids_TLK[:, self._kept],
                    weights_TLK=batch.weights_TLK[:, self._kept],
                )

    def _rows(self, document: Document, answer: Answer) -> RoutingBatch:
        text = answer.text
        if self.asking.chat and answer.prompt.texts_T is None:
            text = f"{document.text}\n{text}"
        return rows_of(
            answer,
            self._layout,
            replace(document, text=text),
            num_experts=self.model.num_experts,
            where=document.origin,
        )


def _nothing_but(findings: tuple[Finding, ...], layers: int, layout: Layout) -> RoutingBatch:
    """A batch without tokens."""
    nothing = np.zeros(0, np.int64)
    ids_TLK = np.zeros((0, layers, layout.top_k), np.int16)
    return RoutingBatch.of(
        doc_id_T=nothing, position_T=nothing, expert_ids_TLK=ids_TLK, findings=findings
    )
