"""Generating by `generate` of transformers, step by step told to whoever records.

B = sequences, S = positions, V = vocabulary.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from data.words import first_line
from model.generate import NothingToSampleError
from model.readable import GenerationSettings, Sampled

SETTINGS = (  # of generation_config.json
    *("do_sample", "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p"),
    *("epsilon_cutoff", "eta_cutoff", "repetition_penalty", "no_repeat_ngram_size"),
    *("bad_words_ids", "sequence_bias", "suppress_tokens", "begin_suppress_tokens"),
    *("forced_bos_token_id", "forced_eos_token_id", "exponential_decay_length_penalty"),
    *("renormalize_logits", "remove_invalid_values", "min_new_tokens", "stop_strings"),
)


def own_settings(module: Any) -> dict[str, Any]:
    """Of what a model comes with, that which says which token is next and when a text may end: not
    how it is computed, nor several texts at once."""
    given = {name: getattr(module.generation_config, name, None) for name in SETTINGS}
    return {name: value for name, value in given.items() if value is not None}


def generation_config(
    module: Any, settings: GenerationSettings, *, start_token_id: int, end_token_ids: list[int]
) -> GenerationConfig:
    config = GenerationConfig(
        **own_settings(module),
        eos_token_id=end_token_ids or None,
        pad_token_id=start_token_id,
        max_new_tokens=settings.max_new_tokens,
        disable_compile=True,
    )
    if settings.temperature is not None:
        greedy = settings.temperature == 0
        config.update(do_sample=not greedy, temperature=None if greedy else settings.temperature)
    if settings.top_p is not None:
        config.update(top_p=settings.top_p)
    return config


def generate(
    module: Any,
    tokenizer: Any,
    token_ids: list[int],
    settings: GenerationSettings,
    sampled: Sampled,
    *,
    start_token_id: int,
    end_token_ids: list[int],
) -> None:
    told, kept = Told(module, sampled), module.generation_config
    ids_BS = torch.tensor([token_ids], device=module.get_input_embeddings().weight.device)
    try:
        module.generation_config = generation_config(
            module, settings, start_token_id=start_token_id, end_token_ids=end_token_ids
        )
        with told.attached(), torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            module.generate(
                input_ids=ids_BS,
                attention_mask=torch.ones_like(ids_BS),
                stopping_criteria=[told],
                tokenizer=tokenizer,  # for settings that stop at a string
            )
    except (NothingToSampleError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # settings of a kind or a size that is none
        if error is told.raised:
            raise
        raise ValueError(f"generation_config.json cannot be used: {first_line(error)}") from error
    finally:
        module.generation_config = kept


class Told:
    """A stopping criterion that never stops, and tells of each step instead."""

    def __init__(self, module: nn.Module, sampled: Sampled) -> None:
        self.module, self.sampled = module, sampled
        self.logits_BSV: Tensor | None = None
        self.raised: Exception | None = None  # by `sampled`

    @contextmanager
    def attached(self) -> Iterator[None]:
        with ExitStack() as stack:
            for handle in (
                self.module.register_forward_pre_hook(self.all_logits, with_kwargs=True),
                self.module.register_forward_hook(self.after),
            ):
                stack.callback(handle.remove)
            yield

    def all_logits(
        self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """generate() asks for the last position alone; losses need all."""
        return arguments, {name: x for name, x in named.items() if name != "logits_to_keep"}

    def after(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        self.logits_BSV = output.logits
        if not output.logits[:, -1].amax().isfinite():
            raise NothingToSampleError(output.logits)

    def __call__(self, input_ids: Tensor, scores: Any, **options: Any) -> Tensor:
        assert self.logits_BSV is not None
        try:
            self.sampled(self.logits_BSV, int(input_ids[0, -1]))
        except Exception as error:
            self.raised = error
            raise
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
