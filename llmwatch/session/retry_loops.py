"""Libraries that send again by themselves and count it in no header: where their own code stands tells it.

A library's automatic retry is made further down in the very call of a function that failed, and that function knows how
often it has. So the stack is looked at for it, by module and name, and only after a failure in the same thread.

=======================================================  ==============================================
library                                                  its retry, as seen
=======================================================  ==============================================
zai-sdk 0.2.3, zhipuai 2.1.5                             ``_http_client``: inside ``_retry_request``
openai before 1.45, anthropic, groq of that generation   ``_base_client``: inside ``_retry_request``
cohere 7.3.1                                             ``core.http_client``: ``request`` with ``retries``
dashscope 2.0.2                                          ``http_request``: ``_send_with_retry`` with an error
=======================================================  ==============================================

A loop of the user's own begins each time anew, and is never taken for one of these. Nor are retries that a library
makes only where its user has asked for them (``RetryConfig`` of mistralai, ``retry_options`` of google-genai,
``num_retries`` of litellm), or for as long as a time of its own lasts (google-api-core, 60 s): these outlive an outage.
"""

from __future__ import annotations

import sys
from types import FrameType

__all__ = ["is_retry"]

_RETRY_FUNCTIONS = {
    "zai.core._http_client": "_retry_request",
    "zhipuai.core._http_client": "_retry_request",
    "openai._base_client": "_retry_request",
    "anthropic._base_client": "_retry_request",
    "groq._base_client": "_retry_request",
}
"""By module, the function that is called for nothing else."""

_TELLING_VARIABLES = {
    "cohere.core.http_client": ("request", "retries"),
    "dashscope.api_entities.http_request": ("_send_with_retry", "e"),
}
"""By module, a function, and its variable that counts the retries, or holds the error that one is for."""


def is_retry() -> bool:
    """Whether this thread is inside a library's own retry."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if _RETRY_FUNCTIONS.get(module) == name:
            return True
        function, variable = _TELLING_VARIABLES.get(module, ("", ""))
        if function == name:
            variables = frame.f_locals
            telling = variables.get(variable)
            if isinstance(variables, dict):
                # Up to CPython 3.12 the frame keeps it. With an error in it, whose traceback keeps the frame, both
                # would stay until a garbage collection.
                variables.clear()
            if telling:
                return True
        frame = frame.f_back
    return False
