#!/usr/bin/env python3
"""Makes chat_cases.json: made-up conversations, and what jinja2 makes of them with the templates of each family.

usage: make_chat_cases.py TEMPLATES > chat_cases.json    TEMPLATES: a folder with the published files NAME.jinja. Needs PyPI's jinja2.

The settings are those of Hugging Face's apply_chat_template. The templates of BitNet, Falcon 3, Llama 3 and plain ChatML are short and written
here; those of Qwen and of Llama 3.1 are read from TEMPLATES, and only the texts that they make of our conversations are stored.
"""
import json
import os
import random
import sys

from jinja2.sandbox import ImmutableSandboxedEnvironment

BITNET = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = message['role'] | capitalize + ': '+ "
    "message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
)
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
    "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
FALCON3 = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|system|>\n' + message['content'] + '\n' }}"
    "{% elif message['role'] == 'user' %}{{ '<|user|>\n' + message['content'] + '\n' }}{% elif message['role'] == 'assistant' %}"
    "{% if not loop.last %}{{ '<|assistant|>\n'  + message['content'] + eos_token + '\n' }}{% else %}"
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}{% endif %}{% endif %}"
    "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}"
)
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
OWN = {"bitnet": BITNET, "llama3": LLAMA3, "falcon3": FALCON3, "chatml": CHATML, "chatml-bos": "{{ bos_token }}" + CHATML}
FILES = {
    "llama3.1": "meta-llama-Llama-3.1-8B-Instruct.jinja",
    "qwen2.5": "Qwen-Qwen2.5-7B-Instruct.jinja",
    "qwen3": "Qwen-Qwen3-0.6B.jinja",
}
PIECES = [
    "Hi", "a b", "What is 2+2?", " ", "\n", "\n\n", "\t", "\u00a0", "\u3000", "\u2028", "\x1c", "\x85", "\u00e9t\u00e9", "\u65e5\u672c", "\U0001f600", "<|eot_id|>", "<|im_end|>",
    "<|im_start|>", "<|user|>", "User: ", "Assistant:", "{{ x }}", "{% if %}", "'", '"', "\\n", "\\", "</s>", "", "</think>", "<think>", "<think>\nhm\n</think>\n\n",
    "<tool_response>", "</tool_response>", "<tool_response>4</tool_response>", "end.",
]


def conversation(rng):
    messages = []
    if rng.random() < 0.4:
        messages.append(("system", text(rng)))
    role = "user"
    for _ in range(rng.randint(1 if not messages else 0, 6)):
        messages.append((role, text(rng)))
        if rng.random() < 0.85:
            role = "assistant" if role == "user" else "user"
        if rng.random() < 0.05:
            messages.append(("system", text(rng)))
    return messages


def text(rng):
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, 5)))


def main():
    rng = random.Random(156)
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    sources = dict(OWN)
    for name, file in FILES.items():
        with open(os.path.join(sys.argv[1], file), encoding="utf-8") as stream:
            sources[name] = stream.read()
    cases = []
    for i in range(200):
        messages = conversation(rng)
        as_dicts = [{"role": role, "content": content} for role, content in messages]
        case = {"messages": messages, "prompt": i % 2 == 0, "texts": {}}
        for name, source in sources.items():
            more = {} if name != "qwen3" or i % 4 else {"enable_thinking": False}
            rendered = environment.from_string(source).render(
                messages=as_dicts, add_generation_prompt=case["prompt"], bos_token="<BOS>", eos_token="<|endoftext|>", **more
            )
            case["texts"][name] = rendered
        cases.append(case)
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    print('{"templates":' + json.dumps(OWN, separators=(",", ":")) + ',\n"cases":[\n' + lines + "\n]}")


main()
