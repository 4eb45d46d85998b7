"""Which library a request belongs to, and that library's own classes for the answer."""

from __future__ import annotations

import sys
from typing import Any

import httpx
import httpx2
import pytest

from llmwatch.sdk.libraries import Library, library_of

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


@libraries
def test_a_request_brings_its_library(library: Any) -> None:
    """A request of a class of the user's own does so too."""

    class Mine(library.Request):  # type: ignore[misc]
        """One that knows more."""

    for request in (library.Request("GET", "http://h/"), Mine("GET", "http://h/")):
        found = library_of(request)
        assert found == Library(library.__name__)
        assert found.get("ReadTimeout") is library.ReadTimeout


def test_another_class_belongs_to_no_library() -> None:
    """A class of the same name is not enough, and neither is another class of the library."""

    class Request:
        """A class of no library."""

    for thing in (Request(), None, "GET", httpx.Response(200), httpx2.URL("http://h/")):
        with pytest.raises(TypeError, match="takes requests of httpx or httpx2"):
            library_of(thing)


@libraries
def test_a_stream_is_of_the_librarys_class(library: Any) -> None:
    """Both insist on their class; pieces are asked for anew by each reader, and closing is handed on."""
    closed: list[int] = []
    stream = Library(library.__name__).stream(lambda: iter([b"a", b"b"]), lambda: closed.append(1))
    assert isinstance(stream, library.SyncByteStream)
    with library.Client(
        transport=library.MockTransport(lambda request: library.Response(200, stream=stream))
    ) as client:
        assert client.get("http://h/").content == b"ab"
    assert closed == [1]


def test_only_the_requested_library_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing library raises ``ImportError`` when its class is requested."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ImportError):
        Library("httpx").get("Response")
    monkeypatch.delitem(sys.modules, "httpx")
    assert Library("httpx").get("__title__") == "httpx"
