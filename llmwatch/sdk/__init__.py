"""The openai and anthropic SDKs, and other libraries on httpx or httpx2, over watched connections.

An SDK that takes a client of either library is watched through :func:`client`. The table has the argument that each SDK
takes, as it was tried with the version beside it, where ``H`` is ``llmwatch.sdk.client("httpx")`` and ``H2`` is
``llmwatch.sdk.client("httpx2")``:

=============================  ========================================================================================
openai 3.57                    :func:`openai`; or ``OpenAI(http_client=H2)``, or ``H``
anthropic 2.14                 :func:`anthropic`; or ``Anthropic(http_client=H2)``
langchain-openai 1.7           ``ChatOpenAI(http_client=H2)``
langchain-anthropic 1.7        takes none: :func:`llmwatch.install`
litellm 1.110                  ``completion(client=llmwatch.sdk.openai(...))`` or ``litellm.client_session = H2`` for
                               OpenAI's interface; ``completion(client=HTTPHandler(client=H))`` for other providers
google-genai 3.6               ``Client(http_options=HttpOptions(httpx_client=H2))``, or ``H``
mistralai 3.7                  ``Mistral(client=H)``, or ``H2``
cohere 7.3                     ``ClientV2(httpx_client=H)``
groq 1.7                       ``Groq(http_client=H)``
ollama 0.6                     ``Client(transport=llmwatch.sdk.Transport(), trust_env=False)``
huggingface_hub 2.4            ``set_client_factory(lambda: H2)``, for the whole process
together 3.1                   ``Together(http_client=H)``
cerebras-cloud-sdk 1.91        ``Cerebras(http_client=H)``
zai-sdk 0.2                    ``ZaiClient(http_client=H)``
smolagents 1.26                ``OpenAIModel(client_kwargs={"http_client": H2})``; for ``InferenceClientModel`` as for
                               huggingface_hub
aisuite 0.2                    takes none (it gives an async client the same): :func:`llmwatch.install`
llm 0.36                       takes none: :func:`llmwatch.install`
=============================  ========================================================================================

Importing this imports none of them. Each is imported when first needed; :class:`ImportError` says what to install.
"""

from llmwatch.sdk.clients import anthropic, openai
from llmwatch.sdk.http_clients import client
from llmwatch.sdk.transport import Through, Translate, Transport
from llmwatch.sdk.trust import Verify

__all__ = ["Through", "Translate", "Transport", "Verify", "anthropic", "client", "openai"]
