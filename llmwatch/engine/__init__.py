"""The base of every entry point: one call, its attempts, and the loop that resends them."""

from llmwatch.engine.notices import DelayNotice, Notice, NoticeCallback, ProgressNotice, RetryNotice, WaitNotice
from llmwatch.engine.resend import Resend

__all__ = ["DelayNotice", "Notice", "NoticeCallback", "ProgressNotice", "Resend", "RetryNotice", "WaitNotice"]
