#!/usr/bin/env bash
# llama.cpp's server (xllamacpp 2026.10.11549): an answer of Responses that ran out of tokens is "completed".
#
# A model that never ends by itself is asked for 8 tokens. In chat completions the same answer has the finish_reason
# "length". In Responses its status is "completed", the stream ends with response.completed, and there is no
# incomplete_details: a client cannot tell that the answer was cut, unless it counts the tokens.
# Expected: status "incomplete", incomplete_details {"reason": "max_output_tokens"} and response.incomplete, as OpenAI
# documents for its API. Seen on CPython 3.11, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check xllamacpp==2026.10.11549 gguf==0.19.0
"$folder/env/bin/python" - "$folder/tiny.gguf" 2>"$folder/log" <<'PROGRAM'
import json
import sys
import urllib.request

import gguf
import numpy
import xllamacpp

WIDTH, INNER = 32, 64
tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
writer = gguf.GGUFWriter(sys.argv[1], "llama")
writer.add_context_length(512)
writer.add_embedding_length(WIDTH)
writer.add_block_count(1)
writer.add_feed_forward_length(INNER)
writer.add_head_count(2)
writer.add_head_count_kv(2)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_dimension_count(WIDTH // 2)
writer.add_vocab_size(len(tokens))
writer.add_tokenizer_model("llama")
writer.add_token_list(tokens)
writer.add_token_scores([0.0] * len(tokens))
writer.add_token_types([2, 3, 3, *[6] * 256])
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_unk_token_id(0)
writer.add_chat_template("{% for message in messages %}{{ message['content'] }}{% endfor %}")
chance = numpy.random.default_rng(15)
shapes = {"token_embd": (len(tokens), WIDTH), "output": (len(tokens), WIDTH)}
shapes |= {f"blk.0.attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
shapes |= {"blk.0.ffn_gate": (INNER, WIDTH), "blk.0.ffn_up": (INNER, WIDTH), "blk.0.ffn_down": (WIDTH, INNER)}
for name, shape in shapes.items():
    writer.add_tensor(f"{name}.weight", chance.normal(0, 0.3, shape).astype(numpy.float32))
for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
    writer.add_tensor(f"{name}.weight", numpy.ones(WIDTH, numpy.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

settings = xllamacpp.CommonParams()
settings.model.path, settings.port, settings.n_ctx = sys.argv[1], 0, 512
server = xllamacpp.Server(settings)


def ask(path, **body):
    data = json.dumps({"model": "tiny", "ignore_eos": True, **body}).encode()
    request = urllib.request.Request(server.listening_address + path, data, {"Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=30).read().decode("utf-8", "replace")


chat = json.loads(ask("/v1/chat/completions", messages=[{"role": "user", "content": "Hello"}], max_tokens=8))
plain = json.loads(ask("/v1/responses", input="Hello", max_output_tokens=8))
lines = ask("/v1/responses", input="Hello", max_output_tokens=8, stream=True).splitlines()
last = [line for line in lines if line.startswith("event: ")][-1]
said = chat["choices"][0]["finish_reason"], plain["status"], plain.get("incomplete_details"), last
print(*said, sep="\n")
sys.exit(0 if said == ("length", "completed", None, "event: response.completed") else 1)
PROGRAM
