"""The file of the page stands alone, runs only its own scripts, and holds no markup of the log."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from llmwatch.report import page as pages
from llmwatch.report.columns import Columns
from tests.cli.traffic import SECRET
from tests.report.making import answered, hung

NASTY = "</script><img src=x onerror=alert(1)>{{script}}"


class _Document(HTMLParser):
    """The elements of a page, with their attributes, and the text of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", {}))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style"):
            kind = self.tags[-1][1].get("type") or self.tags[-1][0]
            self.texts.append((kind, data))


def test_it_refers_to_nothing_outside(page: Path) -> None:
    """No element has a source, a link or a form's target, and no style loads anything."""
    document = _Document(page.read_text(encoding="utf-8"))
    for tag, attributes in document.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "a"), tag
        assert not attributes.keys() & {"src", "href", "action", "srcset", "data", "background"}, (tag, attributes)
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
    styles = "".join(text for kind, text in document.texts if kind == "style")
    assert len(styles) > 1_000
    assert not re.search(r"url\(|@import|https?:", styles)


def test_its_policy_allows_its_two_scripts_and_no_request(page: Path) -> None:
    """The one in the page and Bokeh's, by their hashes; everything that is not named is forbidden."""
    document = _Document(page.read_text(encoding="utf-8"))
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in document.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src" not in policy
    assert "font-src" not in policy
    (scripts,) = re.findall(r"script-src ([^;]*);", policy)
    assert "unsafe" not in scripts
    ran = "".join(text for kind, text in document.texts if kind == "script")
    digest = base64.b64encode(hashlib.sha256(ran.encode()).digest()).decode()
    assert scripts.split()[0] == f"'sha256-{digest}'"
    assert len(scripts.split()) == 2


def test_it_is_small_and_its_owner_s_alone(page: Path) -> None:
    """Bokeh's script takes less than half a megabyte of it."""
    assert page.stat().st_size < 800_000
    assert page.stat().st_mode & 0o077 == 0


def test_no_planted_secret_is_in_it(page: Path) -> None:
    """Neither plain nor in the data, which holds only what the log has."""
    assert SECRET not in page.read_text(encoding="utf-8")


def test_names_of_the_log_cannot_leave_the_data() -> None:
    """A name that ends the element stays text in it, and is not taken for a place to fill in."""
    columns = Columns()
    columns.add(answered(1, label=NASTY))
    columns.add(hung(2, label=NASTY, entry_point=NASTY))
    text = page_of(columns)
    assert NASTY not in text
    assert "<img" not in text
    assert text.count("</script>") == 3
    assert "\\u003c/script\\u003e\\u003cimg src=x onerror=alert(1)\\u003e{{script}}" in text


def page_of(columns: Columns) -> str:
    """The page of some calls, without recommendations."""
    return pages.page(columns, [], [])


def test_what_is_embedded_has_no_markup() -> None:
    """The three characters that could begin or end an element are escaped, and JSON stays JSON."""
    assert pages.embedded({"a": "<b>&"}) == '{"a":"\\u003cb\\u003e\\u0026"}'
    with pytest.raises(ValueError, match="Out of range"):
        pages.embedded(float("nan"))


def test_a_template_is_filled_once() -> None:
    """What is filled in is not looked through again."""
    assert pages.filled("{{a}}-{{b}}", {"a": "{{b}}", "b": "2"}) == "{{b}}-2"
