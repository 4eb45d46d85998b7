"""Made-up secrets, and texts and addresses to plant them in."""

from __future__ import annotations

import base64
import string

from hypothesis import strategies as st

LETTERS = string.ascii_letters + string.digits
URL_SAFE = LETTERS + "_-"


def some(alphabet: str, least: int, most: int) -> st.SearchStrategy[str]:
    """Text of an alphabet, of some length."""
    return st.text(alphabet, min_size=least, max_size=most)


def after(prefix: str, alphabet: str, least: int, most: int = 60) -> st.SearchStrategy[str]:
    """A key of a known make: the prefix of its provider and what follows.

    What follows is not one character throughout.
    """
    return some(alphabet, least, most).filter(lambda rest: len(set(rest)) > 5).map(lambda rest: prefix + rest)


def _token(parts: list[bytes]) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256"}' + parts[0])
    return ".".join(one.decode().rstrip("=") for one in (head, *map(base64.urlsafe_b64encode, parts[1:])))


made = st.one_of(
    after("sk-", LETTERS, 20),
    after("sk-proj-", URL_SAFE, 20),
    after("sk-ant-api03-", URL_SAFE, 20),
    after("sk-or-v1-", "0123456789abcdef", 32, 64),
    after("AIza", URL_SAFE, 30, 35),
    after("ghp_", LETTERS, 30, 36),
    after("github_pat_", LETTERS + "_", 30, 82),
    after("AKIA", string.ascii_uppercase + string.digits, 16, 16),
    after("xoxb-", string.digits + "-", 16),
    after("xoxp-", LETTERS + "-", 16),
    after("hf_", LETTERS, 30, 34),
    after("gsk_", LETTERS, 40, 52),
    after("xai-", LETTERS, 40, 80),
    st.lists(st.binary(min_size=12, max_size=40), min_size=3, max_size=3).map(_token),
)
"""Keys that give themselves away by their make."""

# Bytes that differ, since a key that consists of one repeated letter is none.
_entropy = st.binary(min_size=24, max_size=48).filter(lambda data: len(set(data)) > 16)
long_runs = st.one_of(
    _entropy.map(bytes.hex),
    _entropy.map(lambda data: base64.b64encode(data).decode()),
    _entropy.map(lambda data: base64.urlsafe_b64encode(data).decode()),
)
"""Keys that give themselves away by being long and without sense."""

plain = some(LETTERS, 12, 30)
"""Passwords and tokens that give nothing away by themselves."""

NAMED = (
    "api_key={}",
    "apikey={}",
    "key={}",
    "KEY = {}",
    'api_key: "{}"',
    "api-key: {}",
    "OPENAI_API_KEY={}",
    "x-api-key: {}",
    "X-Goog-Api-Key: {}",
    "'x-api-key': '{}'",
    '{{"api_key": "{}"}}',
    '{{\\"api_key\\": \\"{}\\"}}',
    '{{"key":"{}"}}',
    "password={}",
    'password="{}"',
    "passwd: {}",
    "DB_PASSWORD={}",
    "secret={}",
    "client_secret={}",
    "access_token={}",
    '"refresh_token": "{}"',
    "Authorization: Bearer {}",
    "'Authorization': 'Bearer {}'",
    "b'Authorization': b'Bearer {}'",
    "authorization: {}",
    "Authorization: Basic {}",
    "Authorization: Token {}",
    "Authorization: Digest username={}",
    "proxy-authorization: AWS4-HMAC-SHA256 Credential=AKIA, Signature={}",
    "Bearer {}",
    "bearer {}",
    "auth={}",
    "api key is '{}'",
    "token=b'{}'",
    "passphrase => {}",
    "Cookie: session={}; other=1",
    "Cookie: a=1; b={}",
    "'Cookie': 'a=1; b={}'",
    "Set-Cookie: id={}",
    "X-Amz-Signature={}",
    "API key provided: {}",
    "invalid api key '{}'",
    "https://user:{}@db.example.com/x",
    "postgres://admin:{}@10.0.0.1:5432/db",
    "admin:{}@db.example.com",
    "https://api.example.com/v1?key={}",
    "https://api.example.com/v1?alt=sse&q={}&n=1",
    "https://api.example.com/v1#{}",
    "with url: /v1beta/models?key={} (Caused by X)",
)
_BARE = (
    "{}",
    "'{}'",
    '"{}"',
    "({})",
    "<{}>",
    "[{}]",
    "{},",
    "{}.",
    "key {}",
    "/{}/",
    "https://api.example.com/{}/x",
    "a={}",
)

_PROSE = (
    "the provider said that error 401 was found in request 17 of: model gpt-4o-mini; please, check your settings"
    " https://example.com/docs?lang=en 'quoted' \"double\" {json: true} \n\t é 漢字 key: token password"
)
words = st.lists(st.sampled_from(_PROSE.split(" ")), max_size=12).map(" ".join)

_NAMES = ("key", "alt", "api-version", "X-Amz-Signature", "q[]")
# What stands around the secrets and is kept; a secret that happens to hold a word of it has not survived.
_SCAFFOLD = " ".join((*NAMED, *_BARE, _PROSE, *_NAMES)) + " api.example.com/v1/models/ characters omitted"


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A text and the secrets in it."""
    secrets, pieces = [], [draw(words)]
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            secret, place = draw(st.one_of(plain, made, long_runs)), draw(st.sampled_from(NAMED))
        else:
            secret, place = draw(st.one_of(made, long_runs)), draw(st.sampled_from(_BARE))
        secrets.append(secret)
        pieces += [place.format(secret), draw(words)]
    return " ".join(pieces), secrets


@st.composite
def addresses(draw: st.DrawFn) -> tuple[str, list[str]]:
    """An address and the secrets in it."""
    user, password, value, fragment = (draw(plain) for _ in range(4))
    key = draw(st.one_of(made, long_runs.map(lambda run: run.replace("/", "_"))))
    host = draw(st.sampled_from(["api.example.com", "API.Example.com:8443", "127.0.0.1:8000", "[::1]:80"]))
    path = draw(st.sampled_from(["/v1/{}/chat", "/v1/{}", "/{}", "/bot{}/send", "/v1/models/x:{}"]))
    scheme = draw(st.sampled_from(["https", "http", "HTTPS", "wss"]))
    name = draw(st.sampled_from(_NAMES))
    address = f"{scheme}://{user}:{password}@{host}{path.format(key)}?a=1&{name}={value}&{value}#{fragment}"
    return address, [user, password, value, fragment, key]


def traces(secrets: list[str], text: str, length: int = 9) -> list[str]:
    """Pieces of the secrets, so many characters long, that ``text`` still holds."""
    found = []
    for secret in secrets:
        body = secret[-max(12, len(secret) - 12) :]
        pieces = (body[at : at + length] for at in range(len(body) - length + 1))
        found += [piece for piece in pieces if piece in text and piece not in _SCAFFOLD]
    return found
