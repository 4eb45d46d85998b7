"""The folder that ``llmwatch run`` puts on ``PYTHONPATH`` for a moment."""
