#!/usr/bin/env python3
"""Writes spm_cases.json: small SentencePiece vocabularies and the ids that the sentencepiece package gives texts with them.

usage: make_spm_cases.py CORPUS OUT.json [N_TEXTS]

Needs PyPI sentencepiece and protobuf. CORPUS: a text file, or one packed with xz (the default model's held-out stories). The vocabularies:
"plain"  as Llama 2's: bytes for what has no piece, a space in front, pieces within words only
"odd"    pieces that reach over spaces, some of them unused, extra spaces removed, no bytes, so that there are unknown characters
"bare"   bytes, no space in front
"""
import io
import json
import lzma
import random
import sys

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

VOCABULARIES = {
    "plain": dict(vocab_size=900, byte_fallback=True, remove_extra_whitespaces=False, add_dummy_prefix=True),
    "odd": dict(vocab_size=500, byte_fallback=False, remove_extra_whitespaces=True, add_dummy_prefix=True, split_by_whitespace=False),
    "bare": dict(vocab_size=600, byte_fallback=True, remove_extra_whitespaces=False, add_dummy_prefix=False),
}
ALPHABET = ["a", "e", "t", "h", "o", "n", "s", "th", "the", "ing", " ", " ", " ", "  ", "\n", "\t", ".", ",", "'", "\"", "T", "I", "Z", "0",
            "17", "é", "ß", "ж", "中", "文", "の", "😀", "▁", "\u00a0", "\u3000", "<s>", "</s>", "<unk>", "<0x41>", "\u200b", "\x01", "q", "zz"]


def train(text, options):
    model = io.BytesIO()
    lines = [line for line in text.split("\n") if line.strip()]
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, model_type="bpe", character_coverage=0.999,
                                             normalization_rule_name="identity", minloglevel=2, **options)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    return proto


def make_unused(proto, rng):
    """Marks every seventh or so of the pieces that others are made from."""
    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece.Type
    for piece in proto.pieces:
        if piece.type == kinds.NORMAL and 2 <= len(piece.piece) <= 4 and rng.random() < 0.15:
            piece.type = kinds.UNUSED


def make_texts(corpus, n, rng):
    texts = ["", " ", "  ", "\n", " a", "a ", "a  b", "a" * 70, " " * 70, "▁", "a▁b", "<s>", "</s>", "<unk>", "<0x0A>", "ab\0c"]
    while len(texts) < n:
        kind = rng.random()
        if kind < 0.4:
            at, length = rng.randrange(len(corpus)), rng.choice([10, 30, 80])
            texts.append(corpus[at:at + length])
        elif kind < 0.9:
            texts.append("".join(rng.choice(ALPHABET) for _ in range(rng.choice([3, 8, 25]))))
        else:
            texts.append("".join(chr(rng.choice([rng.randrange(32, 127), rng.randrange(160, 0x800), rng.randrange(0x3000, 0xA000)]))
                                 for _ in range(rng.choice([2, 6]))))
    return texts


def main():
    corpus_path, out_path = sys.argv[1:3]
    n_texts = int(sys.argv[3]) if len(sys.argv) > 3 else 300
    opener = lzma.open if corpus_path.endswith(".xz") else open
    with opener(corpus_path, "rt", encoding="utf-8") as file:
        corpus = file.read()
    rng = random.Random(5)
    out = []
    for name, options in VOCABULARIES.items():
        proto = train(corpus[:400000], options)
        if name == "odd":
            make_unused(proto, rng)
        processor = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
        cases = [[text, processor.encode(text)] for text in make_texts(corpus, n_texts, rng)]
        out.append({"name": name, "add_space_prefix": options["add_dummy_prefix"],
                    "remove_extra_whitespaces": options["remove_extra_whitespaces"],
                    "pieces": [p.piece for p in proto.pieces], "scores": [p.score for p in proto.pieces],
                    "kinds": [p.type for p in proto.pieces], "cases": cases})
    with open(out_path, "w", encoding="utf-8") as file:
        json.dump(out, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
