"""The routes of a proxy: names that begin a path, each with its upstream. Nothing else is reached."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from llmwatch.errors import ConfigError

__all__ = ["PUBLIC_HOSTS", "Route", "Routes", "Unroutable"]

PUBLIC_HOSTS: Mapping[str, str] = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}
"""The upstreams that a proxy has unless it is told to have only those given to it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TARGET = re.compile(r"/[!-~]*")


class Unroutable(Exception):
    """A request's target leads nowhere; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """``name``, the first part of a path, and ``url``, which takes its place."""

    name: str
    url: str

    @classmethod
    def of(cls, text: str) -> Route:
        """The route that ``NAME=URL`` names. Raises :class:`~llmwatch.ConfigError` for anything else."""
        name, equals, url = text.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise ConfigError(
                f"{text!r} is no route; give NAME=URL, such as local=http://127.0.0.1:8000, with a name of letters,"
                " digits, dots and dashes.",
                field="to",
                value=text,
            )
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
            raise ConfigError(
                f"The URL of the route {name} cannot be used; give http://host/path or https://host/path.", field="to"
            )
        if parts.username is not None or parts.password is not None:
            raise ConfigError(
                f"The URL of the route {name} holds a user or password. Leave them out: the program sends its key.",
                field="to",
            )
        return cls(name=name, url=url.rstrip("/"))


class Routes:
    """The routes by their names. Raises :class:`~llmwatch.ConfigError` for none, and for two of one name."""

    def __init__(self, routes: Iterable[Route], *, public: bool = True) -> None:
        self.by_name: dict[str, Route] = {}
        for route in routes:
            if route.name in self.by_name:
                raise ConfigError(f"Two routes are named {route.name}; give each a name of its own.", field="to")
            self.by_name[route.name] = route
        for name, url in PUBLIC_HOSTS.items() if public else ():
            self.by_name.setdefault(name, Route(name=name, url=url))
        if not self.by_name:
            raise ConfigError("There is no route; give one by --to NAME=URL.", field="to")

    def find(self, target: str) -> tuple[Route, str]:
        """The route of a request's ``target``, and the URL to send the request to.

        Raises :class:`Unroutable` for a target that is not a plain path below a route.
        """
        if not _TARGET.fullmatch(target):
            raise Unroutable("The target is not a path of printable ASCII characters.")
        path, question, query = target.partition("?")
        name, slash, rest = path[1:].partition("/")
        route = self.by_name.get(name)
        if route is None:
            raise Unroutable(f"There is no such route here; a path begins with one of {', '.join(self.by_name)}.")
        if any(unquote(segment) in (".", "..") for segment in re.split(r"/|\\|%2[Ff]|%5[Cc]", rest)):
            # The upstream would leave the route's path.
            raise Unroutable("The path has a segment of dots.")
        return route, f"{route.url}{slash}{rest}{question}{query}"
