"""Texts, addresses and identifiers without their secrets."""

from __future__ import annotations

import time
import timeit
import unittest.mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch.redaction import redact
from tests.redaction.planting import NAMED, addresses, long_runs, made, plain, planted, traces
from tests.rows import each

MANY = settings(max_examples=250, deadline=None)

_FEW = 2048
"""Characters that are looked at in tests of the edge of what is."""


class TestText:
    @given(planted(), st.integers(0, 400))
    @MANY
    def test_no_planted_secret_survives_in_a_text(self, case: tuple[str, list[str]], cap: int) -> None:
        """Of a planted key, token or password not even nine characters in a row are left.

        The cap holds with the mark included, and the cut brings no secret back. A text from a log stays as it is, so
        that a record that was read back is equal.
        """
        text, secrets = case
        whole, short = redact.text(text, cap=10_000), redact.text(text, cap=cap)
        assert not traces(secrets, whole), whole
        assert not traces(secrets, short), short
        assert len(short) <= max(cap, 48)
        assert redact.text(short, cap=cap) == short

    @given(st.text(max_size=3000), st.integers(48, 500))
    @MANY
    def test_redacting_again_changes_nothing(self, text: str, cap: int) -> None:
        """The same for texts of any characters."""
        once = redact.text(text, cap=cap)
        assert len(once) <= cap
        assert redact.text(once, cap=cap) == once

    @each("place", NAMED)
    def test_a_password_is_recognised_by_its_context(self, place: str) -> None:
        """A password that could be a word is recognised by its surroundings."""
        for secret in ("correcthorsebattery", "Correct7Horse9Battery", "7351098264735109"):
            for text in (place.format(secret), f"it said: {place.format(secret)} and failed"):
                assert not traces([secret], redact.text(text)), redact.text(text)

    def test_each_name_masks_the_value_behind_it(self) -> None:
        """A text with one name alone, the shortest that it takes, is read as closely as one with several."""
        names = (
            "api_key token secret password passwd passphrase passcode pwd credential signature sig auth bearer cookie"
            " authorization key"
        )
        shown = {name: redact.text(f"rejected {name}=swordfish42") for name in names.split()}
        assert {name: text for name, text in shown.items() if text != f"rejected {name}=***"} == {}

    @pytest.mark.parametrize(
        "text",
        [
            "Basic dXNlcjpwYXNzd29yZA== was refused",
            "user 'bob:correcthorsebattery@db.example.com' is unknown",
            "bob:correcthorsebattery@10.0.0.1",
            "-----BEGIN PRIVATE KEY-----\ncorrecthorsebattery",
            "SG.correcthorsebattery.dXNlcjpwYXNzd29yZA",
        ],
    )
    def test_protocol_credentials_are_recognised_without_a_name(self, text: str) -> None:
        """Credentials in the form of their protocol need no name in front."""
        assert not traces(["correcthorsebattery", "dXNlcjpwYXNzd29yZA"], redact.text(text)), redact.text(text)

    def test_a_cut_address_is_redacted_like_a_whole_one(self) -> None:
        """What is left of an address that was cut in the middle reads like one that came whole."""
        text = '000000000000000000000000:A://?0000000000000000=";0=0"00'
        assert redact.text(redact.text(text, cap=59), cap=59) == redact.text(text, cap=59)

    @pytest.mark.parametrize(
        "text",
        [
            "127.0.0.1:8000 took the request and went silent: not one byte of an answer within 45 s (45.003 s passed).",
            "raise first_content (LLMWATCH_FIRST_CONTENT_TIMEOUT_SECONDS) or allow LLMWATCH_RESEND_WITH_TOOLS=1",
            "Rate limit reached for gpt-4o-mini-2024-07-18 in organization on tokens per min (TPM): Limit 200000.",
            "This model's maximum context length is 8192 tokens: you requested 9000 (max_tokens=4096).",
            "The model claude-opus-4-20250514-thinking-latest-long, or Qwen3-235B-A22B-Instruct-2507-FP8, is gone.",
            "Bearer token is missing; basic authentication is not supported",
            "a task-list-of-things on a disk-manager, /usr/lib/python3/dist-packages/requests/adapters",
            "Missing required parameter: 'messages'. Unknown name \"stream\": no such key 'stream'.",
            "Please contact support with request ID req_011CSHoEeqs5C35K2UUqR7Fy; see https://example.com/v1/docs.",
            "HTTPSConnectionPool(host='api.example.com', port=443): Read timed out.",
            "two lines\nand a\ttab, naïve 漢字, time 12:30, user@example.com",
            "",
        ],
    )
    def test_text_without_secrets_is_kept(self, text: str) -> None:
        """What a person needs to understand the failure stays, word for word."""
        assert redact.text(text) == text

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Incorrect API key provided: sk-abc***wxyz. Look it up.", "Incorrect API key provided: *** Look it up."),
            ("with url: /v1/models?key=abc&alt=sse (Caused", "with url: /v1/models?key=***&alt=*** (Caused"),
            ("see https://bob:pw@EXAMPLE.com/a?b=c#d.", "see https://example.com/a?b=***"),
            ("password='correct horse battery' done", "password=*** done"),
            ("key=-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- end", "key=*** end"),
            ("a\x1b[31mb\x00c\u2028d\u202ee", "a [31mb c d e"),
        ],
    )
    def test_secrets_become_stars_and_control_characters_spaces(self, text: str, expected: str) -> None:
        """Secrets become stars, addresses lose what is secret, control characters become spaces."""
        assert redact.text(text) == expected

    @pytest.mark.parametrize("key", ["sk-" + "a1B2" * 12, "a1B2c3D4" * 5], ids=["make", "run"])
    def test_a_key_at_the_edge_of_what_is_read(self, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key that the input cap cuts in half goes as a whole, wherever the cap cuts it.

        This holds also where half of the key would not be told as a key.
        """
        # The edge at every place in a small text, since a large one costs the more; and the real one at some.
        for most, step in ((_FEW, 1), (redact.MOST_INPUT, 9)):
            monkeypatch.setattr(redact, "MOST_INPUT", most)
            for at in range(most - len(key) - 2, most + 2, step):
                text = "password=x " * (at // 11) + " " * (at % 11) + key + " tail"
                assert not traces([key], redact.text(text, cap=most * 2)), (most, at)

    @pytest.mark.parametrize("piece", ["error,code=17;", "<p>wrong</p>", "%20said%20no", "語", '{"a":[1,2]},'])
    @pytest.mark.parametrize("size", [redact.MOST_INPUT + 1, 70_000])
    def test_a_text_without_spaces_keeps_its_beginning(self, piece: str, size: int) -> None:
        """As much of one long word is kept as the cap allows, and the mark counts the rest."""
        text = (piece * size)[:size]
        short = redact.text(text, cap=500)
        kept, _, mark = short.partition(" [... ")
        assert len(kept) > 400
        assert text.startswith(kept)
        assert mark == f"{size - len(kept)} characters omitted]"
        assert redact.text(short, cap=500) == short

    def test_a_huge_word_that_could_be_a_key_is_masked(self) -> None:
        """A run without sense is one from its beginning to wherever it was cut."""
        assert redact.text("a1B" * 7_000) == "*** [... 20997 characters omitted]"

    @pytest.mark.parametrize(
        "place",
        ["sk-{}", "AIza{}", "api_key={}", '"password":"{}"', "https://user:{}@h/x", "u:{}@h/x", "eyJ{}.{}", "{}"],
    )
    def test_a_key_in_a_text_without_spaces(self, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Wherever the input cap or the end of what is kept cuts it, no half of a key comes out."""
        key = "a1B2c3D4" * 5
        hidden = place.format(key, key)
        for most, step in ((_FEW, 3), (redact.MOST_INPUT, 180)):
            monkeypatch.setattr(redact, "MOST_INPUT", most)
            for edge in (most, most - 512, most - 512 - len(hidden)):
                for before in range(edge - len(hidden) - 3, edge + 3, step):
                    text = ("x,y;" * before)[:before] + ";" + hidden + ";" + "x,y;" * 200
                    assert len(text) > most
                    assert not traces([key], redact.text(text, cap=most * 2)), (most, before)

    @given(planted(), st.integers(0, 600))
    @settings(max_examples=100, deadline=None)
    def test_no_planted_secret_survives_without_spaces(self, case: tuple[str, list[str]], before: int) -> None:
        """Texts without a space around the edge of what is read give away no more than whole texts."""
        text, secrets = case
        glued = text.replace(" ", ";")
        whole = redact.text(glued, cap=redact.MOST_INPUT)
        with unittest.mock.patch.object(redact, "MOST_INPUT", _FEW):
            filler = "x,y;" * _FEW
            short = redact.text(filler[: _FEW - before] + glued + filler, cap=_FEW * 2)
        assert set(traces(secrets, short)) <= set(traces(secrets, whole))

    def test_the_mark_counts_the_missing_characters(self) -> None:
        """The mark counts the characters that are missing, and can be recognised."""
        short = redact.text("word " * 400, cap=100)
        kept, _, mark = short.partition(" [... ")
        assert mark == f"{1999 - len(kept)} characters omitted]"
        assert redact.is_cut(short)
        assert not redact.is_cut("word")


class TestUrl:
    @given(addresses())
    @MANY
    def test_no_planted_secret_survives_in_a_url(self, case: tuple[str, list[str]]) -> None:
        """Nothing of user, password, values, fragment and of a key in the path is left; the names are."""
        address, secrets = case
        shown = redact.url(address)
        assert not traces(secrets, shown), shown
        assert "?a=***&" in shown
        assert redact.url(shown) == shown
        assert shown.startswith(redact.origin(address) + "/")

    @given(st.one_of(st.text(max_size=200), st.text(":/@?#[]%.a1*=&;", max_size=40)))
    @MANY
    def test_redacting_a_url_never_raises_and_is_stable(self, text: str) -> None:
        """Anything at all gives some text, and that text gives itself, for origins too."""
        once, origin = redact.url(text), redact.origin(text)
        assert redact.url(once) == once
        assert redact.origin(origin) == origin

    @given(plain, st.text("/@:?#%. ", max_size=4), plain, st.sampled_from(["example.com", "example.com:80"]))
    @MANY
    def test_passwords_with_odd_characters(self, first: str, odd: str, second: str, host: str) -> None:
        """A password that breaks the rules of addresses does not come out in pieces."""
        address = f"https://user:{first}{odd}{second}@{host}/v1/chat"
        assert not traces([first, second], redact.url(address)), redact.url(address)
        assert not traces([first, second], redact.origin(address)), redact.origin(address)

    @each(
        ("address", "expected"),
        [
            ("https://api.example.com/v1/chat/completions", "https://api.example.com/v1/chat/completions"),
            ("https://API.example.com:8443/v1?alt=sse&key=k#f", "https://api.example.com:8443/v1?alt=***&key=***"),
            ("http://[::1]:8000/v1/", "http://[::1]:8000/v1/"),
            ("/v1/models?key=k", "/v1/models?key=***"),
            ("?a=b", "?a=***"),
            ("https://h/v1?sk-0123456789abcdef", "https://h/v1?***"),
            ("https://h/v1?" + "&".join(["a=b"] * 40), "https://h/v1?" + "&".join(["a=***"] * 32) + "&***"),
            (
                "https://h/v1beta/models/gemini-2.5-pro:streamGenerateContent",
                "https://h/v1beta/models/gemini-2.5-pro:streamGenerateContent",
            ),
            (
                "https://h/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/invoke-with-response-stream",
                "https://h/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/invoke-with-response-stream",
            ),
            ("https://h/users/550e8400-e29b-41d4-a716-446655440000/x", "https://h/users/***/x"),
            ("https://h/%73k-0123456789abcdef/x", "https://h/***/x"),
            ("https://h/" + "%25" * 6000, "https://h/***"),
            ("https://h/" + "word-" * 40, "https://h/***"),
            ("https://user:pa/ss@h/x", "https://***"),
            ("https://h:99999/x", "https://***/x"),
            ("http://[bad/x", "***"),
            ("mailto:bob@example.com", "***"),
            ("", ""),
        ],
    )
    def test_host_port_path_and_names_are_kept(self, address: str, expected: str) -> None:
        """Host, port, path and names stay; what looks like a key in the path does not."""
        assert redact.url(address) == expected


class TestOrigin:
    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("https://bob:pw@API.example.com:8443/v1?key=k", "https://api.example.com:8443"),
            ("http://[::1]:8000/", "http://[::1]:8000"),
            ("http://[bad", "***"),
            ("not an address", "***"),
            ("", ""),
        ],
    )
    def test_an_origin_is_scheme_host_and_port(self, address: str, expected: str) -> None:
        """An origin is just these three."""
        assert redact.origin(address) == expected


