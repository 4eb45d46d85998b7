"""Records of calls, attempts and decisions, and the sinks that take them.

``help(llmwatch.records.call_log)`` explains the files of :class:`CallLog`, and ``help(llmwatch.records.log)`` the
lines of the logger ``llmwatch``: one for each kill (WARNING), resend (INFO) and failed call (WARNING).
"""

from llmwatch.records.attempt import CAUSES, PHASES, AttemptRecord, Timings
from llmwatch.records.call import CALL_OUTCOMES, CallRecord
from llmwatch.records.call_log import CallLog
from llmwatch.records.decision import DECISION_OUTCOMES, Decision, DecisionRecord, Recovery
from llmwatch.records.evidence import EVIDENCE_KEYS
from llmwatch.records.sinks import JsonLinesSink, Sink

__all__ = [
    "CALL_OUTCOMES",
    "CAUSES",
    "DECISION_OUTCOMES",
    "EVIDENCE_KEYS",
    "PHASES",
    "AttemptRecord",
    "CallLog",
    "CallRecord",
    "Decision",
    "DecisionRecord",
    "JsonLinesSink",
    "Recovery",
    "Sink",
    "Timings",
]
