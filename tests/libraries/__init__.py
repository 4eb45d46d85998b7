"""Real libraries, each bare and watched, against the same server.

The command is ``python -m pytest --libraries --dist loadgroup``.

They are installed from the package index into environments of their own, since some of them conflict.
"""
