"""Entry points for existing code on requests: a session, a mount, and all sessions of the process."""

from llmwatch.session.every_session import unwatch_sessions, watch_sessions
from llmwatch.session.session import Session, mount

__all__ = ["Session", "mount", "unwatch_sessions", "watch_sessions"]
