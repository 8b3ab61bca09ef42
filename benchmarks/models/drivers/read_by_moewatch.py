"""moewatch: `audit`, which counts tokens by expert."""

import moewatch
import torch

from benchmarks.models.drivers.reading import Layer, Subject, drive


def read(subject: Subject, text: str) -> list[Layer]:
    inputs = subject.inputs(text)
    config = moewatch.WatchConfig(sample_every=1, output="silent")
    report = moewatch.audit(subject.model, [inputs], steps=1, config=config, verbose=False)
    if not report.utilization():
        raise ValueError("its report names no layer")
    tokens = inputs["input_ids"].numel()
    shares = [torch.tensor(layer.utilization) for layer in report.utilization().values()]
    return [Layer(counts=(share * tokens).round().long()) for share in shares]


if __name__ == "__main__":
    drive(read, package="moewatch")
