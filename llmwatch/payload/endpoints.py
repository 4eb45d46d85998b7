"""The table of the providers' documented HTTP methods: paths, and fields of the request's body.

A row describes one method: the fields with the prompt and the model's name, other evidence of a model call, and how the
request asks for a stream. :mod:`llmwatch.payload.modelcalls` and :mod:`llmwatch.payload.streaming` use the table.

A row matches the end of a path. Other backends use words such as ``generate`` and ``completions`` in their paths too:
there the body must hold a setting that only models take (``needs``). A request to a server of one model may lack the
model's name: there a setting of the generation is evidence (``instead``). Fields such as ``seed``, ``stop`` and
``max_length`` are not evidence, because orders have fields of these names. A field counts only with a value of the
documented type.

Sources: the providers' API references, and the requests of their own packages: cohere 4.57, dashscope 2.0,
huggingface_hub 2.4, nlpcloud 1.1, qianfan 0.4, tencentcloud-sdk-python-hunyuan 3.1, together 0.2, zhipuai 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache, lru_cache
from urllib.parse import urlsplit

__all__ = ["ENDPOINTS", "Endpoint", "Prompt", "Streams", "endpoints_at", "field_of", "is_set"]


class Streams(Enum):
    """When a method answers with a stream.

    ``ASKED``: if the body's field for it is true; ``ALWAYS``: for every request; ``UNLESS_TOLD``: unless that field is
    false.
    """

    ASKED = "asked"
    ALWAYS = "always"
    UNLESS_TOLD = "unless_told"


class Prompt(Enum):
    """The form of a prompt that is not a conversation.

    ``TEXT``: one text; ``ITEMS``: a list of objects; ``ANY``: either, or a list of texts or tokens.
    """

    ANY = "any"
    TEXT = "text"
    ITEMS = "items"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One documented method. Names of nested fields have dots.

    * ``path``: a regular expression for the end of the URL's path (without a trailing slash). The group ``model`` is
      the model's name in the path, if any.
    * ``prompts``: fields of which one holds the prompt; ``prompt``: the form of the prompt.
    * ``model``: fields that name the model; ``names``: a regular expression for the start of the model's name.
    * ``instead``: fields of which one is evidence enough without a model's name.
    * ``needs``: fields of which one is required, with or without a model's name; empty for no requirement.
    * ``speakers``: whether a conversation must have a known role; ``empty``: whether a conversation may have no turns,
      allowed only for paths that no other backend has.
    * ``stream``: the field that asks for a stream; ``streams``: when the method streams.
    """

    path: str
    prompts: tuple[str, ...]
    prompt: Prompt = Prompt.ANY
    model: tuple[str, ...] = ("model",)
    names: str = ""
    instead: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    speakers: bool = True
    empty: bool = False
    stream: str = "stream"
    streams: Streams = Streams.ASKED

    @property
    def prompt_fields(self) -> frozenset[str]:
        """The top-level fields of the body that hold the prompt, directly or nested."""
        return frozenset(name.partition(".")[0] for name in self.prompts)

    def model_in(self, path: str) -> str:
        """The model in ``path``, else ``""``."""
        match = _compiled(self.path).search(path)
        return (match.groupdict().get("model") or "") if match is not None else ""

    def may_name(self, model: object) -> bool:
        """Whether ``model`` may be the name of a model of this method."""
        return isinstance(model, str) and bool(model) and _compiled(self.names).match(model) is not None

    def fits(self, path: str) -> bool:
        """Whether ``path`` (without a trailing slash) is a path of this method."""
        return _compiled(self.path).search(path) is not None


