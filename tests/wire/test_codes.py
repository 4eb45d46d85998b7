"""The numbers of errors, and whether a resend could work."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch.wire.codes import may_pass
from tests.rows import each


@each(
    ("said", "passes"),
    [
        ({"error_code": 18, "error_msg": "m"}, True),
        ({"error_code": "336100", "error_msg": "m"}, True),
        ({"error_code": 17, "error_msg": "m"}, False),
        ({"code": 336501, "msg": "m"}, True),
        ({"base_resp": {"status_code": 1002, "status_msg": "m"}}, True),
        ({"base_resp": {"status_code": 1033, "status_msg": "m"}}, True),
        ({"base_resp": {"status_code": 1008, "status_msg": "m"}}, False),
        ({"base_resp": {"status_code": 1004, "status_msg": "m"}}, False),
        ({"error": {"code": "1302", "message": "m"}}, True),
        ({"error": {"code": 1305, "message": "m"}}, True),
        # Errors of another list, errors by their type, and values that are no error.
        ({"error": {"code": "1002", "message": "m"}}, None),
        ({"error": {"code": "1113", "message": "m"}}, None),
        ({"error": {"code": "1302", "type": "invalid_request_error"}}, None),
        ({"code": 1302, "msg": "m"}, None),
        ({"code": "18", "message": "m"}, None),
        ({"base_resp": {"status_code": 0}}, None),
        ({"error": "m"}, None),
        ([], None),
    ],
)
def test_each_providers_list_of_codes_counts_for_its_own_errors(said: Any, passes: bool | None) -> None:
    """Each list counts for errors of its own shape and for no others; nothing is known of the rest."""
    assert may_pass(json.dumps(said)) is may_pass(json.dumps(said).encode()) is passes


@pytest.mark.parametrize("said", ["", "{", "[" * 100_000, b"\xff"])
def test_broken_json_has_no_code(said: bytes | str) -> None:
    """Broken JSON has no number."""
    assert may_pass(said) is None
