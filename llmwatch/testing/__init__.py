"""For tests of programs that use llmwatch: calls without waits, and with limits of a test's size.

In a ``conftest.py`` of pytest, for the whole run::

    import llmwatch.testing

    llmwatch.testing.no_waiting()
    llmwatch.testing.scaled_limits(0.01)
"""

from llmwatch.testing.overriding import Overriding, no_waiting, scaled_limits

__all__ = ["Overriding", "no_waiting", "scaled_limits"]
