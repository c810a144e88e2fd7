#!/usr/bin/env python3
"""Makes tests/data/spm: a small SentencePiece BPE of public-domain stories as tokenizer.model, the same as tokenizer.json, and what they hold.

usage: make_spm.py TRAIN.txt.xz OUT_FOLDER        (needs: pip install sentencepiece tokenizers)

tokenizer.json has the merges that transformers derives from such a model: every pair of tokens whose concatenation is a token, by that
token's score. pieces.txt has a line "id score kind piece-in-hex" for each token, as the sentencepiece package tells them. That both files
cut texts alike is checked here, with both packages.
"""
import json, lzma, os, sys
import sentencepiece as spm
from tokenizers import Tokenizer

N_TOKENS, N_LINES = 480, 4000
TEXTS = ["Once upon a time, there was a king.", " two  spaces and\ttab", "newline\n\nand \u20ac \U0001f600 \u00e9", "x", "The Queen's 1234 horses",
         "<s> is no token here", ""]


def main():
    corpus, out = sys.argv[1:3]
    os.makedirs(out, exist_ok=True)
    with lzma.open(corpus, "rt", encoding="utf-8") as f:
        lines = [line.strip() for _, line in zip(range(N_LINES), f) if line.strip()]
    with open(os.path.join(out, "lines"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines))
    spm.SentencePieceTrainer.train(input=os.path.join(out, "lines"), model_prefix=os.path.join(out, "tokenizer"), vocab_size=N_TOKENS,
                                   model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                                   user_defined_symbols=["<tool>"], num_threads=1, minloglevel=2)
    os.remove(os.path.join(out, "lines"))
    os.remove(os.path.join(out, "tokenizer.vocab"))
    sp = spm.SentencePieceProcessor(model_file=os.path.join(out, "tokenizer.model"))
    n = sp.get_piece_size()
    pieces = [sp.id_to_piece(i) for i in range(n)]
    kind = lambda i: 2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 5 if sp.is_unused(i) else 4 if pieces[i] == "<tool>" else 1
    with open(os.path.join(out, "pieces.txt"), "w") as f:
        f.writelines(f"{i} {sp.get_score(i):g} {kind(i)} {pieces[i].encode().hex()}\n" for i in range(n))
    ids = {p: i for i, p in enumerate(pieces)}
    merges = []
    for i, piece in enumerate(pieces):
        if kind(i) == 1:
            pairs = [(piece[:k], piece[k:]) for k in range(1, len(piece)) if piece[:k] in ids and piece[k:] in ids]
            merges += [(sp.get_score(i), p) for p in sorted(pairs, key=lambda p: (ids[p[0]], ids[p[1]]))]
    merges = [list(p) for _, p in sorted(merges, key=lambda m: m[0], reverse=True)]
    space = "\u2581"
    added = lambda i, special: {"id": i, "content": pieces[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}
    document = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added(0, True), added(1, True), added(2, True), added(ids["<tool>"], False)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": space},
                                                           {"type": "Replace", "pattern": {"String": " "}, "content": space}]},
        "pre_tokenizer": None,
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                           "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": space}, "content": " "}, {"type": "ByteFallback"},
                                                     {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": True, "byte_fallback": True, "ignore_merges": False, "vocab": ids, "merges": merges},
    }
    path = os.path.join(out, "tokenizer.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(document, f, ensure_ascii=False, separators=(",", ":"))
    tk = Tokenizer.from_file(path)
    for text in TEXTS:
        if "<s>" in text:
            continue                                    # a token to the one, text to the other
        a, b = sp.encode(text), tk.encode(text, add_special_tokens=False).ids
        assert a == b, (text, a, b)
    print(f"{n} tokens, {len(merges)} merges; {len(TEXTS) - 1} texts are cut alike")


main()
