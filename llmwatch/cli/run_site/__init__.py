"""The folder that ``llmwatch run`` puts on ``PYTHONPATH`` until the script begins."""
