"""Providers' error numbers, where only the provider's list says whether a resend could work.

The lists use the same numbers for different errors, so the shape of the error selects the list. Sources:

* Baidu (``error_code``, ``error_msg``): the error codes of Baidu's reference (cloud.baidu.com/doc/WENXINWORKSHOP,
  2025-09), and the codes that qianfan 0.4.12.3 and erniebot 0.5.9 retry. A daily limit (17), a total limit (19), and an
  invalid (110) or expired (111) token are final: the same request would get the same error.
* MiniMax (``base_resp``): the list of error codes (platform.minimax.io, 2026).
* Zhipu (``error`` with a ``code`` and no type): the list of error codes (docs.bigmodel.cn, 2026). Exhausted quotas and
  unpaid bills are final.
"""

from __future__ import annotations

import json

__all__ = ["may_pass"]

# Unknown error, unavailable, limit of a cluster, no app for the moment, requests a second, internal error, busy,
# requests a minute, tokens a minute.
_BAIDU = frozenset(("1", "2", "4", "15", "18", "336000", "336100", "336501", "336502"))
# Unknown error, timeout, rate limit, internal error, system error.
_MINIMAX = frozenset(("1000", "1001", "1002", "1024", "1033"))
# Network error, concurrency or rate, frequency, overload, overload of a model.
_ZHIPU = frozenset(("1234", "1302", "1303", "1305", "1312"))


def may_pass(said: bytes | str) -> bool | None:
    """Whether a resend could work after the error in ``said``, by the number of the error.

    ``said`` is the JSON text of an event or a body. ``None`` if no list covers this kind of error, so that the words of
    the error decide.
    """
    try:
        value = json.loads(said)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    status, error = value.get("base_resp"), value.get("error")
    if isinstance(status, dict) and status.get("status_code"):
        return str(status["status_code"]) in _MINIMAX
    if value.get("error_code") and "error_msg" in value:
        return str(value["error_code"]) in _BAIDU
    if "msg" in value and str(value.get("code")).startswith("336"):
        # Baidu's page on rate limits shows this form.
        return str(value["code"]) in _BAIDU
    if isinstance(error, dict) and not error.get("type") and str(error.get("code")) in _ZHIPU:
        return True
    return None
