#!/usr/bin/env python3
"""Distance of the exact mode from the real-number model over a validation text; run by hand (needs numpy), recorded in docs/TESTING.md.

usage: check_oracle.py TERNION ORACLE.PY HF_DIR TEXT[.xz] [WINDOWS]
TERNION: the program; its default model must be the conversion of HF_DIR. ORACLE.PY: the float64 model, as tests/golden/make_oracle.py takes it.
Cuts the text into windows of 512 tokens (the model's context, BOS first), takes WINDOWS of them (default 20) evenly spread, and compares logits.
Exit status 1 where the mean KL is not below 5e-4 or the perplexities differ by more than 0.2 %.
"""
import lzma, os, subprocess, sys, tempfile
import numpy as np

CONTEXT = 512


def logprobs(path, n):
    z = np.fromfile(path, "<f4").astype(np.float64).reshape(n, -1)
    z -= z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def main():
    program, oracle, model, text_path = sys.argv[1:5]
    n_windows = int(sys.argv[5]) if len(sys.argv) > 5 else 20
    opener = lzma.open if text_path.endswith(".xz") else open
    text = opener(text_path, "rt").read().replace("<|endoftext|>", "")
    kl, nll, nll_oracle, n, same = 0.0, 0.0, 0.0, 0, 0
    with tempfile.TemporaryDirectory() as tmp:
        path = lambda name: os.path.join(tmp, name)
        open(path("text"), "w").write(text)
        ids = subprocess.run([program, "tokenize", "--ids", "-f", path("text")], check=True, capture_output=True, text=True).stdout.split()
        bos, ids = ids[0], ids[1:]
        step = (len(ids) - CONTEXT) // n_windows
        for w in range(n_windows):
            window = [bos] + ids[w * step:w * step + CONTEXT - 1]
            open(path("ids"), "w").write(" ".join(window))
            subprocess.run([program, "logits", "--tokens", path("ids"), "-o", path("ours"), "-q"], check=True)
            subprocess.run([sys.executable, oracle, model, path("ids"), path("theirs")], check=True)
            ours, theirs = logprobs(path("ours"), CONTEXT), logprobs(path("theirs"), CONTEXT)
            at, following = np.arange(CONTEXT - 1), np.array(window[1:], dtype=np.int64)
            kl += (np.exp(theirs) * (theirs - ours)).sum()
            same += (ours.argmax(-1) == theirs.argmax(-1)).sum()
            nll -= ours[at, following].sum()
            nll_oracle -= theirs[at, following].sum()
            n += CONTEXT
            os.remove(path("ours"))
    predicted = n - n_windows
    ours, theirs = np.exp(nll / predicted), np.exp(nll_oracle / predicted)
    print(f"{n} positions: mean KL {kl / n:.3e}, same top-1 {same / n:.4%}, perplexity {ours:.4f} against {theirs:.4f} ({ours / theirs - 1:+.4%})")
    sys.exit(not (kl / n < 5e-4 and abs(ours / theirs - 1) < 0.002))


main()
