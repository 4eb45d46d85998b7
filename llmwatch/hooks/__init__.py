"""Watches the calls of other libraries in place: what is patched, when, and how it is put back."""

from llmwatch.hooks.install import LIBRARIES, install, uninstall

__all__ = ["LIBRARIES", "install", "uninstall"]
