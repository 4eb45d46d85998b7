"""The entry point for functions and iterators, watched from outside."""

from llmwatch.wrap.calling import call
from llmwatch.wrap.current import beat, on_abort, paused
from llmwatch.wrap.decorating import watched
from llmwatch.wrap.iterating import Iterating, iterate

__all__ = ["Iterating", "beat", "call", "iterate", "on_abort", "paused", "watched"]
