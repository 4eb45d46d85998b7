"""Made-up keys, tokens, passwords and prompts, and the places that repeat them.

Providers, proxies and libraries repeat them. The secrets are drawn from a seeded generator rather than by hypothesis:
thousands of cases have to take seconds.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

__all__ = ["Plant", "words"]

_LETTERS = string.ascii_letters + string.digits
_URL_SAFE = _LETTERS + "_-"
_WORDS = [
    "the",
    "provider",
    "said",
    "that",
    "error",
    "401",
    "was",
    "found",
    "in",
    "request",
    "17",
    "of",
    "model",
    "gpt-4o-mini;",
    "please,",
    "check",
    "your",
    "settings",
    "'quoted'",
    "{json:",
    "true}",
    "é",
    "漢字",
    "limit",
    "exceeded",
    "for",
    "organisation",
    "tier",
    "2",
]

_MAKES = (
    ("sk-", _LETTERS, 32),
    ("sk-proj-", _URL_SAFE, 40),
    ("sk-ant-api03-", _URL_SAFE, 48),
    ("sk-or-v1-", "0123456789abcdef", 64),
    ("AIza", _URL_SAFE, 35),
    ("ghp_", _LETTERS, 36),
    ("AKIA", string.ascii_uppercase + string.digits, 16),
    ("hf_", _LETTERS, 34),
    ("gsk_", _LETTERS, 52),
    ("xai-", _LETTERS, 60),
)
_BARE = ("{}", "'{}'", "({})", "key {}.", "/{}/", "was given {}, which", "<{}>")
_NAMED = (
    "api_key={}",
    "x-api-key: {}",
    '"api_key": "{}"',
    "Authorization: Bearer {}",
    "'Authorization': 'Bearer {}'",
    "Bearer {}",
    "password={}",
    '"password": "{}"',
    "client_secret={}",
    "access_token={}",
    "Cookie: session={}",
    "Incorrect API key provided: {}.",
    "https://user:{}@db.example.com/x",
    "admin:{}@db.example.com",
    "https://api.example.com/v1?key={}&alt=sse",
    "with url: /v1beta/models?key={} (Caused by X)",
    "https://api.example.com/v1#{}",
)

# Names that people give to things, and gateways to callers: nothing about them looks like a key.
_PLAIN = ["team", "blue", "falcon", "prod", "harbor", "lima", "delta", "acme", "north", "otter", "cedar", "gamma"]
_WRITTEN: tuple[Callable[[str], str], ...] = (
    str,
    str.upper,
    lambda secret: quote(secret, safe=""),
    lambda secret: secret.replace("-", "%2d"),
    lambda secret: secret.replace("-", "\\u002D"),
    lambda secret: json.dumps({"caller": secret}),
)


def words(draw: random.Random) -> str:
    """A few words of an error message."""
    return " ".join(draw.choices(_WORDS, k=draw.randrange(8)))


@dataclass(slots=True)
class Plant:
    """Draws texts and addresses with secrets in them, and remembers those."""

    draw: random.Random
    secrets: list[str] = field(default_factory=list)
    header: str = ""
    cookie: str = ""
    user_info: str = ""
    tool: str = ""

    def __post_init__(self) -> None:
        """What every request of this plant's is sent with."""
        self.header, self.cookie, password, self.tool = (self._plain() for _ in range(4))
        self.user_info = f"user:{password}"
        self.secrets += [self.header, self.cookie, password, self.tool]
        self.secrets.append(base64.b64encode(self.user_info.encode()).decode())

    def _plain(self) -> str:
        names = self.draw.sample(_PLAIN, 3)
        return f"{names[0]}{self.draw.randrange(10)}-{names[1]}-{self.draw.randrange(10**4):04}-{names[2]}"

    @property
    def headers(self) -> dict[str, str]:
        """Headers with secrets of no make, beside a key."""
        cookie = f"theme=dark; session={self.cookie}"
        return {"X-Gateway-Caller": self.header, "Cookie": cookie, "Authorization": f"Bearer {self.key()}"}

    def echo(self) -> str:
        """One of the sent secrets of no known make, in a form in which a server may repeat it."""
        return self.draw.choice(_WRITTEN)(self.draw.choice(self.secrets[:5]))

    def said(self) -> str:
        """An error message of a server that got the request and repeats what came with it."""
        if self.draw.random() < 0.4:
            return self.text()
        return f"{words(self.draw)} {self.draw.choice(_BARE).format(self.echo())} {self.text()}"

    def _some(self, alphabet: str, count: int) -> str:
        return "".join(self.draw.choices(alphabet, k=count))

    def key(self) -> str:
        """A key of a known make, or a token."""
        if self.draw.random() < 0.2:
            parts = (b'{"alg":"HS256"}', self.draw.randbytes(24), self.draw.randbytes(24))
            made = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        else:
            prefix, alphabet, count = self.draw.choice(_MAKES)
            made = prefix + self._some(alphabet, count)
        self.secrets.append(made)
        return made

    def password(self) -> str:
        """A password, which gives nothing away by itself."""
        made = self._some(_LETTERS, self.draw.randrange(12, 30))
        self.secrets.append(made)
        return made

    def prompt(self) -> str:
        """The user's question, which must not be repeated."""
        made = f"My patient {self._some(string.ascii_lowercase, 9)} of {self._some(string.ascii_lowercase, 9)} says:"
        self.secrets.append(made)
        return made

    def text(self) -> str:
        """An error message that repeats keys, tokens and passwords."""
        pieces = [words(self.draw)]
        for _ in range(self.draw.randrange(1, 3)):
            if self.draw.random() < 0.5:
                pieces.append(self.draw.choice(_BARE).format(self.key()))
            else:
                pieces.append(self.draw.choice(_NAMED).format(self.password()))
            pieces.append(words(self.draw))
        return " ".join(pieces)

    def url(self, scheme: str = "https", host: str = "127.0.0.1:9", user_info: str = "") -> str:
        """An address with a password, keys in path, query and fragment."""
        user_info = user_info or f"user:{self.password()}"
        path = self.draw.choice(["/v1/chat/completions", "/v1/{}/messages", "/bot{}/send"]).format(self.key())
        name = self.draw.choice(["key", "api-key", "q", "X-Amz-Signature"])
        return f"{scheme}://{user_info}@{host}{path}?alt=sse&{name}={self.password()}#{self.key()}"

    def error_document(self) -> Any:
        """An error of one of the shapes that providers have, which repeats the prompt beside its message."""
        message, prompt = self.said(), self.prompt()
        word = self.draw.choice(["invalid_request_error", self.key(), self.echo(), f"no_{self.header}"])
        return self.draw.choice(
            [
                {"error": {"message": message, "type": word, "code": word, "param": prompt}, "input": prompt},
                {"type": "error", "error": {"type": word, "message": message}, "request": {"messages": [prompt]}},
                {"type": "error", "code": word, "message": message, "param": prompt, "sequence_number": 3},
                {"error": {"code": 400, "status": word, "message": message, "details": [{"prompt": prompt}]}},
                {"error": message, "prompt": prompt},
                {"detail": [{"loc": ["body", prompt], "msg": message, "input": prompt}]},
                {"message": message, "body": prompt},
                {"object": "error", "message": message, "code": 40301, "param": prompt},
            ]
        )

    def page(self) -> str:
        """A web page whose title repeats secrets and whose body repeats the prompt."""
        return (
            f"<!DOCTYPE html><html><head><title>{self.said()}</title></head><body><p>{self.prompt()}</p></body></html>"
        )

    def body(self) -> bytes:
        """The body of an error status."""
        made = self.draw.random()
        if made < 0.7:
            return json.dumps(self.error_document(), ensure_ascii=self.draw.random() < 0.5).encode()
        if made < 0.85:
            return self.page().encode()
        return self.said().encode()

    def found(self, said: str) -> list[str]:
        """The secrets of which ``said`` holds twelve characters from the middle or the end."""
        traces, lower = [], said.lower()
        plain = self.secrets[:5]
        for secret in self.secrets:
            tail = secret[-24:]
            if tail[:12] in said or tail[-12:] in said or (secret in plain and tail[:12].lower() in lower):
                traces.append(secret)
        return traces
