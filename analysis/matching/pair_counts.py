"""How often two experts were chosen at one place. Compiled: pairs are counted as they are met.

P = places, K = choices, E and F = experts of the first and the second model.
"""

from data.compiled import compiled


@compiled()
def add_pairs(ids_PK, other_PK, size_P, shift, both_EF):  # type: ignore[no-untyped-def]
    """To both_EF the size of every place at which the first chose e, and the second f so many
    places before. Below 0: none."""
    num_places = len(ids_PK)
    for place in range(num_places):
        other = (place - shift) % num_places
        for expert in ids_PK[place]:
            if expert < 0:
                continue
            for other_expert in other_PK[other]:
                if other_expert >= 0:
                    both_EF[expert, other_expert] += size_P[place]
