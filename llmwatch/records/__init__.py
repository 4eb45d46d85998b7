"""Records of calls, attempts and decisions, and the sinks that take them."""

from llmwatch.records.attempt import CAUSES, PHASES, AttemptRecord, Timings
from llmwatch.records.call import CallRecord
from llmwatch.records.decision import Decision, DecisionRecord, Recovery
from llmwatch.records.sinks import JsonLinesSink, Sink

__all__ = [
    "CAUSES",
    "PHASES",
    "AttemptRecord",
    "CallRecord",
    "Decision",
    "DecisionRecord",
    "JsonLinesSink",
    "Recovery",
    "Sink",
    "Timings",
]