# Settings that only models take: sampling and length. By documented type.
_NUMBERS = (
    *("temperature", "top_p", "top_k", "min_p", "typical_p", "n_predict", "max_tokens", "max_completion_tokens"),
    *("max_output_tokens", "max_new_tokens", "maximum_tokens", "max_tokens_to_sample", "max_gen_len"),
    *("repetition_penalty", "repeat_penalty", "frequency_penalty", "presence_penalty", "rep_pen", "max_context_length"),
)
_SWITCHES = ("do_sample", "cache_prompt", "stream_tokens", "return_full_text")
_SAMPLING = (*_NUMBERS, *_SWITCHES, "sampling_params")
_ASKED = (*_SAMPLING, "stream")
_PARAMETERS = tuple(f"parameters.{name}" for name in _SAMPLING)
_RESPONSES = ("stream", "tools", "reasoning", "max_output_tokens", "temperature", "previous_response_id")
_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys((*_NUMBERS, "max_length"), (int, float)),
    **dict.fromkeys((*_SWITCHES, "stream", "store", "wait_for_model", "use_cache"), (bool,)),
    **dict.fromkeys(("sampling_params", "parameters", "reasoning", "inferenceConfig"), (Mapping,)),
    "tools": (list,),
    "previous_response_id": (str,),
}
# Fields that Cohere's package sends with each chat, with any value.
_COHERE = ("chat_history", "preamble", "prompt_truncation", "citation_quality", "search_queries_only", "raw_prompting")

_V = r"/v\d[a-z0-9]*"
_DEPLOYMENT = r"/(?:deployments|engines)/(?P<model>[^/]+)"
_OPENED = r"/(?:openai/deployments|v\d[a-z0-9]*/engines)/(?P<model>[^/]+)"
_MODEL = r"/(?P<model>[^/]+)"
# ``vendor.model``, with or without a region in front, or an ARN.
_BEDROCK_NAME = r"(?:[a-z][a-z0-9-]*\.)+\S|arn(?::|%3[Aa])aws"
_BEDROCK_COHERE = r"(?:[a-z]+\.)?cohere\."
_COHERE_NAME = r"command|c4ai|aya"

