#!/usr/bin/env python3
"""Writes what eval_test.cpp expects of the default model: perplexities and scores of tasks, from logits of the NumPy form of the exact mode.

usage: make_eval_oracle.py CONTRACT.PY MODEL.gguf TERNION tests/data/eval
CONTRACT.PY computes logits; TERNION does nothing but make tokens. What is scored is written here once more, in the order and the words of
llama-perplexity. Reads story.txt, hellaswag.txt, winogrande.csv and multiple_choice.jsonl of the folder, writes oracle.txt there. Lines:
"ppl CONTEXT STRIDE FINAL ERROR RUNNING..." and "KIND TASK CHOSEN SCORES...". Needs numpy.
"""
import csv, json, os, subprocess, sys, tempfile
import numpy as np

contract, model, ternion, folder = sys.argv[1:5]
BOS = 4094


def path(name):
    return os.path.join(folder, name)


def tokenize(text):
    result = subprocess.run([ternion, "tokenize", "-m", model, "--ids"], input=text.encode(), check=True, capture_output=True)
    return [int(t) for t in result.stdout.split()]


def log_probs(tokens):
    """log softmax after each token"""
    with tempfile.TemporaryDirectory() as tmp:
        ids, out = os.path.join(tmp, "ids"), os.path.join(tmp, "out")
        with open(ids, "w") as file:
            file.write(" ".join(map(str, tokens)))
        subprocess.run([sys.executable, contract, model, ids, out], check=True)
        z = np.fromfile(out, "<f4").astype(np.float64).reshape(len(tokens), -1)
    z -= z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def perplexity(tokens, context, stride):
    nlls, running = [], []
    if stride == 0:
        starts = [i * context for i in range(len(tokens) // context)]
        size, first, n = context, context // 2, context - 1 - context // 2
    else:
        size = context + stride // 2
        starts = [i * stride for i in range((len(tokens) - size + stride - 1) // stride)]
        first, n = size - stride - 1, stride
    for start in starts:
        window = tokens[start:start + size]
        p = log_probs(([BOS] if stride == 0 else window[:1]) + window[1:])
        nlls += [-p[j, window[j + 1]] for j in range(first, first + n)]
        running.append(np.exp(np.mean(nlls)))
    error = np.exp(np.mean(nlls)) * np.sqrt((np.mean(np.square(nlls)) - np.mean(nlls)**2) / (len(nlls) - 1))
    return running[-1], error, running


def common_prefix(sequences):
    n = 0
    while all(n < len(s) and s[n] == sequences[0][n] for s in sequences):
        n += 1
    return n


def mean_logprob(tokens, first, end):
    p = log_probs(tokens)
    return np.mean([p[t - 1, tokens[t]] for t in range(first, end)])


def endings(texts):
    sequences = [tokenize(t) for t in texts]
    n = common_prefix(sequences)
    scores = [mean_logprob(s, n, len(s)) for s in sequences]
    return int(np.argmax(scores)), scores


def winogrande(sentence, choices):
    before, behind = sentence.split("_", 1)
    sequences = [tokenize(before + c + behind) for c in choices]
    n, scores = common_prefix(sequences), []
    skip_choice = all(len(s) - n > 3 for s in sequences)
    for s, c in zip(sequences, choices):
        base = len(tokenize(before + c)) if skip_choice else n
        last = 1 if len(s) - base > 1 else 0
        scores.append(mean_logprob(s, base, len(s) - last))
    return (0 if scores[0] > scores[1] else 1), scores


def main():
    with open(path("story.txt"), encoding="utf-8") as file:
        story = tokenize(file.read().removesuffix("\n"))
    with open(path("oracle.txt"), "w", encoding="utf-8") as out:
        for context, stride in ((64, 0), (33, 0), (48, 16), (40, 7)):
            final, error, running = perplexity(story, context, stride)
            print("ppl", context, stride, repr(float(final)), repr(float(error)), *(repr(float(r)) for r in running), file=out)
        with open(path("hellaswag.txt"), encoding="utf-8") as file:
            lines = file.read().splitlines()
        tasks = [("hellaswag", endings([lines[i] + " " + lines[i + 2 + e] for e in range(4)])) for i in range(0, len(lines), 6)]
        with open(path("winogrande.csv"), encoding="utf-8", newline="") as file:
            tasks += [("winogrande", winogrande(row[1], row[2:4])) for row in csv.reader(file)]
        with open(path("multiple_choice.jsonl"), encoding="utf-8") as file:
            questions = [json.loads(line) for line in file if line.strip()]
        tasks += [("multiple-choice", endings([q["question"] + " " + c for c in q["choices"]])) for q in questions]
        for i, (kind, (chosen, scores)) in enumerate(tasks):
            number = sum(k == kind for k, _ in tasks[:i])
            print(kind, number, chosen, *(repr(float(s)) for s in scores), file=out)


main()
