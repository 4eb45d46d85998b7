"""What a call log says: which limits fit, and what happened, as numbers and as a page.

Everything but :mod:`llmwatch.report.page` and :mod:`llmwatch.report.plots` is pure and needs no library.
"""
