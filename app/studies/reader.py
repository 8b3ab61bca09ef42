"""A model with its tokenizer, ready to be captured: what the command line and the pages share.

torch is imported when a model is loaded, not before.
"""

import platform
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from app.folders import SHIPPED
from data.groups import Grouping
from data.new_trace import TraceDescription
from data.pieces import encoder
from data.routing import Document, TraceSink
from data.tokenizer import decode, load_tokenizer, num_ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from model.capture import Captured
    from model.capture_generation import Steps
    from model.deepseek_moe import DeepSeekMoE
    from model.readable import Decode, Encode, ReadableModel

CHECKPOINT = SHIPPED / "data" / "checkpoint"
HELDOUT = SHIPPED / "data" / "heldout.parquet"


COLDEST, HOTTEST = 0.01, 100.0  # beyond, logits overflow or no longer matter


def require_temperature(temperature: float) -> None:
    if temperature != 0 and not COLDEST <= temperature <= HOTTEST:
        raise ValueError(
            f"temperature ({temperature}) must be 0 or between {COLDEST} and {HOTTEST:g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How prompts are continued."""

    new_tokens: int
    temperature: float | None  # 0: always the likeliest token; None: as the model's author set it
    top_p: float | None
    seed: int

    def __post_init__(self) -> None:
        if self.new_tokens < 1:
            raise ValueError(f"a continuation has at least 1 token, not {self.new_tokens}")
        if self.temperature is not None:
            require_temperature(self.temperature)
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p ({self.top_p}) must be above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class Tracer:
    """A loaded model that can read text, and the folder that it lies in."""

    folder: Path
    model: "ReadableModel"

    def capture(
        self,
        documents: Iterable[Document],
        sink: TraceSink,
        *,
        sampling: Sampling | None = None,
        stored: Collection[int] = (),
        allow_nonfinite: bool = False,
        on_progress: Callable[[int, int], None] = lambda tokens, documents: None,
        on_step: "Callable[[Steps], None]" = lambda steps: None,
        cancelled: Callable[[], bool] = lambda: False,
        enough: Callable[[], bool] = lambda: False,
    ) -> "Captured":
        """Read the documents, or continue them; progress is tokens done and documents done.
        `on_step` and `enough` are of continuations."""
        from model.capture import capture_documents
        from model.capture_generation import capture_generation
        from model.readable import GenerationSettings

        if sampling is None:
            return capture_documents(
                self.model,
                documents,
                sink,
                stored=stored,
                allow_nonfinite=allow_nonfinite,
                on_progress=on_progress,
                cancelled=cancelled,
            )
        return capture_generation(
            self.model,
            documents,
            sink,
            settings=GenerationSettings(
                sampling.new_tokens, sampling.seed, sampling.temperature, sampling.top_p
            ),
            stored=stored,
            allow_nonfinite=allow_nonfinite,
            on_progress=on_progress,
            on_step=on_step,
            cancelled=cancelled,
            enough=enough,
        )

    def description(
        self,
        name: str,
        *,
        prompts: Mapping[str, object],
        grouping: Grouping,
        sampling: Sampling | None = None,
    ) -> TraceDescription:
        """`prompts` says which texts are read: a resumed capture must have the same."""
        from model.fingerprint import model_sha256

        model = self.model.description()
        return TraceDescription(
            name=name,
            source=model.source,
            model_name=f"{model.family} {model.parameters / 1e6:.1f} M",
            model_sha256=model_sha256(self.folder),
            tokenizer=model.tokenizer,
            layers=model.layers,
            seed=sampling.seed if sampling else None,
            config={
                "model": model.config,
                "capture": {
                    "device": self.model.device.type,
                    "dtype": model.dtype,
                    "prompts": prompts,
                    "groups": grouping.described(),
                    "sampling": asdict(sampling) if sampling else None,
                },
                "versions": versions(model.source),
            },
        )


def versions(source: str) -> dict[str, str]:
    """Of what a capture is made with."""
    names = ["routescope", "torch"] + (["transformers"] if source == "transformers" else [])
    return {name: version(name) for name in names} | {"python": platform.python_version()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How a model of transformers is loaded; None: as fits the machine."""

    device: str | None = None
    dtype: str | None = None
    chat: bool = False

    def __bool__(self) -> bool:
        return self != Loading()


def load_tracer(folder: Path = CHECKPOINT, loading: Loading = Loading()) -> Tracer:
    """A model with experts, as `load_reader` loads it."""
    from model.config_file import load_config
    from model.fingerprint import is_transformers

    if not is_transformers(folder) and load_config(folder).num_experts == 0:
        raise ValueError(f"the model in {folder} is dense: it has no experts to capture")
    return load_reader(folder, loading)


def load_reader(folder: Path = CHECKPOINT, loading: Loading = Loading()) -> Tracer:
    """The model of a folder, of ours dense ones too, on the GPU in bfloat16 where there is one."""
    from model.fingerprint import is_transformers

    if is_transformers(folder):
        from app.jobs.memory import free_memory
        from model.huggingface.loading import load_huggingface

        model = load_huggingface(folder, **asdict(loading), memory=free_memory())
        return Tracer(folder, model)
    if loading:
        raise ValueError(
            f"--device, --dtype and --chat are for models of transformers, and {folder} has one of "
            "RouteScope's; leave them out"
        )
    return load_own(folder)


def load_own(folder: Path) -> Tracer:
    import torch

    from model.checkpoint import load_model
    from model.config_file import load_config
    from model.deepseek_moe import DeepSeekMoE

    path = folder / "tokenizer.json"
    tokenizer = fitting_tokenizer(path, load_config(folder).vocab_size)
    if torch.cuda.is_available():
        transformer = load_model(folder, device="cuda", dtype=torch.bfloat16)
    else:
        transformer = load_model(folder)
    return Tracer(folder, DeepSeekMoE(transformer, *text_functions(tokenizer, path)))


def fitting_tokenizer(path: Path, vocab_size: int) -> "Tokenizer":
    """ValueError: there is none, or it has ids that a model of this vocabulary does not."""
    if not path.is_file():
        raise ValueError(f"no tokenizer at {path}: the model is not whole; copy it again")
    tokenizer = load_tokenizer(path)
    if num_ids(tokenizer) > vocab_size:
        raise ValueError(
            f"{path} has the token id {num_ids(tokenizer) - 1}, the model ids below {vocab_size}"
        )
    return tokenizer


def text_functions(tokenizer: "Tokenizer", path: Path) -> "tuple[Encode, Decode, str]":
    """How texts become token ids and these texts, and the tokenizer, which lies at `path`, in
    words."""
    kind = type(tokenizer.model).__name__.replace("BPE", "byte-level BPE")
    in_words = f"{kind}, {tokenizer.get_vocab_size():,} entries"
    return encoder(tokenizer, path), partial(decode, tokenizer), in_words


def own_model(tracer: Tracer) -> "DeepSeekMoE":
    """For what rewrites weights: RouteScope's own models alone."""
    from model.deepseek_moe import DeepSeekMoE

    if not isinstance(tracer.model, DeepSeekMoE):
        raise ValueError(f"the model in {tracer.folder} is not one that RouteScope trains")
    return tracer.model
