"""plumb-moe: its hooks and its counter, which count activations by expert.

`Session`, which ties the two together, cannot be imported where numa_topology is not installed,
and the package does not ask for it.
"""

import torch
from plumb.counter import ActivationCounter
from plumb.hook import ProfilingHooks

from benchmarks.models.drivers.reading import Layer, Subject, drive


def read(subject: Subject, text: str) -> list[Layer]:
    inputs = subject.inputs(text)
    subject.model(**inputs)  # for top_k, which is asked for
    top_k = subject.top_k
    subject.ran.clear()
    counter = ActivationCounter()
    with ProfilingHooks(counter) as hooks:
        attached = hooks.attach(subject.model, top_k=top_k)
        subject.model(**inputs)
    counted = counter.snapshot()
    if not counted:
        raise ValueError(f"it attaches to {attached} layers and counts 0")
    layers: dict[int, torch.Tensor] = {}
    for (layer, expert), tokens in sorted(counted.items()):
        counts_E = layers.setdefault(layer, torch.zeros(1_024, dtype=torch.long))
        counts_E[expert] += tokens
    return [Layer(counts=counts_E) for counts_E in layers.values()]


if __name__ == "__main__":
    drive(read, package="plumb-moe")
