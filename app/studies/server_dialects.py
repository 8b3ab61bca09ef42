"""What engines are asked for routed experts with: paths, fields and flags, by --api."""

from dataclasses import dataclass
from typing import Any

SGLANG, VLLM, OPENAI = "sglang", "vllm", "openai"
APIS = (SGLANG, VLLM, OPENAI)

NO_ROUTING = {
    SGLANG: "start it with --enable-return-routed-experts",
    VLLM: "start it with --enable-return-routed-experts",
    OPENAI: "--api sglang and --api vllm ask for them, and both engines are to be started with "
    "--enable-return-routed-experts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How prompts are put to a server."""

    api: str
    chat: bool  # as a user's message, in the model's chat template
    new_tokens: int  # at most
    temperature: float | None  # None: as the server has it
    top_p: float | None
    seed: int

    def __post_init__(self) -> None:
        if self.api not in APIS:
            raise ValueError(f"--api is {self.api[:40]!r}; give one of {', '.join(APIS)}")
        if self.new_tokens < 1:
            raise ValueError("a server gives at least one token; add --generate 1")

    @property
    def path(self) -> str:
        return "/v1/chat/completions" if self.chat else "/v1/completions"

    def body(self, model: str, text: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            "max_tokens": self.new_tokens,
            "seed": self.seed,
            "logprobs": True if self.chat else 1,
        }
        if self.chat:
            body["messages"] = [{"role": "user", "content": text}]
        else:
            body["prompt"] = text
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.top_p is not None:
            body["top_p"] = self.top_p
        return body | self._own_fields()

    def _own_fields(self) -> dict[str, Any]:
        """Log-probabilities of the prompt are asked for also because an engine then computes all of
        it, and takes nothing from its prefix cache."""
        if self.api == VLLM:
            return {"return_token_ids": True, "prompt_logprobs": 1}
        if self.api == SGLANG:
            own: dict[str, Any] = {"return_routed_experts": True, "return_token_ids": True}
            return own | ({"return_prompt_token_ids": True} if self.chat else {"echo": True})
        return {}
