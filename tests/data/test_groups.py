"""Which texts are one piece of evidence."""

import random

import pytest

from data.groups import GroupDomains, TextGroups, with_groups
from data.routing import Document


def words(seed: int, count: int = 400) -> str:
    """About 6 bytes a word; texts of two seeds share no long sequence."""
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefgh", k=5)) for _ in range(count))


def edited(text: str, seed: int, *, edits: int = 4) -> str:
    rng, every = random.Random(seed), text.split(" ")
    for _ in range(edits):
        every[rng.randrange(len(every))] = f"edit{rng.randrange(1000)}"
    return " ".join(every)


def grouped(texts: list[str], domains: list[str | None] | None = None) -> list[str | None]:
    documents = [
        Document(doc_id=doc_id, text=text, domain=domains[doc_id] if domains else "math")
        for doc_id, text in enumerate(texts)
    ]
    return [document.group for document in with_groups(documents)[0]]


def test_equal_texts_are_one_group_however_short() -> None:
    one, other, alone = grouped(["hi", "hi", "ho"])
    assert one == other is not None
    assert alone is None


def test_texts_with_a_few_other_words_are_one_group() -> None:
    found = grouped([words(1), words(2), edited(words(1), 7), words(3)])
    assert found[0] == found[2] is not None
    assert found[1] is found[3] is None


def test_a_text_that_is_in_another_one_is_one_with_it() -> None:
    part, whole = grouped([words(1)[:800], words(1) + words(2)])
    assert part == whole is not None


def test_near_duplicates_of_near_duplicates_are_one_group() -> None:
    first, second, third = words(1, count=300), words(2, count=300), words(3, count=300)
    chain = grouped([first + second, second + words(4, count=60), second + third, third])
    assert len(set(chain)) == 1
    assert chain[0] is not None


def test_groups_lie_within_a_domain() -> None:
    found = grouped(["hi", "hi", "hi", "hi"], ["math", "code", "math", None])
    assert found[0] == found[2] is not None
    assert found[1] is found[3] is None


def test_short_texts_of_a_template_stay_apart() -> None:
    asked = "Translate the following sentence into French and keep its register:"
    assert set(grouped([f"{asked} {words(seed, count=8)}" for seed in range(50)])) == {None}


def test_a_template_of_two_thirds_does_not_join_its_texts() -> None:
    template = words(0, count=270)
    found = grouped([f"{template} {words(seed, count=130)}" for seed in range(1, 201)])
    assert found.count(None) >= 180


def test_copies_in_a_template_are_joined_and_no_others() -> None:
    template = words(0, count=270)
    originals = [f"{template} {words(seed, count=130)}" for seed in range(1, 101)]
    found = grouped([*originals, edited(originals[0], 5)])
    assert found[0] == found[100] is not None
    assert len(set(found)) <= 10


def test_many_copies_of_one_text_are_one_group_or_few() -> None:
    found = grouped([edited(words(1), seed, edits=3) for seed in range(50)])
    assert len(set(found)) <= 5


def test_generated_problems_stay_apart() -> None:
    rng = random.Random(0)
    problems = [
        f"Solve for x in the equation {rng.randrange(99)}x + {rng.randrange(99)} = 7. Give the "
        f"number {rng.randrange(10**9)} times, and say how you found it."
        for _ in range(300)
    ]
    assert set(grouped(problems)) == {None}


def test_a_group_is_named_by_its_first_text_alone() -> None:
    assert grouped(["a", "b", "b"])[1] == grouped(["b", "b"])[0]


def test_what_was_joined_is_counted() -> None:
    texts = TextGroups()
    for doc_id, (text, group) in enumerate([("a", None), ("a", None), ("b", None), ("a", "given")]):
        texts.add(doc_id, text, "math", group)
    named, grouping = texts.groups()
    assert sorted(named) == [0, 1]
    assert grouping.described() == {"from": "column", "documents": 4, "groups": 3, "joined": 1}
    assert grouping.in_words() == (
        "1 of 4 texts are equal or nearly equal to another and count as one with it (3 groups)"
    )


def test_a_group_of_two_domains_is_refused_where_it_happens() -> None:
    groups = GroupDomains()
    for group, domain in (("Emma", "math"), (None, "code"), ("Emma", "math"), ("Ulysses", None)):
        groups.check(group, domain, "p.csv:1")
    with pytest.raises(ValueError, match="group 'Ulysses' has texts of unlabelled and of"):
        groups.check("Ulysses", "code", "p.csv:9")
