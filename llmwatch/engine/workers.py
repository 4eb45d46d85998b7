"""From the settings of a call to the work of each of its attempts."""

from __future__ import annotations

import os
import sys

from llmwatch.engine.call import MakeWork, Work
from llmwatch.engine.exchange import Exchange
from llmwatch.engine.passthrough import PassthroughExchange
from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import CallOptions, RequestKind, Settings
from llmwatch.policy import EffectiveLimits, resolve_keepalive, resolve_max_body, resolve_max_event
from llmwatch.transport.prepared import PreparedSender
from llmwatch.transport.sender import Opener
from llmwatch.wire import MAX_EVENT

__all__ = ["exchanges", "passthroughs"]


def exchanges(sender: Opener, settings: Settings, options: CallOptions) -> MakeWork:
    """An :class:`Exchange` for each attempt, over the connections of ``sender``."""
    keepalive = resolve_keepalive(settings.keepalive, os.environ)
    max_event = resolve_max_event(settings.max_event, os.environ, default=MAX_EVENT)
    max_body = resolve_max_body(settings.max_body, os.environ)

    def make(request: CallRequest, limits: EffectiveLimits) -> Work:
        exchange = Exchange(
            sender=sender,
            request=request,
            limits=limits,
            keepalive=keepalive,
            max_event=max_event,
            max_body=max_body,
            dialect=settings.dialect,
            wall=settings.clock.wall,
        )
        return exchange.run_plain if options.plain else exchange.run_stream

    return make


def passthroughs(sender: PreparedSender, settings: Settings, options: CallOptions) -> MakeWork:
    """A :class:`PassthroughExchange` for each attempt, over the connections of ``sender``."""
    keepalive = resolve_keepalive(settings.keepalive, os.environ)
    max_event = resolve_max_event(settings.max_event, os.environ, default=MAX_EVENT)
    max_body = resolve_max_body(settings.max_body, os.environ)

    def make(request: CallRequest, limits: EffectiveLimits) -> Work:
        return PassthroughExchange(
            sender=sender,
            request=request,
            limits=limits,
            keepalive=keepalive,
            max_event=max_event,
            # Only the answer of a model call is bounded.
            max_body=sys.maxsize if options.request_kind is RequestKind.OTHER and not options.redirected else max_body,
            dialect=settings.dialect,
            wall=settings.clock.wall,
            request_kind=options.request_kind,
            findable=sender.findable,
            strict=options.strict,
            redirected=options.redirected,
            whole=options.whole,
            documents_whole=options.documents_whole,
            trust_advice=sender.trust_advice,
        ).run

    return make
