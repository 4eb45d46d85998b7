"""The number of answers that a request asks for, and whether the request asks for pieces."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["asks_nothing", "choices_asked", "pieces_asked"]


def choices_asked(body: object) -> int:
    """The number of choices (candidates) that the parsed ``body`` of a request asks for; 1 by default.

    Read from OpenAI's ``n``, Gemini's ``candidateCount`` and DashScope's ``parameters.n``. For the older completions
    with a list of prompts, the number is multiplied by the number of prompts.
    """
    if not isinstance(body, Mapping):
        return 1
    config = body.get("generationConfig") or body.get("generation_config")
    config = config if isinstance(config, Mapping) else {}
    parameters = body.get("parameters")
    parameters = parameters if isinstance(parameters, Mapping) and "input" in body else {}
    choices = 1
    for asked in (config.get("candidateCount"), config.get("candidate_count"), parameters.get("n"), body.get("n")):
        if type(asked) is int and asked > 1:
            choices *= asked
    prompt = body.get("prompt")
    if isinstance(prompt, (list, tuple)) and not all(type(piece) is int for piece in prompt):
        # A list of numbers is one prompt as tokens.
        choices *= len(prompt)
    return choices


def pieces_asked(body: object) -> bool:
    """Whether the parsed ``body`` asks for pieces of a provider that may restate the answer each time.

    True for DashScope's ``parameters.incremental_output``. False proves nothing: some models of DashScope send pieces
    anyway.
    """
    parameters = body.get("parameters") if isinstance(body, Mapping) else None
    return isinstance(parameters, Mapping) and parameters.get("incremental_output") is True


def asks_nothing(body: object) -> bool:
    """Whether the parsed ``body`` has no prompt of any form: Ollama then loads or unloads a model.

    False for an unknown body.
    """
    if not isinstance(body, Mapping):
        return False
    return not (body.get("messages") or body.get("prompt") or body.get("images") or body.get("suffix"))
