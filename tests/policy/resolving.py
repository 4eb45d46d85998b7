"""Resolution as the tests use it: an empty environment unless one is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmwatch.policy.effective import EffectiveLimits, resolve_limits


def resolve(environ: Mapping[str, str] | None = None, **settings: Any) -> EffectiveLimits:
    """resolve_limits, with an empty environment by default."""
    return resolve_limits(environ=environ or {}, **settings)
