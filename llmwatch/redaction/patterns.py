"""Patterns of secrets in text, and the masking of matches.

Every pattern is linear: no nested repetition, and no unbounded repetition behind which another one could start again at
every character. The patterns are made for text of up to 16 KiB; :mod:`llmwatch.redaction.redact` cuts it before.

A key is recognised by its prefix (as providers document it), by the name in front of it (``api_key=``,
``Authorization:``), by its place (before the ``@`` of a URL, after ``?name=``), or as a long run that is not made of
words. A short password without such a context looks like a word and is not masked here;
:mod:`llmwatch.redaction.sent` masks the secrets that were sent.
"""

from __future__ import annotations

import re

from llmwatch.lazy_pattern import lazy

__all__ = ["MASK", "carries_a_key", "is_words", "looks_like_a_key", "scrub"]

MASK = "***"

# -- keys by their prefix ----------------------------------------------------

# Prefixes that no ordinary word contains: masked wherever they stand.
_MAKES = lazy(
    r"(?:AIza[A-Za-z0-9_-]{8,}"  # Google
    r"|ya29\.[A-Za-z0-9._-]{8,}"
    r"|gh[oprsu]_[A-Za-z0-9]{8,}|github_pat_[A-Za-z0-9_]{8,}|glpat-[A-Za-z0-9_-]{8,}"
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{8,}"  # Amazon
    r"|xox[a-z]-[A-Za-z0-9-]{4,}|xapp-[A-Za-z0-9-]{8,}"  # Slack
    r"|eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_*-]+){0,4}"  # JSON web tokens
    r"|(?:hf|gsk|r8|pplx|xai|nvapi|csk|fw|tgp_v1|npm|dop_v1|whsec|lsv2_pt|sntrys)[_-][A-Za-z0-9_-]{16,}"
    r"|[a-z]{2}_(?:live|test)_[A-Za-z0-9]{8,}"  # Stripe
    r"|SG\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
    r"|pypi-[A-Za-z0-9_-]{16,}"
    r")[A-Za-z0-9_*-]*"
)
# "sk-" also stands within words ("task-list"). It counts at the start of a word, after a percent escape, and anywhere
# else if the rest is not a word. The stars are those of keys that a provider has masked in part.
_SK = lazy(
    r"(?:(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{2}))(?:sk|pk|rk)[-_](?=[A-Za-z0-9_*.-]{6})"
    r"|sk-(?:(?=[a-z_-]{0,48}[A-Z0-9])(?=[A-Za-z0-9_-]{16})|(?=[A-Za-z0-9]{20})|(?=(?:proj|svcacct|ant)-[A-Za-z0-9_-]{16})))"
    r"[A-Za-z0-9_*.-]*[A-Za-z0-9_*-]"
)
_PEM = lazy(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?:[^-]|-(?!----END))*(?:-----END [A-Z0-9 ]{0,40}-----)?")

# -- secrets by the name in front of them ------------------------------------

_QUOTE = r"""\\{0,4}["']"""
_VALUE = (
    r"(?:\*{3}(?=&)"  # a parameter that is masked already, with others after it
    r"|b?\"(?:[^\"\\]|\\.)*\"?"
    r"|b?'(?:[^'\\]|\\.)*'?"
    r"|\\{1,4}[\"'](?:[^\\]|\\(?!\\{0,3}[\"']))*(?:\\{1,4}[\"'])?"
    r"|[^\s\"'\\]\S*"
    r"|\\\S+)"
)
_PARTS = r"(?:[_-][A-Za-z0-9]{1,16}){0,2}"
_NAMES = (
    r"(?:(?:api|access|secret|private|public|subscription|account|shared|signing|master|auth|client|service|session|encryption"
    r"|openai|anthropic|gemini|google|azure|mistral|groq|aws|x)[ _.-]?key(?!s\b|word)"
    r"|token(?!s\b|iz)|secrets?|passw(?:or)?d|passphrase|passcode|pwd|credentials?|signature|(?<![A-Za-z])(?:sig|auth|bearer))"
)
_NAMED = lazy(rf"({_NAMES}{_PARTS}(?:{_QUOTE})?\s{{0,4}}[=:]>?\s{{0,4}}){_VALUE}", re.IGNORECASE)
# A bare "key" is often prose ("unknown key: 'n'"). It counts before "=" and as a quoted name.
_KEY = lazy(rf"((?<![A-Za-z])key\s{{0,4}}=\s{{0,4}}|{_QUOTE}key{_QUOTE}\s{{0,4}}:\s{{0,4}}){_VALUE}", re.IGNORECASE)
_VERBS = r"(?:was |is )?(?:provided|given|used|supplied|sent)"
_SAID = lazy(
    rf"((?<![A-Za-z])(?:api[ _-]?key|token) (?:(?:{_VERBS}|is|was)\s{{0,4}}:?\s{{0,4}})?){_QUOTE}[^\s\"']+{_QUOTE}"
    rf"|((?<![A-Za-z])(?:api[ _-]?)?(?:key|token) {_VERBS}\s{{0,4}}:\s{{0,4}})\S+",
    re.IGNORECASE,
)
_HEADER = rf"(?:{_QUOTE})?\s{{0,4}}[:=]\s{{0,4}}"
_WHOLE_LINE = lazy(
    rf"((?:set-)?cookie{_HEADER}|authorization{_HEADER}b?(?:{_QUOTE})?(?:digest|aws4-[a-z0-9-]{{1,20}})\s)"
    r"(?:b?\"[^\"\n]*\"?|b?'[^'\n]*'?|[^\n]+)",
    re.IGNORECASE,
)
_SCHEMES = r"(?:bearer|basic|token|apikey|api-key|key|negotiate|ntlm)"
_AUTHORIZATION = lazy(rf"(authorization{_HEADER})(?:b?(?:{_QUOTE})?{_SCHEMES}\s{{1,4}})?{_VALUE}", re.IGNORECASE)
# Excludes the words that follow "bearer" in prose.
_BEARER = lazy(
    r"\b(bearer\s{1,4})"
    r"(?!(?:tokens?|auth(?:entication|orization)?|scheme|realm|is|was|not|and|or|of|in|for|with|header|format)\b)"
    r"[\"']?[A-Za-z0-9._~+/=*-]+",
    re.IGNORECASE,
)
_BASIC = lazy(r"\b([Bb]asic\s{1,4})(?=[A-Za-z0-9+/]{0,32}[A-Z0-9=])[A-Za-z0-9+/]{4,}={0,2}")

