"""Recognises the retries of libraries that count them in no header, by their code on the stack.

A library's automatic retry runs inside the very function call that failed, which counts its tries. So the stack is
searched for that function by module and name, and only after a failure in the same thread.

=======================================================  ==============================================
library                                                  its retry, as seen
=======================================================  ==============================================
zai-sdk 0.2.3, zhipuai 2.1.5                             ``_http_client``: inside ``_retry_request``
openai before 1.45, anthropic, groq of that generation   ``_base_client``: inside ``_retry_request``
cohere 7.3.1                                             ``core.http_client``: ``request`` with ``retries``
dashscope 2.0.2                                          ``http_request``: ``_send_with_retry`` with an error
=======================================================  ==============================================

A user's own loop makes a new call each time, and is never recognised as one of these. Two other kinds of retries are
not recognised either, since they outlive an outage: those that a user has to ask for (``RetryConfig`` of mistralai,
``retry_options`` of google-genai, ``num_retries`` of litellm), and those with a time limit of their own
(google-api-core, 60 s).
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
"""By module, the function that runs only for a retry."""

_TELLING_VARIABLES = {
    "cohere.core.http_client": ("request", "retries"),
    "dashscope.api_entities.http_request": ("_send_with_retry", "e"),
}
"""By module, a function and its variable that counts the retries or holds the error of the last try."""


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
            value = variables.get(variable)
            if isinstance(variables, dict):
                # Up to CPython 3.12 the frame keeps the dictionary. An error in it, whose traceback keeps the frame,
                # would stay with the frame until a garbage collection.
                variables.clear()
            if value:
                return True
        frame = frame.f_back
    return False
