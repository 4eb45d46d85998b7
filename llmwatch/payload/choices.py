"""How many answers a request asks for at once, and whether it asks for them in pieces."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["asks_nothing", "choices_asked", "pieces_asked"]


def choices_asked(body: object) -> int:
    """The number of choices, or candidates, that the parsed ``body`` of a request asks for; 1 where it does not say.

    OpenAI's ``n``, times the prompts where the older completions are given a list of them, Gemini's
    ``candidateCount``, and DashScope's ``n`` among its ``parameters``.
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
        # A list of numbers is one prompt, in tokens.
        choices *= len(prompt)
    return choices


def pieces_asked(body: object) -> bool:
    """Whether the parsed ``body`` asks for pieces where its provider may say everything so far with each event.

    DashScope's ``incremental_output`` among its ``parameters``. False says nothing: some of its models send pieces all
    the same.
    """
    parameters = body.get("parameters") if isinstance(body, Mapping) else None
    return isinstance(parameters, Mapping) and parameters.get("incremental_output") is True


def asks_nothing(body: object) -> bool:
    """Whether the parsed ``body`` has no prompt and no messages: Ollama loads the model then, or unloads it.

    False where the body is not known.
    """
    if not isinstance(body, Mapping):
        return False
    return not (body.get("messages") or body.get("prompt") or body.get("images") or body.get("suffix"))
