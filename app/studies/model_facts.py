"""What a model is, told before it is loaded: family, layers, experts, gate, size."""

import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.studies.reader import Tracer

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
LARGEST_HEADER = 2**26  # bytes of the names and shapes in a file of weights
FAMILIES = {  # of our routers, as model/router.py calls them
    "softmax": "DeepSeekMoE",
    "sigmoid": "DeepSeek-V3 gate",
    "gshard": "GShard",
    "switch": "Switch",
    "dsr": "DSR",
    "hash": "Hash",
}
SCORING_OF = {"sigmoid": "sigmoid", "hash": "hash"}  # softmax otherwise


@dataclass(frozen=True, slots=True)
class Machine:
    """What models are loaded on."""

    device: str = "cpu"  # or cuda
    memory: int | None = None  # bytes of a GPU; None: the memory of the processor changes

    @property
    def dtype(self) -> str:
        return "float32" if self.device == "cpu" else "bfloat16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Of a model that can be loaded."""

    family: str
    parameters: int
    layers: int  # with experts
    num_experts: int | None  # the most of a layer; None as with scoring
    top_k: int | None  # None: it varies, or as with scoring
    num_shared_experts: int
    scoring: str | None  # None: only a forward of the loaded model tells
    context: int  # tokens
    machine: Machine
    transformers: bool  # False: one of RouteScope's own
    has_chat: bool = False  # the tokenizer has a template for chats
    continues: bool = True  # False: an encoder and a decoder, which write a text of their own

    @property
    def needed_bytes(self) -> int:
        return self.parameters * BYTES[self.machine.dtype]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory, and the state of its files when it was read."""

    identity: str
    facts: Facts


def own_facts(folder: Path, machine: Machine) -> Facts:
    """Of a model of RouteScope, without torch. ValueError: it cannot be loaded."""
    from model.config_file import load_config
    from model.fingerprint import shard_paths

    config = load_config(folder)
    if config.num_experts == 0:
        raise ValueError(f"the model in {folder} is dense: it has no experts to capture")
    parameters = sum(map(stored_numbers, shard_paths(folder)))
    if not (folder / "tokenizer.json").is_file():
        raise ValueError(f"no tokenizer in {folder}: tokenizer.json is missing")
    return Facts(
        family=FAMILIES[config.router],
        parameters=parameters,
        layers=config.num_moe_layers,
        num_experts=config.num_experts,
        top_k=None if config.varying_k else config.top_k,
        num_shared_experts=config.num_shared_experts,
        scoring=SCORING_OF.get(config.router, "softmax"),
        context=config.context_length,
        machine=machine,
        transformers=False,
    )


def stored_numbers(path: Path) -> int:
    """In a file of weights, by its header; scales of INT8 weights are no parameters."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size - 8, LARGEST_HEADER):
            raise ValueError(f"{path} is damaged: it ends within its header; copy it again")
        header = file.read(length)
    try:
        tensors = json.loads(header)
        shapes = [one["shape"] for name, one in tensors.items() if is_parameter(name)]
        return sum(map(prod, shapes))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: its header cannot be read; copy it again") from error


def is_parameter(name: str) -> bool:
    return name != "__metadata__" and "scale" not in name


def transformers_facts(folder: Path) -> Facts:
    """Of a model of transformers, made without memory for weights. ValueError: it cannot be
    loaded."""
    from model.huggingface.first_gate import first_gate
    from model.huggingface.folder import fitting_tokenizer, look_into
    from model.huggingface.model import context_length

    found = look_into(folder)
    tokenizer = fitting_tokenizer(found)
    gate = first_gate(found.moe_layers[0])
    drops = hasattr(found.moe_layers[0].gate, "expert_capacity") and not hasattr(
        found.moe_layers[0].gate, "second_expert_policy"
    )
    return Facts(
        family=family(type(found.module).__name__),
        parameters=found.parameters,
        layers=len(found.moe_layers),
        num_experts=gate.num_experts if gate else found.num_experts,
        top_k=None if drops else gate.top_k if gate else found.top_k,
        num_shared_experts=found.num_shared_experts,
        scoring=gate.scoring if gate else None,
        context=context_length(found.config.get_text_config(decoder=True), tokenizer),
        machine=this_machine(),
        transformers=True,
        has_chat=bool(tokenizer.chat_template),
        continues=not found.config.is_encoder_decoder,
    )


def family(class_name: str) -> str:
    """What of the name of a class is not said of all."""
    for ending in ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel"):
        class_name = class_name.removesuffix(ending)
    return class_name


def this_machine() -> Machine:
    import torch

    if not torch.cuda.is_available():
        return Machine()
    return Machine("cuda", torch.cuda.get_device_properties(0).total_memory)


def loaded(tracer: "Tracer") -> Loaded:
    """Exactly, as the layers ran."""
    from model.fingerprint import model_identity
    from model.huggingface.model import HuggingFaceModel

    model = tracer.model
    described = model.description()
    own = not isinstance(model, HuggingFaceModel)
    k = {layer.top_k for layer in described.layers}
    facts = Facts(
        family=described.family if own else family(described.family),
        parameters=described.parameters,
        layers=len(described.layers),
        num_experts=max(layer.num_experts for layer in described.layers),
        top_k=k.pop() if len(k) == 1 else None,
        num_shared_experts=max(layer.num_shared_experts for layer in described.layers),
        scoring=" or ".join(sorted({layer.scoring for layer in described.layers})),
        context=model.context_length,
        machine=this_machine(),
        transformers=not own,
        has_chat=isinstance(model, HuggingFaceModel) and bool(model.text.tokenizer.chat_template),
        continues=not (isinstance(model, HuggingFaceModel) and model.two_stacks),
    )
    return Loaded(model_identity(tracer.folder), facts)


def count(number: int) -> str:
    for letter, unit in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= unit:
            return f"{number / unit:.3g} {letter}"
    return str(number)


def size(number: int) -> str:
    """Of memory."""
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