_OPENAI = (
    # Also Azure, Mistral, DeepSeek, zhipu v4, vLLM, llama.cpp and other compatible servers.
    Endpoint(path=rf"(?:{_DEPLOYMENT})?/chat/completions$", prompts=("messages",), instead=_ASKED, empty=True),
    Endpoint(path=r"/agents/completions$", prompts=("messages",), model=("agent_id",)),
    Endpoint(
        path=rf"(?:{_V}|/openai|/beta|/fim|{_OPENED})/completions$",
        prompts=("prompt",),
        instead=("n_predict", "max_tokens", "temperature", "cache_prompt"),
    ),
    Endpoint(path=r"^/completions$", prompts=("prompt",), instead=_SAMPLING, needs=_ASKED),
    Endpoint(path=r"/completions$", prompts=("prompt",), needs=_ASKED),
    Endpoint(path=rf"(?:{_V}|/openai|{_OPENED})/responses$", prompts=("input", "prompt.id")),
    Endpoint(path=r"/responses$", prompts=("input", "prompt.id"), prompt=Prompt.TEXT, needs=_RESPONSES),
    Endpoint(path=r"/responses$", prompts=("input",), prompt=Prompt.ITEMS, needs=(*_RESPONSES, "store")),
    Endpoint(path=r"^/embeddings$", prompts=("input",), instead=("encoding_format",), needs=("encoding_format",)),
    Endpoint(
        path=rf"(?:{_V}|/openai|/api|/text|{_OPENED})/embeddings$",
        prompts=("input", "prompt", "inputs"),
        model=("model", "model_id"),
        instead=("encoding_format",),
    ),
    Endpoint(path=rf"{_V}/moderations$", prompts=("input",)),
    Endpoint(path=rf"(?:{_V}|{_DEPLOYMENT})/images?/generations$", prompts=("prompt",)),
)
_ANTHROPIC = (
    # Messages with roles are recognised at any URL.
    Endpoint(path=rf"{_V}/complete$", prompts=("prompt",), needs=("max_tokens_to_sample",)),
)
_GOOGLE = (
    Endpoint(path=r"/(?P<model>[^/:]+):generateContent$", prompts=("contents",), speakers=False),
    Endpoint(
        path=r"/(?P<model>[^/:]+):streamGenerateContent$",
        prompts=("contents",),
        speakers=False,
        streams=Streams.ALWAYS,
    ),
    Endpoint(path=r"/(?P<model>[^/:]+):embedContent$", prompts=("content",)),
    Endpoint(path=r"/(?P<model>[^/:]+):batchEmbedContents$", prompts=("requests",)),
    # Vertex: models of other vendors, and the older interface.
    Endpoint(path=r"/publishers/[^/]+/models/(?P<model>[^/:]+):rawPredict$", prompts=("messages", "prompt")),
    Endpoint(path=r"/(?P<model>[^/:]+):streamRawPredict$", prompts=("messages", "prompt"), streams=Streams.ALWAYS),
    Endpoint(path=r"/publishers/[^/]+/models/(?P<model>[^/:]+):predict$", prompts=("instances",)),
    Endpoint(
        path=r"/(?P<model>[^/:]+):serverStreamingPredict$", prompts=("inputs", "instances"), streams=Streams.ALWAYS
    ),
)
_BEDROCK_NEEDS = (*_SAMPLING, "anthropic_version", "inferenceConfig")
_BEDROCK_STREAM = rf"/model{_MODEL}/invoke-with-response-stream$"
_BEDROCK = (
    Endpoint(path=rf"/model{_MODEL}/converse$", prompts=("messages",), names=_BEDROCK_NAME, empty=True),
    Endpoint(
        path=rf"/model{_MODEL}/converse-stream$",
        prompts=("messages",),
        names=_BEDROCK_NAME,
        empty=True,
        streams=Streams.ALWAYS,
    ),
    Endpoint(
        path=rf"/model{_MODEL}/invoke$", prompts=("messages", "prompt"), names=_BEDROCK_NAME, needs=_BEDROCK_NEEDS
    ),
    Endpoint(path=rf"/model{_MODEL}/invoke$", prompts=("inputText",), names=_BEDROCK_NAME),
    Endpoint(path=rf"/model{_MODEL}/invoke$", prompts=("message", "texts"), names=_BEDROCK_COHERE),
    Endpoint(
        path=_BEDROCK_STREAM,
        prompts=("messages", "prompt"),
        names=_BEDROCK_NAME,
        needs=_BEDROCK_NEEDS,
        streams=Streams.ALWAYS,
    ),
    Endpoint(path=_BEDROCK_STREAM, prompts=("inputText",), names=_BEDROCK_NAME, streams=Streams.ALWAYS),
    Endpoint(path=_BEDROCK_STREAM, prompts=("message",), names=_BEDROCK_COHERE, streams=Streams.ALWAYS),
)
_SELF_HOSTED = (
    # Ollama
    Endpoint(path=r"/api/chat$", prompts=("messages",), streams=Streams.UNLESS_TOLD),
    Endpoint(path=r"/api/generate$", prompts=("prompt",), streams=Streams.UNLESS_TOLD),
    Endpoint(path=r"/api/embed$", prompts=("input",)),
    # Text Generation Inference, at its own root, behind a gateway, and at Hugging Face
    Endpoint(
        path=r"^(?:/generate)?$", prompts=("inputs",), prompt=Prompt.TEXT, model=(), instead=("parameters", "stream")
    ),
    Endpoint(path=r"/generate$", prompts=("inputs",), prompt=Prompt.TEXT, model=(), instead=_PARAMETERS),
    Endpoint(
        path=r"^/generate_stream$",
        prompts=("inputs",),
        prompt=Prompt.TEXT,
        model=(),
        instead=("inputs",),
        streams=Streams.ALWAYS,
    ),
    Endpoint(
        path=r"/generate_stream$",
        prompts=("inputs",),
        prompt=Prompt.TEXT,
        model=(),
        instead=_PARAMETERS,
        streams=Streams.ALWAYS,
    ),
    Endpoint(
        path=r"/models/(?P<model>[^/]+/[^/]+)$",
        prompts=("inputs",),
        needs=(*_PARAMETERS, "options.wait_for_model", "options.use_cache", "stream"),
    ),
    # Triton
    Endpoint(path=rf"/v2/models{_MODEL}(?:/versions/[^/]+)?/generate$", prompts=("text_input",)),
    Endpoint(
        path=rf"/v2/models{_MODEL}(?:/versions/[^/]+)?/generate_stream$",
        prompts=("text_input",),
        streams=Streams.ALWAYS,
    ),
    # vLLM's plain server, text-generation-webui, KoboldCpp; SGLang
    Endpoint(path=r"/generate$", prompts=("prompt",), instead=_SAMPLING, needs=_SAMPLING),
    Endpoint(path=r"/generate$", prompts=("text", "input_ids"), model=(), instead=("sampling_params",)),
    Endpoint(
        path=r"/generate_stream$", prompts=("prompt",), instead=_SAMPLING, needs=_SAMPLING, streams=Streams.ALWAYS
    ),
    Endpoint(
        path=r"/extra/generate/stream$",
        prompts=("prompt",),
        instead=(*_SAMPLING, "max_length"),
        needs=(*_SAMPLING, "max_length"),
        streams=Streams.ALWAYS,
    ),
    # llama.cpp
    Endpoint(path=r"^/completion$", prompts=("prompt",), instead=_ASKED, needs=_ASKED),
    Endpoint(path=r"/completion$", prompts=("prompt",), instead=_SAMPLING, needs=_SAMPLING),
    Endpoint(path=r"^/infill$", prompts=("input_prefix",), model=(), instead=("input_suffix",)),
    # LM Studio
    Endpoint(path=r"/api/v1/chat$", prompts=("input",)),
    # FastChat's worker
    Endpoint(path=r"/worker_generate$", prompts=("prompt",)),
    Endpoint(path=r"/worker_generate_stream$", prompts=("prompt",), streams=Streams.ALWAYS),
)
_CLOUDS = (
    # Databricks and MLflow, SageMaker, and their containers; messages with roles are recognised at any URL
    Endpoint(path=rf"/serving-endpoints{_MODEL}/invocations$", prompts=("prompt", "input")),
    Endpoint(path=rf"/(?:endpoints|gateway){_MODEL}/invocations$", prompts=("prompt",), needs=_SAMPLING),
    Endpoint(path=rf"/endpoints{_MODEL}/invocations$", prompts=("inputs",), prompt=Prompt.TEXT, needs=_PARAMETERS),
    Endpoint(
        path=rf"/endpoints{_MODEL}/invocations-response-stream$",
        prompts=("messages", "prompt", "inputs"),
        needs=(*_ASKED, "parameters"),
        streams=Streams.ALWAYS,
    ),
    Endpoint(path=r"^/invocations$", prompts=("messages", "prompt"), instead=_ASKED),
    Endpoint(path=r"^/invocations$", prompts=("inputs",), prompt=Prompt.TEXT, model=(), instead=_PARAMETERS),
    # Azure: models as a service
    Endpoint(
        path=r"^/score$",
        prompts=("input_data.input_string",),
        prompt=Prompt.ITEMS,
        model=(),
        instead=("input_data.parameters",),
    ),
    # Cloudflare, and behind its gateway
    Endpoint(
        path=r"/(?:ai/run|workers-ai)/(?P<model>(?:@|%40)[^/]+/[^/]+/[^/]+)$",
        prompts=("messages", "prompt", "input", "text"),
    ),
    # watsonx
    Endpoint(
        path=rf"/ml/v1[^/]*(?:/deployments{_MODEL})?/text/generation$",
        prompts=("input", "parameters.prompt_variables"),
        model=("model_id",),
    ),
    Endpoint(
        path=rf"/ml/v1[^/]*(?:/deployments{_MODEL})?/text/generation_stream$",
        prompts=("input", "parameters.prompt_variables"),
        model=("model_id",),
        streams=Streams.ALWAYS,
    ),
    Endpoint(
        path=rf"/ml/v1(?:/deployments{_MODEL})?/text/chat$", prompts=("messages",), model=("model_id",), empty=True
    ),
    Endpoint(
        path=rf"/ml/v1(?:/deployments{_MODEL})?/text/chat_stream$",
        prompts=("messages",),
        model=("model_id",),
        empty=True,
        streams=Streams.ALWAYS,
    ),
    # Snowflake
    Endpoint(path=r"/cortex/inference:complete$", prompts=("messages", "prompt"), speakers=False),
)
_OTHERS = (
    # Cohere, whose chat has a default model
    Endpoint(path=r"(?:/v1|^)/chat$", prompts=("message",), names=_COHERE_NAME, instead=_COHERE),
    Endpoint(
        path=r"/v1/generate$",
        prompts=("prompt",),
        names=_COHERE_NAME,
        instead=("num_generations", "return_likelihoods"),
    ),
    Endpoint(
        path=r"/v[12]/embed$",
        prompts=("texts", "inputs", "images"),
        needs=("input_type", "embedding_types", "truncate"),
    ),
    # DashScope
    Endpoint(
        path=r"/services/aigc/(?:text|multimodal)-generation/generation$", prompts=("input.messages", "input.prompt")
    ),
    Endpoint(
        path=r"/services/embeddings/(?:text|multimodal)-embedding/[^/]+$", prompts=("input.texts", "input.contents")
    ),
    # zhipu, before v4
    Endpoint(path=rf"/paas/v3/model-api{_MODEL}/invoke$", prompts=("prompt",), prompt=Prompt.ITEMS),
    Endpoint(
        path=rf"/paas/v3/model-api{_MODEL}/sse-invoke$",
        prompts=("prompt",),
        prompt=Prompt.ITEMS,
        streams=Streams.ALWAYS,
    ),
    # Baidu
    Endpoint(path=rf"/wenxinworkshop/(?:chat|completions){_MODEL}$", prompts=("messages", "prompt")),
    # Hunyuan
    Endpoint(path=r"^$", prompts=("Messages",), model=("Model",), stream="Stream"),
    # MiniMax
    Endpoint(path=r"/text/chatcompletion(?:_pro|_v2)?$", prompts=("messages",), empty=True),
    # Yandex
    Endpoint(
        path=r"/foundationModels/v1/completion$",
        prompts=("messages",),
        model=("modelUri",),
        stream="completionOptions.stream",
    ),
    # NLP Cloud
    Endpoint(path=rf"/v1/gpu(?:/[a-z]{{3}}_[A-Z][a-z]{{3}})?{_MODEL}/(?:code-)?generation$", prompts=("text",)),
    Endpoint(path=rf"/v1/gpu(?:/[a-z]{{3}}_[A-Z][a-z]{{3}})?{_MODEL}/chatbot$", prompts=("input",)),
    Endpoint(path=rf"/v1{_MODEL}/generation$", prompts=("text",), needs=_SAMPLING),
    Endpoint(path=rf"/v1{_MODEL}/chatbot$", prompts=("input",), prompt=Prompt.TEXT, needs=("context",)),
    Endpoint(
        path=rf"/v1/gpu/stream(?:ing)?{_MODEL}/(?:(?:code-)?generation|chatbot)$",
        prompts=("text", "input"),
        streams=Streams.ALWAYS,
    ),
    # Together, before v1; DeepInfra
    Endpoint(path=r"(?:^|/api)/inference$", prompts=("prompt",), needs=_SAMPLING, stream="stream_tokens"),
    Endpoint(path=r"/v1/inference/(?P<model>[^/]+/[^/]+)$", prompts=("input",)),
    # AI21, Aleph Alpha
    Endpoint(path=rf"/studio/v1{_MODEL}/complete$", prompts=("prompt",)),
    Endpoint(path=r"^/complete$", prompts=("prompt",), needs=("maximum_tokens",)),
)

