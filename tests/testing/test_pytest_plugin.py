"""The fixture in the test suite of a user, who has done nothing but install llmwatch."""

from __future__ import annotations

import pytest

pytest_plugins = "pytester"

LOADED = """
import sys

def pytest_unconfigure(config):
    print("loaded:", sorted(name for name in sys.modules if name.partition(".")[0] in ("llmwatch", "requests")))
    print("plugin:", "llmwatch_pytest" in sys.modules)
"""

AGENT = """
import requests

def ask(base_url):
    answer = requests.post(base_url + "/chat/completions", json={"model": "m", "stream": True, "messages": []})
    return answer.text
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of tests, which a pytest of its own runs."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return pytester


def test_a_suite_without_the_fixture_loads_no_module_of_llmwatch(suite: pytest.Pytester) -> None:
    """The plugin costs nothing until a test asks for the fixture: llmwatch and requests stay unloaded."""
    suite.makeconftest(LOADED)
    suite.makepyfile("def test_of_something_else(): pass")
    done = suite.runpytest_subprocess("-p", "no:xdist", "-p", "no:cov")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["loaded: []", "plugin: True"])


def test_the_fixture_shows_a_careless_agent(suite: pytest.Pytester) -> None:
    """The test fails with the rule and the request that it is about."""
    suite.makepyfile(agent=AGENT)
    suite.makepyfile(
        """
        from agent import ask

        def test_of_a_whole_answer(llm_faults):
            provider = llm_faults("healthy", text="All of it.")
            assert provider.run(ask, provider.urls.openai)
            assert (provider.count, provider.spacing) == (1, [])

        def test_of_a_cut(llm_faults):
            provider = llm_faults("eof-without-terminal")
            assert provider.run(ask, base_url=provider.urls.openai)
        """
    )
    done = suite.runpytest_subprocess("-p", "no:xdist", "-p", "no:cov")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(
        ["*assert <Verdict on 1 requests: not sound*", "*whole: the program returned as if all was well, and its*"]
    )


def test_the_fixture_ends_its_servers(suite: pytest.Pytester) -> None:
    """No thread and no port outlives the test, and a script that fails is an error at its end."""
    suite.makepyfile(
        """
        import socket
        import threading

        import pytest

        from llmwatch.faults import Script

        seen = []

        def test_that_starts_two(llm_faults):
            seen.extend(llm_faults("silent").port for _ in range(2))
            for port in seen:
                socket.create_connection(("127.0.0.1", port)).close()

        def test_that_nothing_is_left():
            for port in seen:
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port))
            assert [thread for thread in threading.enumerate() if "llmwatch-faults" in thread.name] == []

        def test_of_a_broken_script(llm_faults):
            provider = llm_faults(Script(name="broken", description="", play=lambda context: 1 / 0))
            with socket.create_connection(("127.0.0.1", provider.port)) as client:
                client.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
        """
    )
    done = suite.runpytest_subprocess("-p", "no:xdist", "-p", "no:cov")
    done.assert_outcomes(passed=3, errors=1)
    done.stdout.fnmatch_lines(["*ZeroDivisionError*"])


def test_the_fixture_explains_itself(suite: pytest.Pytester) -> None:
    """``pytest --fixtures`` shows how it is called."""
    done = suite.runpytest_subprocess("--fixtures", "-p", "no:xdist")
    done.stdout.fnmatch_lines(["llm_faults*", "*Providers that fail: *starts one*"])