_NAMED_BY = lazy("key|token|secret|passw|passp|passc|pwd|credential|sig|auth|cookie|bearer|basic")

# The name of a header is matched word by word. The second pattern lists names whose values are not secret.
_KEY_HEADER = lazy(
    r"(?:.*[-_])?(?:(?:x|api|access|auth|secret|subscription|functions|client)?key|(?:x|api|access|auth|id)?token|secret"
    r"|auth(?:orization|entication)?|credentials?|passw(?:or)?d|signature|cookie)(?:[-_](?:\d+|id|value))?"
)
_OPEN_KEY_HEADER = lazy(r"(?:.*[-_])?(?:idempotency|cache|surrogate|partition|routing|sort|websocket)[-_]?key")

# -- secrets by their place --------------------------------------------------

_USER = lazy(r"(?<![^\s\"'<>(=,;])[^\s:/@\"'<>(=,;]{0,128}:(?!//)[^\s\"'<>]{1,256}@(?=[A-Za-z0-9\[])")
_QUERY = lazy(r"([?&;][A-Za-z0-9_.~\[\]%-]{1,64}=)[^\s&;\"'<>]+")

# -- long runs that are not words --------------------------------------------

_LONG = 32
_RUN = lazy(rf"[A-Za-z0-9+/=_-]{{{_LONG},}}")
# Pieces of names of models, limits, files and paths: a word, a number, a word with a number, an abbreviation.
_WORD = lazy(r"[A-Z]?[a-z]{1,20}\d{0,4}|\d{1,8}[A-Za-z]{0,2}|[A-Z]{1,12}\d{0,4}[A-Z]?|v\d{1,4}")
_SEPARATOR = lazy(r"[/_=+-]")
_MOST_EMPTY = 3

# Paths seldom hold words in mixed case with digits, so shorter runs than in prose are safe to mask.
_LONG_IN_PATH = 20
_HARMLESS = lazy(r"[a-z]{0,12}[0-9.]{0,3}[a-z]{0,4}")


def _mask_run(match: re.Match[str]) -> str:
    return match[0] if is_words(match[0]) else MASK


def _from_its_make(match: re.Match[str]) -> str:
    """A run that is not words, cut to begin at the prefix of a key within it; any other run unchanged.

    Masking the key alone would leave the first half of the run, which may be too short for :data:`_RUN`.
    """
    run = match[0]
    make = _MAKES.search(run) or _SK.search(run)
    return run if make is None or is_words(run) else run[make.start() :]


def is_words(run: str) -> bool:
    """Whether ``run`` is made of words, numbers and abbreviations, like names of models and files."""
    pieces = _SEPARATOR.split(run)
    empty = sum(not piece for piece in pieces)
    return empty <= _MOST_EMPTY and all(_WORD.fullmatch(piece) for piece in pieces if piece)


def _mask_value(match: re.Match[str]) -> str:
    return (match[1] or match[match.lastindex or 1] or "") + MASK


def scrub(text: str) -> str:
    """``text`` with :data:`MASK` in place of every recognised secret. URLs are not shortened here."""
    text = _PEM.sub(MASK, text)
    text = _QUERY.sub(_mask_value, text)
    if "@" in text:
        text = _USER.sub(MASK + "@", text)
    # Most texts hold none of the names. Searching for each name at every character would take most of the time.
    if _NAMED_BY.search(text.lower()):
        for pattern in (_WHOLE_LINE, _AUTHORIZATION, _NAMED, _KEY, _SAID, _BEARER, _BASIC):
            text = pattern.sub(_mask_value, text)
    text = _RUN.sub(_from_its_make, text)
    text = _MAKES.sub(MASK, text)
    text = _SK.sub(MASK, text)
    return _RUN.sub(_mask_run, text)


def carries_a_key(header: str) -> bool:
    """Whether a header's name says that its value is a credential.

    Examples: ``Authorization``, ``api-key``, ``X-Goog-Api-Key``, ``Ocp-Apim-Subscription-Key``, and the gateways'
    ``cf-aig-authorization``, ``Helicone-Auth`` and ``x-portkey-api-key``.
    """
    name = header.lower()
    return _KEY_HEADER.fullmatch(name) is not None and _OPEN_KEY_HEADER.fullmatch(name) is None


def looks_like_a_key(segment: str) -> bool:
    """Whether a segment of a path may be or contain a key. Masks more than :func:`scrub`."""
    if _HARMLESS.fullmatch(segment):
        return False
    if scrub(segment) != segment:
        return True
    for run in re.split(r"[.:,;%~!$&'()*]", segment):
        if len(run) >= _LONG_IN_PATH and not is_words(run) and _mixed(run):
            return True
    return False


def _mixed(run: str) -> bool:
    # Letters alone are words: camelCase names, and lower case of any length.
    return any(char.isdigit() for char in run) and any(char.isalpha() for char in run)
