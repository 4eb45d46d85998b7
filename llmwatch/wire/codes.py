"""Numbers that providers give their errors, where nothing but their own list says whether a resend could work.

Sources, each read by the shape of its errors, since the lists use the same numbers for different things:

* Baidu (``error_code``, ``error_msg``): the list of error codes of its reference (cloud.baidu.com/doc/WENXINWORKSHOP,
  2025-09) and what qianfan 0.4.12.3 and erniebot 0.5.9 ask again for. A limit of the day (17) or in all (19) stays, and
  so does a token that is invalid (110) or has expired (111): the same request would bring it again.
* MiniMax (``base_resp``): its list of error codes (platform.minimax.io, 2026).
* Zhipu (``error`` with a ``code`` and no type): its list (docs.bigmodel.cn, 2026). Used up quotas and debts stay.
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
    """Whether a resend could work after the error in ``said``, the JSON of an event or of a body, by its number;
    ``None`` where no list has its kind of error, and its words have to tell.
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
        # Baidu's rate limits, as its page on them shows them.
        return str(value["code"]) in _BAIDU
    if isinstance(error, dict) and not error.get("type") and str(error.get("code")) in _ZHIPU:
        return True
    return None
