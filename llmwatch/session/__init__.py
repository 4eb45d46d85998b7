"""Entry points for existing code on requests: a session, a mount, and all sessions of the process."""

from llmwatch.session.install import install, uninstall
from llmwatch.session.session import Session, mount

__all__ = ["Session", "install", "mount", "uninstall"]
