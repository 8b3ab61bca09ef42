"""What several figures say where they cannot be computed."""


def no_tokens(layer_id: int) -> str:
    """Why a layer has no figures."""
    return (
        f"layer {layer_id} has no routed tokens; capture a trace with tokens, or choose another "
        "domain or phase"
    )


def one_domain() -> str:
    """Why domains are not compared."""
    return (
        "all routed tokens are of one domain; specialization compares domains: capture documents "
        "of two or more, labelled in a domain column"
    )


def too_few_choices(layer_id: int, min_tokens: int) -> str:
    """Why experts are not compared."""
    return (
        f"layer {layer_id} has no expert with {min_tokens} choices, too few to tell experts apart; "
        "capture more text"
    )
