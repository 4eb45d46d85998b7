"""What a change of the product is tried with."""

from __future__ import annotations

from tests.mutation import PACKAGES, ROOT, chosen_tests, modules_of


def test_every_change_has_its_tests() -> None:
    """Each module of the packages has tests, and those of a file of its own come first."""
    modules = [module for name in PACKAGES for module in modules_of(ROOT / "llmwatch" / name)]
    assert len(modules) > 60
    assert [module for module in modules if not chosen_tests(module)] == []
    assert chosen_tests(ROOT / "llmwatch/recovery/timing.py")[0] == str(ROOT / "tests/recovery/test_timing.py")
    assert chosen_tests(ROOT / "llmwatch/watch/launch.py") == [str(ROOT / "tests/watch/test_launch.py")]