ENDPOINTS: tuple[Endpoint, ...] = (
    *_OPENAI,
    *_ANTHROPIC,
    *_GOOGLE,
    *_BEDROCK,
    *_SELF_HOSTED,
    *_CLOUDS,
    *_OTHERS,
)
"""Every known method. Methods that share a path are told apart by the body."""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # Compiled at the first call, to keep the import fast.
    return re.compile(pattern)


def endpoints_at(url: str) -> tuple[tuple[Endpoint, str], ...]:
    """The methods whose path fits ``url``, each with the model in the URL or ``""``."""
    try:
        path = urlsplit(url).path.rstrip("/")
    except ValueError:
        return ()
    return _at(path)


@lru_cache(maxsize=64)
def _at(path: str) -> tuple[tuple[Endpoint, str], ...]:
    # A program uses few paths, each many times.
    return tuple((endpoint, endpoint.model_in(path)) for endpoint in ENDPOINTS if endpoint.fits(path))


def field_of(body: Mapping[str, object], name: str) -> object:
    """The value of the field ``name`` (with dots if nested); ``None`` if missing."""
    value: object = body
    for key in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def is_set(body: Mapping[str, object], names: Iterable[str]) -> bool:
    """Whether one of the fields ``names`` is present with a value of the documented type, if known.

    ``null`` counts as a valid value, because some packages send all of their fields.
    """
    for name in names:
        outer, _, inner = name.rpartition(".")
        holder = field_of(body, outer) if outer else body
        if isinstance(holder, Mapping) and inner in holder and _is_documented(inner, holder[inner]):
            return True
    return False


def _is_documented(name: str, value: object) -> bool:
    types = _TYPES.get(name)
    if types is None or value is None:
        return True
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types) and value != []
