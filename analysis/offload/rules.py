"""The rules by which a cache gives up an expert, by number and by name."""

LRU, LFU, FIXED, LEAST_STALE, BELADY = range(5)
TRANSITIONS, PREVIOUS_TOKEN = "prefetch_transitions", "prefetch_previous_token"
FITTED = ("fixed", TRANSITIONS)  # to other groups
RULES = {  # by name, the bound first
    "belady": BELADY,
    "lru": LRU,
    "lfu": LFU,
    "fixed": FIXED,
    "least_stale": LEAST_STALE,
    TRANSITIONS: LRU,
    PREVIOUS_TOKEN: LRU,
}