class TestIdentifier:
    @pytest.mark.parametrize(
        "name",
        [
            "req_011CSHoEeqs5C35K2UUqR7Fy",
            "550e8400-e29b-41d4-a716-446655440000",
            "8f3c1ac9ed21ab-FRA",
            "0af7651916cd43dd8448eb211c80319c",
        ],
    )
    def test_request_ids_are_kept(self, name: str) -> None:
        """Long and without sense is what an id is."""
        assert redact.identifier(name) == name

    @given(made)
    @settings(deadline=None)
    def test_a_request_id_that_echoes_a_key_is_masked(self, key: str) -> None:
        """A header that echoes a key is not an id."""
        assert redact.identifier(key) == "***"

    @pytest.mark.parametrize("name", ["", "two words", "a" * 200, "line\nbreak", "Bearer abcdef"])
    def test_a_request_id_of_another_form_is_masked(self, name: str) -> None:
        """An id has no spaces, is not empty and is of bounded length."""
        assert redact.identifier(name) == "***"


HARD = {
    "one letter": "a",
    "prefixes": "sk-",
    "names": "api_key=",
    "quotes": "'",
    "open quotes": 'key="\\',
    "escapes": "\\",
    "escaped quotes": 'api_key: \\"',
    "users": "a:b@",
    "ats": "@",
    "colons": "x:",
    "addresses": "http://",
    "queries": "?a=",
    "slashes": "/",
    "dashes": "a-",
    "spaces": " ",
    "tokens": "eyJaaaaaaa.",
    "pem": "-----BEGIN PRIVATE KEY-----",
    "headers": "authorization: bearer ",
    "cookies": "cookie: '",
    "percent": "%25",
    "marks": " [... 1 characters omitted]",
}


