"""What a training moves, and how the processes of one training keep it one model: as copies on
every rank, or with a slice of the routed experts on each."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.distributed as distributed
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from model.parallel.exchange import reaching
from model.parallel.expert_parallel import SpreadExperts, own_slice, serve, spread_model
from model.parallel.ranks import add_up, process_rank
from model.training.objective import autocast
from model.training.train_config import TrainConfig
from model.transformer import Transformer


class Whole(NamedTuple):
    """Everything that a checkpoint holds."""

    model: nn.Module
    optimizer: torch.optim.Optimizer


class CopiedParameters:
    """All of them on every rank."""

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.model, self.optimizer = model, new_optimizer(model, config)
        self.rank, self.world = process_rank()

    def average_gradients(self) -> None:
        """As if one process had taken the mean of the ranks' losses."""
        if self.world > 1:
            average(gradients(self.model.parameters()))

    def clip_gradients(self, largest: float) -> Tensor:
        """To a norm of at most `largest`; the norm before."""
        return nn.utils.clip_grad_norm_(self.model.parameters(), largest)

    def whole(self) -> Whole | None:
        """On the first rank, which writes it; None on others."""
        return Whole(self.model, self.optimizer) if self.rank == 0 else None

    def serve(self) -> None:
        """A rank that reads alone needs no other."""


class SpreadParameters:
    """A slice of every routed experts' weight, and copies of all else."""

    def __init__(self, copied: CopiedParameters, mesh: DeviceMesh, config: TrainConfig) -> None:
        """Goes on from the whole model, which becomes this rank's, and from its optimizer."""
        assert isinstance(copied.model, Transformer)
        self.model, self.mesh, self.config = copied.model, mesh, config
        states = states_by_name(copied.model, copied.optimizer)
        spread_model(self.model, mesh)
        layers = [module for module in self.model.modules() if isinstance(module, SpreadExperts)]
        held = {id(parameter) for layer in layers for parameter in layer.parameters()}
        named = list(self.model.named_parameters())
        self.slices = {name: parameter for name, parameter in named if id(parameter) in held}
        self.copies = {name: parameter for name, parameter in named if id(parameter) not in held}
        self.optimizer = new_optimizer(self.model, config)
        for name, parameter in named:
            self.optimizer.state[parameter] = {
                key: own_slice(value, mesh).clone() if self.is_slice(name, value) else value
                for key, value in states[name].items()
            }

    def is_slice(self, name: str, value: Tensor) -> bool:
        """Whether what belongs to a parameter is cut like it: its count of steps is not."""
        return name in self.slices and value.dim() > 0

    def average_gradients(self) -> None:
        """As if one process had taken the mean of the ranks' losses.

        A slice has the sum already: its rows came from all ranks.
        """
        average(gradients(self.copies.values()))
        for gradient in gradients(self.slices.values()):
            gradient /= self.mesh.size()

    def clip_gradients(self, largest: float) -> Tensor:
        """To a norm over all ranks' experts of at most `largest`; the norm before."""
        copies, slices = (
            nn.utils.get_total_norm(gradients(part.values())).square()
            for part in (self.copies, self.slices)
        )
        norm = (copies + add_up(slices)).sqrt()
        nn.utils.clip_grads_with_norm_(self.model.parameters(), largest, norm)
        return norm

    def whole(self) -> Whole | None:
        """On the CPU of the first rank, which writes it; None on others."""
        weights = {
            name: self.gathered(name, tensor) for name, tensor in self.model.state_dict().items()
        }
        states = {
            name: {key: self.gathered(name, value) for key, value in state.items()}
            for name, state in states_by_name(self.model, self.optimizer).items()
        }
        if self.mesh.get_local_rank() > 0:
            return None
        model = Transformer(self.model.config)
        model.load_state_dict(weights)
        optimizer = new_optimizer(model, self.config)
        for name, parameter in model.named_parameters():
            optimizer.state[parameter] = states[name]
        return Whole(model, optimizer)

    def gathered(self, name: str, value: Tensor) -> Tensor:
        """On the first rank whole, on the CPU; elsewhere what it is."""
        value = value.detach()
        first, group = self.mesh.get_local_rank() == 0, self.mesh.get_group()
        if self.is_slice(name, value):
            parts = [torch.empty_like(value) for _ in range(self.mesh.size() if first else 0)]
            with reaching(group):
                distributed.gather(value.contiguous(), parts or None, group=group, group_dst=0)
            value = torch.cat([part.cpu() for part in parts]) if first else value
        return value.cpu() if first else value

    def serve(self) -> None:
        """Compute for the first rank while it reads alone; it calls this when it has read."""
        with autocast(self.model.embedding.weight):
            serve(self.model, top_k=self.model.config.top_k)


def new_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    on_gpu = parameters[0].is_cuda
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=on_gpu)


def average(own: list[Tensor]) -> None:
    """In place, over all ranks, in one exchange."""
    flat = add_up(torch.cat([gradient.flatten() for gradient in own]))
    flat /= distributed.get_world_size()
    for gradient, mean in zip(own, flat.split([g.numel() for g in own]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def states_by_name(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, dict[str, Tensor]]:
    return {name: optimizer.state[parameter] for name, parameter in model.named_parameters()}
