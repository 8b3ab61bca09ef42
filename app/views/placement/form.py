"""What a user decides about a map."""

import tempfile
from pathlib import Path

import streamlit as st

from analysis.expert_bytes import expert_groups
from analysis.placement.maps import Placement
from analysis.placement.policies import POLICIES
from app import workspace
from app.studies.placement import Settings, usual_gpus
from app.studies.placement_files import read_current
from app.studies.placement_words import TITLES
from app.trace import Trace, open_trace
from app.views.shared import controls, domain_chooser
from data.labels import ALL_DOMAINS
from data.routing import MOST_PLACES, PHASES

MEGABYTES = 16  # of a map
LONGEST_NAME = 60  # of a file, in characters, which every file system takes
GPUS = "They share the experts of every layer, equally many each."
NODES = "Machines that share the GPUs."
REDUNDANT = "Places of a layer beyond one for each expert, for copies of busy ones."
GROUPS = "Of experts, from which a token may choose only some: EPLB gives whole ones to nodes."
BATCH = "Tokens that a forward pass decodes together, for the experts that it reads."
LATER_HALF = "second half of this trace"


def asked(trace: Trace) -> Settings:
    """From the controls, which stand in the link."""
    experts = trace.info.num_experts
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        gpus = _number("GPUs", usual_gpus(experts), key="gpus", help=GPUS)
        nodes = _number("Nodes", 1, key="nodes", help=NODES)
        redundant = _number("Redundant", 0, key="redundant", help=REDUNDANT, least=0)
        groups = _number("Groups", expert_groups(trace.info), key="groups", help=GROUPS)
        batch = _number("Batch", 64, key="batch", help=BATCH, most=2**20)
        phases = [phase for phase in PHASES if phase not in trace.domains]
        names = [ALL_DOMAINS, *phases, *trace.domains]
        texts = domain_chooser.domain_of("Texts", names, phases=phases, width=160)
    titles = {TITLES[policy]: policy for policy in POLICIES}
    chosen = controls.choice("Policy", list(titles), key="policy", default=TITLES["eplb"])
    phase = texts if texts in phases else None
    domain = None if phase or texts == ALL_DOMAINS else texts
    return Settings(
        gpus=gpus,
        nodes=nodes,
        redundant=redundant,
        groups=groups,
        policy=titles[chosen],
        phase=phase,
        domain=domain,
        batch=batch,
    )


def _number(
    label: str, usual: int, *, key: str, help: str, least: int = 1, most: int = MOST_PLACES
) -> int:
    return st.number_input(
        label, least, most, usual, step=1, key=key, bind="query-params", help=help, width=100
    )


def current_map(trace: Trace, settings: Settings) -> Placement | None:
    """The one that was uploaded. None: there is none, or it does not fit, which is said."""
    with st.expander("The map in use, if experts are not in order", icon=":material/upload_file:"):
        file = st.file_uploader(
            "physical_to_logical_map of SGLang, or vllm-ascend's expert map",
            type=["json", "pt"],
            key="current",
            max_upload_size=MEGABYTES,
        )
        if file is None:
            return None
        if file.size > MEGABYTES << 20:
            st.error(f"The file is larger than {MEGABYTES} MB; maps are smaller.")
            return None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(file.name).name[-LONGEST_NAME:]
            path.write_bytes(file.getvalue())
            try:
                return read_current(path, trace.info, settings)
            except ValueError as error:
                named = ValueError(str(error).replace(f"{folder}/", ""))
                controls.refused(
                    "This map cannot be used; the map in order is used instead.", named
                )
                return None


def later_trace(trace: Trace) -> Trace | None:
    """The trace of later texts; None: the second half of this one."""
    others = {file.name: file for file in workspace.traces()[0] if file.name != trace.name}
    names = [LATER_HALF, *others]
    name = st.selectbox("Later texts", names, key="today", bind="query-params", width=320)
    return None if name == LATER_HALF else open_trace(others[str(name)])