@each("piece", HARD.values(), ids=HARD.keys())
def test_the_cost_grows_with_the_length_only(piece: str) -> None:
    """No text, however nasty, costs more than its length.

    Eight times the text costs far less than sixty-four times.
    """

    def cost(size: int) -> float:
        text = (piece * (size // len(piece) + 1))[:size]
        # Processor time: what else this machine does is not to be measured.
        run = timeit.Timer(lambda: (redact.text(text), redact.url(text)), timer=time.process_time)
        return min(run.repeat(number=1, repeat=7))

    small, large = cost(redact.MOST_INPUT // 8), cost(redact.MOST_INPUT - 1)
    assert large < max(32 * small, 0.02)


@given(long_runs)
@settings(deadline=None)
def test_long_runs_are_masked_anywhere(run: str) -> None:
    """A run without sense is masked inside words and punctuation too."""
    for text in (run, f"x{run}", f"({run})", f"a: {run}; b", f"id={run}&x"):
        assert not traces([run], redact.text(text))


@pytest.mark.parametrize("make", ["sk-AAAAAUGBwgJCgwNDg==", "ghp_a1b2c3d4e5f6", "AKIA0123456789AB", "eyJhbGciOiJIUzI1"])
@pytest.mark.parametrize("before", ["AAAAAAAAAAAAAAAAAQIDBAs", "0123456789abcdef0123456789abcdef/"])
def test_a_run_that_happens_to_hold_a_make_goes_as_a_whole(before: str, make: str) -> None:
    """What looks like a provider's prefix in the middle of a long key does not save the half before it."""
    run = before + make
    for text in (run, f"x{run}", f"({run})", f"a: {run}; b", f"id={run}&x", f"{run}.{run}"):
        assert not traces([before, run], redact.text(text)), redact.text(text)
        assert redact.text(redact.text(text)) == redact.text(text)


MODELS = [
    "gpt-4o-mini-2024-07-18",
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "ft:gpt-4o-mini-2024-07-18:acme-corp:custom:AbCdEf12",
    "@cf/meta/llama-3.1-8b-instruct",
    "claude-3-opus@20240229",
    "bartowski/Qwen2.5-Coder-32B-Instruct-GGUF:Q4_K_M",
    "ep-20240604123456-abcde",
]


def test_names_of_models_are_kept() -> None:
    """The names in use are kept as they are, again and again."""
    for name in (*MODELS, *MODELS):
        assert redact.model(name) == name


def test_the_account_in_a_name_of_aws_is_left_out() -> None:
    """Of a resource name the model's own name is kept, which has the form of the others."""
    name = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"
    assert redact.model(name) == "us.anthropic.claude-sonnet-4-20250514-v1:0"


@pytest.mark.parametrize(
    "name",
    [
        "a prompt in the wrong field",
        "x" * 65,
        "m\n2026 forged",
        "\x1b[2J",
        "<script>",
        "sk-ant-" + "a1B2c3D4" * 6,
        "",
        "arn:aws:bedrock:us-east-1:123456789012:" + "x" * 65,
    ],
)
def test_what_is_no_name_of_a_model_is_dropped(name: str) -> None:
    """Text, keys and control characters in the place of a model's name are dropped."""
    assert redact.model(name) is None
