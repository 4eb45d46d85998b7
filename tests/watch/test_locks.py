"""How locks are taken in the caller's thread."""

from __future__ import annotations

import ast
from pathlib import Path

import llmwatch

PACKAGE = Path(llmwatch.__path__[0])
LOOPS = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp)


def loops_under_locks() -> set[str]:
    """The functions with a loop in the block of a lock itself."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if "cli" in path.parts or "faults" in path.parts:
            continue
        for block in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(block, ast.With) or "lock" not in ast.unparse(block.items[0].context_expr).lower():
                continue
            if any(isinstance(node, LOOPS) for node in ast.walk(block)):
                found.add(f"{path.relative_to(PACKAGE).as_posix()}:{block.lineno}")
    return found


def test_no_loop_stands_in_the_block_of_a_lock() -> None:
    """No loop stands in the block of a lock, except in what workers alone run.

    CPython 3.13 takes signals at the jumps of a loop, which it may leave outside of what the block protects: the lock
    would be held for ever.
    """
    assert {place.split(":")[0] for place in loops_under_locks()} <= {
        "watch/attempt.py",  # the end of a worker
        "transport/sender.py",  # the cookies of an answer, which a worker takes
        "engine/hosts.py",  # the first byte of an answer, which a worker reads
    }
