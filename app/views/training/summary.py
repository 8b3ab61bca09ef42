"""A training in words."""

from math import isnan

from analysis.specialization import MIN_DOMAIN_TOKENS
from app.views.training import tables
from app.views.training.record import TrainingRecord


def domains(record: TrainingRecord) -> list[str]:
    """Of the snapshots, then of the log."""
    sampled = record.snapshots.domains if record.snapshots else ()
    logged = [*record.domain_loss.domain, *record.domain_share.domain]
    return list(dict.fromkeys([*sampled, *logged]))


def headline(record: TrainingRecord) -> list[tuple[str, str, str]]:
    log, figures = record.log, []
    if not log.empty:
        last = log.iloc[-1]
        figures += [
            ("Tokens read", amount(last.tokens), _progress(record)),
            (
                "Final loss" if record.state == "finished" else "Loss",
                f"{last.loss:.3f}",
                f"first {log.loss.iloc[0]:.2f} nats",
            ),
        ]
        now = record.layers[record.layers.step == last.step].max_violation
        if not now.empty:
            at = "at the end" if record.state == "finished" else "now"
            figures.append(("Worst MaxVio", f"{now.max():.2f}", f"{at}; balanced 0"))
    if record.snapshots is not None and tables.compares_domains(record):
        own = tables.last_share(record.snapshots_identity, _snapshots=record.snapshots)
        span = "" if isnan(own.low) else f"{own.low:.0%} to {own.high:.0%}, "
        figures.append(
            ("Experts with a domain", f"{own.share:.0%}", f"{span}by chance {own.null:.0%}")
        )
    if record.bits is not None:
        whole = record.bits.set_index("domain").loc["all"]
        twin = f"dense twin {whole.dense:.3f}" if "dense" in whole else "on held-out text"
        figures.append(("Bits per byte", f"{whole.moe:.3f}", twin))
    return figures


def missing(record: TrainingRecord) -> list[str]:
    """What is not there, or not there yet."""
    lines = []
    if record.log.empty:
        lines.append("The log has no line yet.")
    if record.snapshots is None and record.state == "running":
        lines.append(
            "There is no snapshot yet: experts by domain, saturation and the animation appear with "
            "the first one."
        )
    elif record.snapshots is None:
        lines.append("No routing was recorded during this training, so it has no snapshots.")
    elif not tables.compares_domains(record):
        lines.append(
            "The texts of the snapshots belong to one domain, so there are no domains to compare."
        )
    return lines


def _progress(record: TrainingRecord) -> str:
    step = int(record.log.step.iloc[-1])
    if record.state == "finished":
        return f"{step:,} steps"
    return f"step {step:,} of {record.num_steps:,}"


def answer(record: TrainingRecord) -> str:
    """State, result and what the routers did, as far as each is known."""
    return " ".join(part for part in (_state(record), _result(record), _routers(record)) if part)


def _state(record: TrainingRecord) -> str:
    if record.state == "finished" or record.log.empty:
        return ""
    step = int(record.log.step.iloc[-1])
    stage = record.stage_at(step)
    where = f"step {step:,} of {record.num_steps:,}" + (f", stage {stage}" if stage else "")
    if record.state == "running":
        return f"Running: {where}."
    return f"Stopped at {where}; run the same command to continue."


def _result(record: TrainingRecord) -> str:
    if record.bits is not None and "dense" in record.bits:
        whole = record.bits.set_index("domain").loc["all"]
        gain = 1 - whole.moe / whole.dense
        better = "better" if gain > 0 else "worse"
        return (
            f"On held-out text the MoE is {abs(gain):.1%} {better} than a dense model of the same "
            "activated size trained on the same tokens."
        )
    if record.log.empty:
        return ""
    first, last = record.log.loss.iloc[[0, -1]]
    return f"The loss went from {first:.2f} to {last:.2f} nats per token."


def _routers(record: TrainingRecord) -> str:
    mean = tables.saturation(record).groupby("step")[["saturation", "null"]].mean()
    if len(mean) < 2:
        return ""
    half = mean[mean.saturation >= 0.5].iloc[0]
    final = "final choices" if record.state == "finished" else "choices of the latest snapshot"
    return (
        f"By step {half.name:,} of {mean.index[-1]:,}, {half.saturation:.0%} of the {final} were "
        f"already made; {half.null:.0%} would agree by chance."
    )


def experts_note(record: TrainingRecord) -> str:
    """How the experts of a snapshot are counted, and what its sample is too small for."""
    assert record.snapshots is not None
    small = tables.too_small(record.snapshots)
    few = (
        f" An expert needs {MIN_DOMAIN_TOKENS} choices to be assigned to a domain; "
        f"{small:.0%} of the experts have fewer in this sample."
        if small
        else ""
    )
    return (
        f"Counted in {len(record.snapshots.domain_id_N)} held-out texts. Dotted: the same with "
        f"labels shuffled over the texts, averaged over the domains.{few}"
    )


def amount(tokens: float) -> str:
    for size, unit in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if tokens >= size:
            return f"{tokens / size:.2f}{unit}"
    return f"{tokens:.0f}"
