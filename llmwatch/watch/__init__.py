"""The watchdog: clock, state machine, supervisor, attempts."""

from llmwatch.watch.attempt import Attempt
from llmwatch.watch.cancel import CancelToken
from llmwatch.watch.clock import SYSTEM, Clock, ManualClock, SystemClock
from llmwatch.watch.interfaces import Aborted, Handle, Observer
from llmwatch.watch.machine import Machine, Phase, Seen, Verdict, VerdictKind
from llmwatch.watch.supervisor import Supervisor

__all__ = [
    "SYSTEM",
    "Aborted",
    "Attempt",
    "CancelToken",
    "Clock",
    "Handle",
    "Machine",
    "ManualClock",
    "Observer",
    "Phase",
    "Seen",
    "Supervisor",
    "SystemClock",
    "Verdict",
    "VerdictKind",
]
