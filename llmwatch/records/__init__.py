"""What is remembered: attempts, calls and decisions; and where they go."""

from llmwatch.records.attempt import CAUSES, PHASES, AttemptRecord, Timings
from llmwatch.records.call import CallRecord
from llmwatch.records.decision import Decision, DecisionRecord, Recovery
from llmwatch.records.sinks import IncidentLog, JsonLinesSink, Sink, log_incident, losses, notify, untold

__all__ = [
    "CAUSES",
    "PHASES",
    "AttemptRecord",
    "CallRecord",
    "Decision",
    "DecisionRecord",
    "IncidentLog",
    "JsonLinesSink",
    "Recovery",
    "Sink",
    "Timings",
    "log_incident",
    "losses",
    "notify",
    "untold",
]
