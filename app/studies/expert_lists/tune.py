"""Which experts to train for the texts of a domain, as ESFT selects them.

N = groups, L = MoE layers, E = routed experts.
"""

from itertools import permutations

import numpy as np
import pandas as pd

from analysis.halves import judging_half
from analysis.lists import lists as expert_lists
from analysis.lists.lists import Choose, HeldOut
from app.studies.expert_lists.subject import (
    ExpertList,
    Settings,
    Subject,
    agreed,
    measured_table,
    percent,
    surely,
    written,
)
from data.exports import esft, peft
from data.routing import UNLABELLED, LayerDescription

COUNTED = {"token": "choices", "gate": "weight"}
OTHERS = "all others"


def make(subject: Subject, settings: Settings) -> ExpertList:
    """ValueError: the trace lacks the domain or weights."""
    present, experts_L = subject.present(), subject.experts_L
    domain = settings.domain or present[0]
    of_N = subject.in_domain(domain)
    domains = [name for name in present if subject.in_domain(name).sum() > 1]
    amount_NLE = subject.amounts(settings.score)
    choose = expert_lists.until(settings.top_p)
    of = amount_NLE[of_N], subject.domain_id_N[of_N], choose
    amount_LE = of[0].sum(0, dtype=np.float64)
    listed_LE = expert_lists.chosen(amount_LE, choose, experts_L=experts_L)
    sure_LE = expert_lists.listed_share(*of, experts_L=experts_L)
    half_N = judging_half(amount_NLE.sum((1, 2), dtype=np.float64), subject.domain_id_N)
    held = expert_lists.held_out(
        amount_NLE,
        subject.domain_id_N,
        choose,
        experts_L=experts_L,
        choosing_N=of_N,
        half_N=half_N,
    )
    measured = _measured(subject, held, domain)
    total_L1 = np.maximum(amount_LE.sum(-1, keepdims=True), 1e-300)

    def files(layers: tuple[LayerDescription, ...]) -> dict[str, object]:
        best = np.argsort(-np.rint(amount_LE / total_L1 * 1e4), axis=-1, kind="stable")
        selected = [
            order_E[listed_E[order_E]] for order_E, listed_E in zip(best, listed_LE, strict=True)
        ]
        return {"esft": esft.expert_config(layers, selected)}

    made, unwritten = written(subject, files)
    for_peft, no_peft = written(
        subject, lambda layers: {"peft": peft.target_modules(layers, listed_LE)}
    )
    return ExpertList(
        settings=settings,
        answer=_answer(
            measured, listed_LE, experts_L, COUNTED[settings.score], by_others=held.by_others
        ),
        experts=subject.all_experts().assign(
            listed=subject.of_experts(listed_LE),
            share=subject.of_experts(amount_LE / total_L1),
            sure=subject.of_experts(sure_LE),
        ),
        value_LE=surely(sure_LE, listed_LE, experts_L),
        listed_LE=listed_LE,
        measured=measured,
        by_others=held.by_others,
        notes=(agreed(held), *_alone(present), *subject.too_few()),
        more=_targets(subject, amount_NLE, half_N, domains, choose) if len(domains) > 1 else {},
        files=made | for_peft,
        unwritten=unwritten or no_peft,
    )


def _measured(subject: Subject, held: HeldOut, domain: str) -> pd.DataFrame:
    """The domain first, which alone has a bound; then all others together, and each."""
    own_N = subject.in_domain(domain)
    of = {name: subject.in_domain(name) for name in subject.present() if name != domain}
    if len(of) > 1:
        of = {OTHERS: ~own_N} | of
    rows = {domain: held.measured(own_N, most=True)}
    rows |= {name: held.measured(of_N, most=None) for name, of_N in of.items()}
    groups = {name: int(of_N.sum()) for name, of_N in ({domain: own_N} | of).items()}
    return measured_table(rows, groups)


def _targets(
    subject: Subject,
    amount_NLE: np.ndarray,
    half_N: np.ndarray,
    domains: list[str],
    choose: Choose,
) -> dict[str, pd.DataFrame]:
    """The lists of all domains side by side, and what they have in common. Each is made of its own
    groups, and measured elsewhere by sums: the groups are read once for all domains."""
    rows, lists, experts_L = [], {}, subject.experts_L
    all_HLE = expert_lists.half_sums(amount_NLE, half_N)
    for domain in domains:
        of_N = subject.in_domain(domain)
        own_NLE, own_half_N = amount_NLE[of_N], half_N[of_N]
        of = own_NLE, subject.domain_id_N[of_N], choose
        held = expert_lists.held_out(*of, experts_L=experts_L, half_N=own_half_N)
        own = held.measured(np.ones(len(own_NLE), dtype=bool), most=True)
        others_HLE = all_HLE - expert_lists.half_sums(own_NLE, own_half_N)
        elsewhere = (others_HLE * held.listed_HLE[::-1]).sum() / max(others_HLE.sum(), 1e-300)
        same, chance = held.agreement()
        lists[domain] = expert_lists.chosen(
            own_NLE.sum(0, dtype=np.float64), choose, experts_L=experts_L
        )
        rows.append(
            {
                "domain": domain,
                "experts": int(lists[domain].sum()),
                **own,
                "elsewhere": float(elsewhere),
                "agreement": same,
                "agreement_chance": chance,
                "n_groups": int(of_N.sum()),
            }
        )
    overlaps = [
        {"domain": one, "other": other}
        | dict(
            zip(
                ("in_common", "chance"),
                expert_lists.overlap(lists[one], lists[other], experts_L),
                strict=True,
            )
        )
        for one, other in permutations(domains, 2)
    ]
    return {"targets_by_domain": pd.DataFrame(rows), "targets_in_common": pd.DataFrame(overlaps)}


def _alone(present: list[str]) -> tuple[str, ...]:
    if len(present) > 1:
        return ()
    return (
        "All texts are of one domain, so it cannot be said whether these experts are special to "
        "it; label texts of two or more.",
    )


def _answer(
    measured: pd.DataFrame,
    listed_LE: np.ndarray,
    experts_L: np.ndarray,
    counted: str,
    *,
    by_others: bool,
) -> str:
    own = measured.iloc[0]
    number, experts = int(listed_LE.sum()), int(experts_L.sum())
    bound = f", and none could carry more than {own.bound:.1%}" if by_others else ""
    where = "had no part in selecting" if by_others else "selected"
    text = (
        f"{number:,} of {experts:,} experts ({number / experts:.1%}) carry {percent(own)} of "
        f"{_whose(own['name'])} {counted}, in texts that {where} them; random ones carry "
        f"{own.chance:.1%}{bound}."
    )
    if len(measured) == 1:
        return text
    other = measured.iloc[1]
    where = "elsewhere" if other["name"] == OTHERS else f"in {other['name']}"
    return f"{text} {where[0].upper()}{where[1:]} they carry {percent(other)}."


def _whose(domain: str) -> str:
    return "the" if domain == UNLABELLED else f"{domain}'s"
