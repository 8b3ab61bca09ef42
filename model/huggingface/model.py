"""A model of transformers as model/readable.py wants it.

B = sequences, S = positions, R = chosen rows among B * S, V = vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor

from data.routing import UNKNOWN, LayerDescription
from model.huggingface.generation import generate, own_settings
from model.huggingface.layers import HuggingFaceLayer
from model.huggingface.text import HuggingFaceText
from model.huggingface.trial import tried_layers
from model.readable import GenerationSettings, ModelDescription, Sampled

BATCH_TOKENS = {"cpu": 2_048, "cuda": 16_384}  # of one forward
LOGITS = {"cpu": 2**28, "cuda": 2**31}  # of one forward: a large vocabulary makes it smaller
LEAST_TOKENS = 256  # of a forward, however large the vocabulary
LONGEST = 2**17  # tokens of a context, where the config names none
# what else is in a forward changes what these do: a capacity for all tokens, rows that are mixed
PROBE = 64  # tokens that are read in one part and in two
PARTS_APART = {
    torch.float32: 1e-3,
    torch.bfloat16: 0.1,
    torch.float16: 0.02,
}  # of the largest logit
READ_ALONE = ("DogeCDMoE", "NllbMoeTop2Router", "SwitchTransformersTop1Router")
SAMPLE = "Sums of 3 and 4 make 7. The cat sat on the mat; def f(x): return x ** 2 # naïve, 猫\n"
SAMPLE += " ".join(f"{number**3:x}" for number in range(200))  # like no text: all experts are asked
SAMPLE_TOKENS = 512  # as many as tell apart how groups of experts are scored


class HuggingFaceModel:
    """A ReadableModel. Its layers are those that run on text, in the order of a forward."""

    def __init__(self, module: Any, tokenizer: Any, *, chat: bool = False) -> None:
        """`module`: a PreTrainedModel with a language model's head, in evaluation mode."""
        self.module = module
        self.config = module.config.get_text_config(decoder=True)
        self.two_stacks = bool(module.config.is_encoder_decoder)
        self._use(HuggingFaceText(tokenizer, chat=chat))
        length = min(self.context_length, SAMPLE_TOKENS)
        sample = list(tokenizer(SAMPLE, verbose=False)["input_ids"])[:length]
        token_ids_BS = torch.tensor([sample], device=self.device)
        self._layers = tried_layers(module, lambda: self.require_next_tokens(token_ids_BS))
        self._in_parts = not self.two_stacks and self.continues_exactly(token_ids_BS[:, :PROBE])

    def _use(self, text: HuggingFaceText) -> None:
        self.text = text
        if text.chat:
            text.as_chat(SAMPLE)  # a template that fails does so now
        self.encode, self.decode, self.read = text.encode, text.decode, text.read

    def reading_as(self, *, chat: bool) -> "HuggingFaceModel":
        """The same weights, with texts as they are or as messages of a user."""
        other = copy(self)
        other._use(HuggingFaceText(self.text.tokenizer, chat=chat))
        return other

    @property
    def device(self) -> torch.device:
        return self.module.get_input_embeddings().weight.device

    @property
    def context_length(self) -> int:
        return context_length(self.config, self.text.tokenizer)

    @torch.inference_mode()
    def continues_exactly(self, token_ids_BS: Tensor) -> bool:
        """Whether a text in two parts is read as in one: some models begin anew with each part."""
        half = token_ids_BS.shape[1] // 2
        try:
            first = self.forward(token_ids_BS[:, :half], use_cache=True)
            if any(hasattr(layer, "set_prefill_length") for layer in first.cache.layers):
                return False  # what is read after the first part counts as written
            second = self.forward(token_ids_BS[:, half:], use_cache=True, cache=first.cache)
        except Exception:  # no cache, or one of a make of its own
            return False
        parts_BSV = torch.cat([first.logits, second.logits], dim=1)
        whole_BSV = self.forward(token_ids_BS).logits
        apart = (whole_BSV - parts_BSV).abs().max() / whole_BSV.abs().max()
        return bool(apart <= PARTS_APART[whole_BSV.dtype])

    @property
    def batch_tokens(self) -> int:
        if not self._in_parts or rotates_by_length(self.config):
            return 0
        if any(type(layer.gate).__name__ in READ_ALONE for layer in self._layers):
            return 0
        kind = self.device.type
        return min(
            BATCH_TOKENS[kind], max(LEAST_TOKENS, LOGITS[kind] // int(self.config.vocab_size))
        )

    @property
    def start_token_id(self) -> int:
        """As the language-model harness has it: the start token, or where there is none the end."""
        tokenizer = self.text.tokenizer
        for token_id in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
            if token_id is not None:
                return int(token_id)
        return 0

    @property
    def scored_from(self) -> int | None:
        """An encoder reads the very tokens that its decoder writes."""
        return None if self.two_stacks else 1

    @property
    def unrecorded(self) -> list[int]:
        return []

    @property
    def end_token_ids(self) -> frozenset[int]:
        named = (
            self.module.generation_config.eos_token_id,
            self.module.config.get_text_config(decoder=True).eos_token_id,
            self.text.tokenizer.eos_token_id,
        )
        several = (one if isinstance(one, list) else [one] for one in named)
        return frozenset(x for some in several for x in some if isinstance(x, int))

    def moe_layers(self) -> Sequence[HuggingFaceLayer]:
        return self._layers

    def special_name(self, token_id: int) -> str | None:
        return self.text.names([token_id], [False])[0]

    def forward(self, token_ids_BS: Tensor, **options: Any) -> Any:
        """In a model of two stacks each token is read by the encoder and written by the decoder: a
        row has the routing of both."""
        options = {"use_cache": False, **options}
        if not self.two_stacks:
            return self.module(input_ids=token_ids_BS, **options)
        written_BS = token_ids_BS.roll(1, dims=1)
        written_BS[:, 0] = self.start_of_writing
        return self.module(input_ids=token_ids_BS, decoder_input_ids=written_BS, **options)

    def require_next_tokens(self, token_ids_BS: Tensor) -> None:
        logits_BSV = self.forward(token_ids_BS).logits
        if logits_BSV.shape[:2] != token_ids_BS.shape:
            raise ValueError(
                f"{type(self.module).__name__} gives logits of {logits_BSV.shape[1]} tokens where "
                f"it reads {token_ids_BS.shape[1]}: it does not predict the token that follows, "
                "and such a model cannot be captured"
            )

    @property
    def start_of_writing(self) -> int:
        for config in (self.module.generation_config, self.module.config):
            for name in ("decoder_start_token_id", "pad_token_id"):
                if isinstance(given := getattr(config, name, None), int):
                    return given
        return 0

    def logits(self, token_ids_BS: Tensor) -> Tensor:
        if self.is_long(token_ids_BS):
            read_on = self.reading()
            parts = token_ids_BS.split(self.batch_tokens, dim=1)
            return torch.cat([read_on(part_BS) for part_BS in parts], dim=1)
        return self.forward(token_ids_BS).logits

    def logits_at(self, token_ids_BS: Tensor, rows_R: Tensor) -> Iterator[Tensor]:
        """Of a long text part by part: its logits do not fit all at once."""
        if not self.is_long(token_ids_BS):
            yield from self.logits(token_ids_BS).flatten(0, 1)[rows_R].split(4_096)
            return
        read_on, begin = self.reading(), 0
        for part_BS in token_ids_BS.split(self.batch_tokens, dim=1):
            end = begin + part_BS.shape[1]
            logits_BSV, begins = read_on(part_BS), begin
            yield logits_BSV[0, rows_R[(rows_R >= begins) & (rows_R < end)] - begins]
            begin = end

    def is_long(self, token_ids_BS: Tensor) -> bool:
        """One text that goes in parts."""
        return len(token_ids_BS) == 1 and 0 < self.batch_tokens < token_ids_BS.shape[1]

    def route(self, token_ids_BS: Tensor) -> None:
        self.forward(token_ids_BS)

    def reading(self) -> Callable[[Tensor], Tensor]:
        if self.two_stacks:
            raise ValueError("a model of an encoder and a decoder does not read on")
        cache: Any = None

        def read_on(token_ids_BS: Tensor) -> Tensor:
            nonlocal cache
            output = self.forward(token_ids_BS, cache=cache, use_cache=True)
            cache = output.cache
            return output.logits

        return read_on

    def generate(
        self, token_ids: list[int], settings: GenerationSettings, sampled: Sampled
    ) -> None:
        """By `generate` of transformers with the model's own settings, but for one beam."""
        if self.two_stacks:
            raise ValueError(
                "a model of an encoder and a decoder writes a text of its own instead of "
                "continuing one: leave out --generate"
            )
        generate(
            self.module,
            self.text.tokenizer,
            token_ids,
            settings,
            sampled,
            start_token_id=self.start_token_id,
            end_token_ids=sorted(self.end_token_ids),
        )

    def description(self) -> ModelDescription:
        return ModelDescription(
            source="transformers",
            family=type(self.module).__name__,
            parameters=sum(weight.numel() for weight in self.module.parameters()),
            tokenizer=f"{type(self.text.tokenizer).__name__}, {len(self.text.tokenizer):,} entries",
            layers=tuple(map(layer_description, self._layers)),
            dtype=str(next(self.module.parameters()).dtype).removeprefix("torch."),
            config=self.configuration(),
        )

    def configuration(self) -> dict[str, object]:
        """Without where its files lay: a trace is sent to others."""
        config = self.module.config.to_dict() | {
            "experts_implementation": getattr(self.config, "_experts_implementation", None),
            "chat": self.text.chat,
            "generation": own_settings(self.module),
        }
        return {name: value for name, value in config.items() if name != "_name_or_path"}


def context_length(config: Any, tokenizer: Any) -> int:
    for name in ("max_position_embeddings", "max_seq_len", "n_positions", "seq_length"):
        length = getattr(config, name, None)
        if isinstance(length, int) and length > 0:
            return min(length, LONGEST)
    return min(int(tokenizer.model_max_length), LONGEST)


def rotates_by_length(config: Any) -> bool:
    """Whether the longest text of a forward chooses the frequencies of all positions."""
    given = getattr(config, "rope_parameters", None) or {}
    kinds = [given, *(one for one in given.values() if isinstance(one, dict))]
    return any(one.get("rope_type") == "longrope" for one in kinds)


def layer_description(layer: HuggingFaceLayer) -> LayerDescription:
    rule, (least, most) = layer.rule, layer.k_range
    return LayerDescription(
        name=layer.name,
        num_experts=layer.num_experts,
        num_shared_experts=layer.num_shared_experts,
        top_k=most if least == most and not layer.drops else None,
        scoring=rule.scoring if rule else UNKNOWN,
        weighting=rule.weighting if rule else UNKNOWN,
        selection=rule.selection if rule else UNKNOWN,
    )
