"""A model with its tokenizer, ready to be captured: what the command line and the pages share.

torch is imported when a model is loaded, not before.
"""

import platform
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.pieces import encoder
from data.routing import Document, TraceSink
from data.store import TraceDescription
from data.tokenizer import decode, load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from model.capture import Captured
    from model.transformer import Transformer

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKPOINT = REPOSITORY / "data" / "checkpoint"
HELDOUT = REPOSITORY / "data" / "heldout.parquet"
FAMILY = {
    "softmax": "DeepSeekMoE",
    "sigmoid": "DeepSeek-V3 gate",
    "gshard": "GShard",
    "switch": "Switch",
    "hash": "Hash",
    "dsr": "DSR",
}
SCORING = {"sigmoid": "sigmoid", "hash": "hash"}  # else softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How prompts are continued."""

    new_tokens: int
    temperature: float  # 0: always the likeliest token
    top_p: float
    seed: int

    def __post_init__(self) -> None:
        if self.new_tokens < 1:
            raise ValueError(f"a continuation has at least 1 token, not {self.new_tokens}")
        if self.temperature < 0:
            raise ValueError(f"temperature ({self.temperature}) must not be negative")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p ({self.top_p}) must be above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class Tracer:
    """A loaded model that can read text."""

    folder: Path
    model: "Transformer"
    tokenizer: "Tokenizer"

    def capture(
        self,
        documents: Iterable[Document],
        sink: TraceSink,
        *,
        sampling: Sampling | None = None,
        stored: Collection[int] = (),
        on_progress: Callable[[int, int], None] = lambda tokens, documents: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> "Captured":
        """Read the documents, or continue them; progress is tokens done and documents done."""
        from model.capture import capture_documents, capture_generation

        encode = encoder(self.tokenizer)
        if sampling is None:
            return capture_documents(
                self.model,
                encode,
                documents,
                sink,
                stored=stored,
                on_progress=on_progress,
                cancelled=cancelled,
            )
        return capture_generation(
            self.model,
            encode,
            lambda token_ids: decode(self.tokenizer, token_ids),
            documents,
            sink,
            max_new_tokens=sampling.new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            stored=stored,
            on_progress=on_progress,
            cancelled=cancelled,
        )

    def description(
        self, name: str, *, prompts: dict[str, Any], sampling: Sampling | None = None
    ) -> TraceDescription:
        """`prompts` says which texts are read: a resumed capture must have the same."""
        from model.fingerprint import model_sha256

        config = self.model.config
        weight = self.model.embedding.weight
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        where = {"device": weight.device.type, "dtype": str(weight.dtype).removeprefix("torch.")}
        return TraceDescription(
            name=name,
            source="routescope",
            model_name=f"{FAMILY[config.router]} {parameters / 1e6:.1f} M",
            model_sha256=model_sha256(self.folder),
            tokenizer=f"byte-level BPE, {self.tokenizer.get_vocab_size():,} entries",
            num_layers=config.num_moe_layers,
            num_experts=config.num_experts,
            num_shared_experts=config.num_shared_experts,
            scoring=SCORING.get(config.router, "softmax"),
            top_k=None if config.varying_k else config.top_k,
            seed=sampling.seed if sampling else None,
            config={
                "model": asdict(config),
                "capture": {
                    **where,
                    "prompts": prompts,
                    "sampling": asdict(sampling) if sampling else None,
                },
                "versions": {
                    "routescope": version("routescope"),
                    "torch": version("torch"),
                    "python": platform.python_version(),
                },
            },
        )


def load_tracer(folder: Path = CHECKPOINT) -> Tracer:
    """A model with experts, as `load_reader` loads it."""
    from model.checkpoint import load_config

    if load_config(folder).num_experts == 0:
        raise ValueError(f"the model in {folder} is dense: it has no experts to capture")
    return load_reader(folder)


def load_reader(folder: Path = CHECKPOINT) -> Tracer:
    """The model of a folder, dense ones too, on the GPU in bfloat16 where there is one."""
    import torch

    from model.checkpoint import load_model

    tokenizer = load_tokenizer(folder / "tokenizer.json")
    if torch.cuda.is_available():
        model = load_model(folder, device="cuda", dtype=torch.bfloat16)
    else:
        model = load_model(folder)
    if tokenizer.get_vocab_size() > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer in {folder} has {tokenizer.get_vocab_size()} entries, the model "
            f"{model.config.vocab_size}"
        )
    return Tracer(folder, model, tokenizer)
