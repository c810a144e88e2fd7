#!/usr/bin/env python3
"""Writes story.merges and story_cases.json: the default model's merges, and texts with the ids of the tokenizers package.

Use: make_story_cases.py TOKENIZER_JSON [VALID_TXT_XZ]     (pip install tokenizers; the second file adds passages of prose)
"""
import json
import lzma
import pathlib
import random
import sys

import tokenizers

HERE = pathlib.Path(__file__).parent
SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>"]

FIXED = [
    "", " ", "  ", "\n", "\t", "a", "A", ".", "0", "\u00e9", "\u0000", "Hello", " Hello", "  Hello", "Hello ", "Hello  ", "Hello, world!",
    "Once upon a time there was a king.", "'I'm sure they'll say we've done what you'd do; it's theirs, isn't it?'",
    "'S 'T 'RE 'VE 'M 'LL 'D", "'so 'the 'red 'very 'more 'llama 'deep", "a'\u017fo 'Sure", "don't DON'T Don'T", "''s '''s",
    "1 12 123 1234 12345 1234567890", "3.14159, -2/3, 10%, 1e-9, 0x7FFF", "\u00b2\u00b3\u00bd\u2160\u2167 \u0661\u0662\u0663 \u0967\u0968\u0969\u096a",
    "a\nb", "a\n\nb", "a\r\nb\r\n", "a \n b", "a\n \nb", "\n\n\n", " \n \n ", "a\t\tb", "\t\n\t\n x", "x   \n   y", "x\u00a0y\u3000z\u2003w\u2028v\u0085u",
    "!!!\n\n", "!?.,;:-\n", " !\r\n\r\n", "end.\n\nNext", "(a) [b] {c} <d> $e #f @g &h *i ^j ~k `l` |m| \\n /o =p +q _r",
    "for (int i = 0; i < n; i++) {\n    x[i] += y[i];\n}\n", "def f(x):\n\treturn x**2  # square\n",
    "na\u00efve caf\u00e9 \u00fcber Stra\u00dfe \u00c5ngstr\u00f6m \u0153uvre", "e\u0301 a\u0308 n\u0303 (combining)", "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u0420\u0443\u0441\u0441\u043a\u0438\u0439",
    "\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3002 \u4e2d\u6587\uff0c\u6807\u70b9\u3002", "\ud55c\uad6d\uc5b4 \ubb38\uc7a5", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea", "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22 \u0ba4\u0bae\u0bbf\u0bb4\u0bcd",
    "\U0001f600\U0001f680 \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \u2764\ufe0f", "\ufffd\ufffd \ufeff\u200b\u200e", "\U0001d400\U0001d7d8 \U00010380",
    "a" * 300, " " * 70 + "x", "=" * 100, "ab" * 150, "\n" * 50 + "z", "The the THE tHe", "supercalifragilisticexpialidocious antidisestablishmentarianism",
]

WITH_SPECIALS = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|begin_of_text|>Once upon a time<|end_of_text|>", "a<|end_of_text|><|end_of_text|>b",
    " <|end_of_text|> x", "<|end_of_text|", "<|begin_of_text|>\n\n<|end_of_text|>\n", "<<|end_of_text|>>", "<|end_of_<|end_of_text|>text|>",
]

POOL = (list("aeiouthsrndlTHESABC'.,!?-0123456789 \n\t\r") + [" "] * 8
        + list("\u00e9\u00df\u00f1\u03b1\u0416\u05d0\u0628\u0905\u0e01\u4e2d\u3042\uac00\u00b2\u00bd\u0663\u0301\u0308\u200d\u2014\u201c\u201d\u2026\u00a0\u3000\u2028\u0085\U0001f600\U0001d400\u20ac\u2192"))


def passages(path, generator, n):
    text = lzma.open(path, "rt", encoding="utf-8").read()
    for _ in range(n):
        at, size = generator.randrange(len(text)), generator.choice([20, 60, 150, 400])
        yield text[at:at + size]


def write_merges(spec):
    model = spec["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    by_id = {i: t for t, i in model["vocab"].items()}
    alphabet = sorted(t for t in model["vocab"] if len(t) == 1)
    assert [by_id[i] for i in range(256)] == alphabet and len(alphabet) == 256
    assert all(by_id[256 + i] == a + b for i, (a, b) in enumerate(merges))
    assert [(t["id"], t["content"]) for t in spec["added_tokens"]] == [(256 + len(merges) + i, s) for i, s in enumerate(SPECIALS)]
    (HERE / "story.merges").write_text("".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8", newline="\n")


def main():
    generator = random.Random(20)
    spec = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    write_merges(spec)
    tokenizer = tokenizers.Tokenizer.from_file(sys.argv[1])
    texts = FIXED + ["".join(generator.choices(POOL, k=generator.randrange(1, 60))) for _ in range(80)]
    if len(sys.argv) > 2:
        texts += passages(sys.argv[2], generator, 50)
    cases = [{"text": t, "ids": tokenizer.encode(t, add_special_tokens=False).ids} for t in texts]
    cases += [{"text": t, "special": True, "ids": tokenizer.encode(t, add_special_tokens=False).ids} for t in WITH_SPECIALS]
    lines = ",\n".join(json.dumps(c, ensure_ascii=True, separators=(",", ":")) for c in cases)
    (HERE / "story_cases.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8", newline="\n")
    print(f"tokenizers {tokenizers.__version__}: {len(cases)} cases")


if __name__ == "__main__":
    main()
