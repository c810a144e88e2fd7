#!/usr/bin/env python3
"""The page of a comparison, read back: its figures against the JSON, its form, its drawings, and what hostile names may do to it.

usage: report_page_test.py REPORT_PAGE_MAKE TERNION MODEL
"""
import copy
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

PROGRAM, TERNION, MODEL = sys.argv.pop(1), sys.argv.pop(1), sys.argv.pop(1)
X = "{http://www.w3.org/1999/xhtml}"
SPACE = "\u00a0"
OPS = ["matmul_ternary ffn_up", "matmul_ternary ffn_down", "matmul head", "attention", "rms_norm", "rope", "quantise", "copy"]


def speed(rng, test, n_prompt, n_gen, n_seqs, base):
    samples = [base * rng.uniform(0.9, 1.1) for _ in range(5)]
    mean = sum(samples) / 5
    return {"test": test, "n_prompt": n_prompt, "n_gen": n_gen, "n_seqs": n_seqs, "unit": "t/s", "samples": samples,
            "median": sorted(samples)[2], "mean": mean, "deviation": math.sqrt(sum((x - mean) ** 2 for x in samples) / 4),
            "min": min(samples), "max": max(samples), "share_memory": rng.uniform(0, 1), "share_int8": rng.uniform(0, 1),
            "share_roofline": rng.uniform(0, 1), "energy": {"joule_per_token": rng.choice([None, rng.uniform(0.1, 2)])}}


def ops(rng, memory, int8):
    made = []
    for phase in ("pp512", "tg128"):
        for op in OPS:
            intensity = rng.uniform(0.5, 500) if "mat" in op or op == "attention" else None
            made.append({"phase": phase, "op": op, "share_of_time": rng.uniform(0, 0.3), "ns_per_token": rng.uniform(10, 1e7),
                         "bytes_per_token": rng.uniform(1e3, 1e9), "int8_ops_per_token": rng.uniform(1e6, 1e10), "intensity": intensity,
                         "ops_per_s": intensity and min(int8, memory * intensity) * rng.uniform(0.1, 0.99)})
    return made


def subject(rng, name, factor, **fields):
    memory, int8 = 2e10, 4e11 * factor
    made = {
        "name": name, "kind": "backend", "status": "ok", "reason": None,
        "device": {"name": "cpu0", "description": "A CPU", "driver": "none", "isa": "avx2", "kernels": "avx2", "n_threads": 2},
        "placement": [{"device": "cpu0", "embedding": True, "first_layer": 0, "last_layer": 29, "head": True}],
        "placement_text": "cpu0: embedding, layers 0-29, head",
        "accuracy": {"logits_hash": "9f3a5b7712c0de42", "identical": True, "perplexity": 17.1090432, "perplexity_error": 0.1278,
                     "mean_kld": 1.5e-7, "mean_kld_error": 2e-9, "max_kld": 3e-4, "same_top": 0.99934, "same_top_error": 0.0003,
                     "greedy": {"n_prompts": 16, "n_tokens": 64, "n_agree": 15, "first_difference": {"prompt": 3, "token": 51}},
                     "first_difference": None},
        "speed": [speed(rng, "pp512", 512, 0, 1, 90 * factor), speed(rng, "tg128", 0, 128, 1, 11 * factor)] +
                 [speed(rng, "b%d" % n, 0, 32, n, 11 * factor * n ** 0.6) for n in (1, 4, 16)],
        "memory": {"weights_bytes": 1190000000, "kv_bytes": 79000000, "scratch_bytes": 31000000, "peak_rss_bytes": 1450000000},
        "energy": {"meter": None, "why": "n/a: no meter", "enable": "sudo chmod a+r energy_uj"},
        "limits": {"memory_bytes_per_s": memory, "int8_ops_per_s": int8, "measured_with": "2 threads"},
        "ops": ops(rng, memory, int8)}
    made.update(fields)
    return made


def comparison(subjects):
    return {
        "ternion": {"version": "0.1.0", "commit": "abcdef123", "build_type": "Release"}, "command": "ternion compare -m a.gguf",
        "time": "2026-11-26T15:40:11Z",
        "machine": {"cpu": "A CPU", "n_cores": 2, "n_processors": 4, "memory_bytes": 8589934592, "kernel": "Linux 6.1", "governor": "powersave",
                    "clock_mhz_before": 2100.5, "clock_mhz_after": 2400.25, "load_before": 1.75, "load_after": 3.5,
                    "celsius_before": 41.5, "celsius_after": 67.25, "throttles_before": 7, "throttles_after": 7, "virtual": True},
        "model": {"path": "a.gguf", "name": "A model", "architecture": "bitnet-b1.58", "type": "I2_S", "size": 1187801280,
                  "n_params": 2412820480, "n_layers": 30, "n_ctx_train": 4096},
        "text": {"source": "wiki.test.raw", "xxh64": "1234567890abcdef", "n_tokens": 12288, "n_scored": 6120, "context": 512, "stride": 512,
                 "n_chunks": 24},
        "settings": {"numerics": "exact", "repetitions": 5, "warmup_runs": 1}, "subjects": subjects}


FAILED = {"status": "failed", "reason": "UNAVAILABLE: no such device", "accuracy": None, "speed": [], "memory": None, "energy": None,
          "limits": None, "ops": [], "placement": [], "placement_text": None, "device": None}


def usual(seed=1):
    rng = random.Random(seed)
    different = subject(rng, "vulkan0", 0.7, status="different", reason="logits differ")
    different["accuracy"]["identical"] = False
    different["accuracy"]["first_difference"] = {"token": 17, "position": 18, "layer": 3, "op": "attn_norm", "element": 12, "value": "0x1.8p+3",
                                                 "reference": "0x1.80002p+3"}
    other = subject(rng, "another engine", 0.9, kind="external", accuracy=None, memory=None, energy=None, limits=None, ops=[], placement=[])
    other["speed"] = other["speed"][:2]
    halves = [{"device": "cpu0", "embedding": True, "first_layer": 0, "last_layer": 11, "head": False},
              {"device": "vulkan0", "embedding": False, "first_layer": 12, "last_layer": 29, "head": True}]
    return comparison([subject(rng, "cpu-scalar", 0.2), subject(rng, "cpu-avx2", 1), different,
                       subject(rng, "halves", 1.3, kind="placement", placement=halves), subject(rng, "cuda0", 1, **FAILED), other])


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def run(compared, path=None):
    """Exit status, the page's text and what was said."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "c.json"), "w", encoding="utf-8") as file:
            json.dump(compared, file)
        page = path or os.path.join(folder, "page.html")
        done = subprocess.run([PROGRAM, os.path.join(folder, "c.json"), page], capture_output=True, text=True, timeout=60)
        text = read(page) if path is None and os.path.exists(page) else None
        left = sorted(os.listdir(folder))
    return done.returncode, text, done.stderr, left


def make(compared):
    status, text, said, left = run(compared)
    assert status == 0, said
    assert left == ["c.json", "page.html"], left
    return text


def tree(text):
    assert text.startswith("<!DOCTYPE html>\n"), text[:80]
    return ElementTree.fromstring(text[len("<!DOCTYPE html>\n"):])


def texts(element):
    return "".join(element.itertext())


def at(compared, pointer):
    for part in pointer.strip("/").split("/"):
        compared = compared[int(part)] if isinstance(compared, list) else compared[part]
    return compared


def numbers(value, pointer=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, pointer + "/" + key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from numbers(inner, "%s/%d" % (pointer, i))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield pointer, value


def figures(root):
    """Every figure of the page: pointer, exact value, shown text (None in drawings)."""
    for data in root.iter(X + "data"):
        yield data.get("data-json"), data.get("value"), texts(data)
    for drawn in root.iter():
        if drawn.get("data-value") is not None:
            yield drawn.get("data-json"), drawn.get("data-value"), None


UNITS = {"": 1, "B": 1, "KiB": 2 ** 10, "MiB": 2 ** 20, "GiB": 2 ** 30, "TiB": 2 ** 40, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "%": 0.01}


def shown_number(shown):
    found = re.fullmatch(r"(-?[0-9][0-9\u00a0]*(?:\.[0-9]+)?(?:e[-+][0-9]+)?)(?:\u00a0?([A-Za-z%]*))", shown)
    if not found:
        raise AssertionError("no figure: %r" % shown)
    return float(found[1].replace(SPACE, "")) * UNITS[found[2]]


def table_of(root, section, k=0):
    """A table as rows of cells, [(name, {head: cell text})]."""
    table = list(section_of(root, section).iter(X + "table"))[k]
    heads = [texts(th) for th in table.find(X + "thead").iter(X + "th")]
    rows = []
    for tr in table.find(X + "tbody"):
        cells = [texts(cell) for cell in tr]
        assert len(cells) == len(heads)
        rows.append((cells[0], dict(zip(heads[1:], cells[1:]))))
    return rows


def section_of(root, name):
    found = [s for s in root.iter(X + "section") if s.get("id") == name]
    assert len(found) == 1, (name, len(found))
    return found[0]


class Figures(unittest.TestCase):
    def check(self, compared):
        root = tree(make(compared))
        found = list(figures(root))
        for pointer, value, shown in found:
            exact = at(compared, pointer)
            self.assertEqual(float(value), float("%.12g" % exact), pointer)
            if shown is not None:
                self.assertLessEqual(abs(shown_number(shown) - exact), max(abs(exact) * 0.006, 0.0006), (pointer, shown, exact))
        return {pointer for pointer, _, _ in found}

    def test_all_are_the_jsons_and_read_as_such(self):
        for seed in range(5):
            self.check(usual(seed))

    def test_what_compare_gives_is_shown_as_it_is(self):
        done = subprocess.run([TERNION, "compare", "-m", MODEL, "-q", "--json", "--backends", "cpu0,cpu-scalar", "-c", "64", "-p", "8", "-n", "4",
                               "--batch-sizes", "2", "-r", "2", "--no-limits", "--greedy", "5", "--greedy-prompts", "3", "--no-bind"],
                              capture_output=True, text=True, timeout=250)
        self.assertEqual(done.returncode, 0, done.stderr)
        compared = json.loads(done.stdout)
        greedy = compared["subjects"][1]["accuracy"]["greedy"]
        self.assertEqual((greedy["n_agree"], greedy["n_prompts"], greedy["n_tokens"]), (3, 3, 5))
        there = self.check(compared)
        for pointer, _ in numbers(compared):
            if re.match("/subjects/[0-9]+/(accuracy|memory|ops)/", pointer) or re.search("/speed/[0-9]+/(samples|median|mean|deviation)", pointer):
                self.assertIn(pointer, there)
        self.assertEqual(table_of(tree(make(compared)), "accuracy")[1][1]["Greedy agreement"], "3 of 3 prompts, 5 tokens each")

    def test_none_of_the_json_is_missing(self):
        compared = usual()
        missing = {re.sub("/[0-9]+", "", pointer) for pointer, _ in numbers(compared)} - {
            re.sub("/[0-9]+", "", pointer) for pointer in self.check(compared)}
        self.assertEqual(missing, {"/model/n_ctx_train", "/subjects/speed/n_prompt", "/subjects/speed/n_gen", "/subjects/speed/n_seqs"})
        there = self.check(compared)
        for pointer, _ in numbers(compared):
            kind = re.sub("/[0-9]+", "", pointer)
            self.assertTrue(pointer in there or kind in missing, pointer)

    def test_where_there_is_no_median_the_mean_is_shown_and_named(self):
        compared = usual()
        compared["subjects"][1]["speed"][0].update(median=None, samples=[], min=None, max=None)
        self.check(compared)
        bars = next(section_of(tree(make(compared)), "speed").iter(X + "ol"))
        self.assertIn("mean", texts(bars[1]))
        self.assertNotIn("mean", texts(bars[0]).replace("not measured", ""))
        self.assertGreater(share(bars[1].find(X + "svg").findall(X + "rect")[1].get("width")), 0.1)

    def test_the_fastest_may_have_a_mean_alone(self):
        compared = usual()
        compared["subjects"][5]["speed"][0].update(median=None, mean=54321, samples=[], min=None, max=None)
        self.assertIn("pp512: fastest is another engine (not ours) with 54" + SPACE + "321 (mean) t/s",
                      texts(section_of(tree(make(compared)), "summary")))
        self.check(compared)

    def test_agreement_is_of_prompts(self):
        compared = usual()
        compared["subjects"][0]["accuracy"]["greedy"] = {"n_prompts": 8, "n_tokens": 32, "n_agree": 8, "first_difference": None}
        compared["subjects"][1]["accuracy"]["greedy"] = {"n_prompts": 1, "n_tokens": 1, "n_agree": 0, "first_difference": None}
        rows = table_of(tree(make(compared)), "accuracy")
        self.assertEqual(rows[0][1]["Greedy agreement"], "8 of 8 prompts, 32 tokens each")
        self.assertEqual(rows[1][1]["Greedy agreement"], "0 of 1 prompt, 1 token each")

    def test_a_share_of_memory_alone_is_named(self):
        compared = usual()
        compared["subjects"][0]["speed"][1].update(share_roofline=None, share_int8=None, share_memory=0.25)
        self.check(compared)
        root = tree(make(compared))
        self.assertEqual(table_of(root, "speed")[1][1]["Of roofline"], "25.00" + SPACE + "% (memory)")
        self.assertIn(" | 25.00" + SPACE + "% (memory) | ", texts(section_of(root, "copy")))

    def test_what_is_nearly_all_does_not_read_as_all(self):
        compared = usual()
        compared["subjects"][0]["accuracy"]["same_top"] = 0.999999999
        row = table_of(tree(make(compared)), "accuracy")[0][1]
        self.assertTrue(row["Same top"].startswith("99.9999" + SPACE + "%"), row)

    def test_tables_have_each_subject_in_its_row(self):
        compared = usual()
        root = tree(make(compared))
        rows = table_of(root, "accuracy")
        self.assertEqual(len(rows), 6)
        for (name, cells), s in zip(rows, compared["subjects"]):
            self.assertIn(s["name"], name)
            if s["accuracy"]:
                self.assertEqual(cells["Hash of logits"], s["accuracy"]["logits_hash"])
                self.assertTrue(cells["Perplexity"].startswith("%.4f" % s["accuracy"]["perplexity"]))
                self.assertIn("yes" if s["accuracy"]["identical"] else "no", cells["Same bits"])
            else:
                self.assertEqual(cells["Perplexity"], "n/a")
        rows = table_of(root, "speed")
        wanted = [(s["name"], t) for s in compared["subjects"] for t in s["speed"]]
        self.assertEqual(len(rows), len(wanted))
        for (name, cells), (subject_name, t) in zip(rows, wanted):
            self.assertIn(subject_name, name)
            self.assertEqual(cells["Test"], t["test"])
            self.assertAlmostEqual(shown_number(cells["Median"]), t["median"], delta=t["median"] * 0.006)

    def test_columns_have_the_fields_that_their_heads_say(self):
        fields = {
            "accuracy": {"Perplexity": ["perplexity", "perplexity_error"], "Mean KLD": ["mean_kld", "mean_kld_error"], "Largest KLD": ["max_kld"],
                         "Same top": ["same_top", "same_top_error"],
                         "Greedy agreement": ["n_agree", "n_prompts", "n_tokens", "prompt", "token"]},
            "speed": {"Median": ["median"], "Mean \u00b1 deviation": ["mean", "deviation"], "Slowest": ["min"], "Fastest": ["max"],
                      "Of memory": ["share_memory"], "Of int8": ["share_int8"], "Of roofline": ["share_roofline"]},
            "memory": {"Weights": ["weights_bytes"], "Keys and values": ["kv_bytes"], "Scratch": ["scratch_bytes"],
                       "Peak of the process": ["peak_rss_bytes"]},
            "roofline": {"Of the time": ["share_of_time"], "ns/token": ["ns_per_token"], "Bytes/token": ["bytes_per_token"],
                         "Ops/token": ["int8_ops_per_token"], "Ops/byte": ["intensity"], "Ops/s": ["ops_per_s"]}}
        compared = usual()
        root = tree(make(compared))
        for section, columns in fields.items():
            n = 0
            for td in section_of(root, section).iter(X + "td"):
                keys = [data.get("data-json").rsplit("/", 1)[1] for data in td.iter(X + "data")]
                if keys:
                    n += 1
                    self.assertEqual(keys, columns[td.get("data-head")])
            self.assertGreater(n, 10, section)
        block = texts(next(section_of(root, "copy").iter(X + "pre")))
        self.assertIn("| hash of logits | PPL | mean KLD | max KLD | same top | greedy | pp512 t/s | tg128 t/s | b1 t/s | b4 t/s | b16 t/s | "
                      "J/tok | share of limit | peak RSS |", block)
        pre = next(section_of(root, "copy").iter(X + "pre"))
        row = [d.get("data-json") for d in pre.iter(X + "data") if d.get("data-json").startswith("/subjects/1/")]
        self.assertEqual(row, ["/subjects/1/accuracy/" + k for k in ("perplexity", "mean_kld", "max_kld", "same_top", "greedy/n_agree", "greedy/n_prompts")] +
                         ["/subjects/1/speed/%d/%s" % (k, key) for k in range(5) for key in ("median", "deviation")] +
                         ["/subjects/1/speed/1/energy/joule_per_token"] * (compared["subjects"][1]["speed"][1]["energy"]["joule_per_token"] is not None) +
                         ["/subjects/1/speed/1/share_roofline", "/subjects/1/memory/peak_rss_bytes"])

    def test_the_summary_is_right(self):
        said = texts(section_of(tree(make(usual())), "summary"))
        self.assertIn("2 of 3", said)
        self.assertIn("1 failed", said)
        self.assertIn("pp512: fastest is halves with ", said)
        self.assertIn("b16: fastest is halves", said)
        self.assertNotIn("b4: fastest", said)

    def test_extreme_values(self):
        for value in (0, 1e-9, 1e9, 1e15, 1e100, 5e-324, 1.7e308, -1, -1e-9, 10 ** 18, 2.5):
            compared = usual()
            for pointer, _ in list(numbers(compared)):
                parent = at(compared, pointer.rsplit("/", 1)[0])
                key = pointer.rsplit("/", 1)[1]
                parent[int(key) if isinstance(parent, list) else key] = value
            text = make(compared)
            self.assertIsNone(re.search(r"[\"> ](-?nan|-?inf)\b", text, re.IGNORECASE), value)
            for pointer, exact, _ in figures(tree(text)):
                self.assertEqual(float(exact), float("%.12g" % value), pointer)


class Form(unittest.TestCase):
    def test_nothing_or_nulls_make_a_page(self):
        nulled = usual()
        for s in nulled["subjects"]:
            for key in s:
                s[key] = None
        deep = usual()
        for pointer, _ in list(numbers(deep)):
            parent = at(deep, pointer.rsplit("/", 1)[0])
            parent[int(pointer.rsplit("/", 1)[1]) if isinstance(parent, list) else pointer.rsplit("/", 1)[1]] = None
        for compared in ({}, [], {"subjects": []}, {"subjects": None}, {"subjects": {}}, {"subjects": [None, 1, "x", [], {}]}, nulled, deep,
                         comparison([]), {key: None for key in comparison([])}):
            root = tree(make(compared))
            self.assertEqual([pointer for pointer, _, _ in figures(root) if "/subjects" in pointer or compared is deep], [])
            if compared != comparison([]):
                self.assertIn("n/a", texts(root.find(X + "body")))
        self.assertIn("Nothing was compared", make({}))

    def test_one_subject_and_twelve(self):
        rng = random.Random(3)
        for n in (1, 2, 12, 30):
            root = tree(make(comparison([subject(rng, "backend %d" % i, 1.4 ** i) for i in range(n)])))
            self.assertEqual(len(table_of(root, "accuracy")), n)
            letters = [texts(th.find(X + "span")) for th in section_of(root, "accuracy").iter(X + "th") if th.find(X + "span") is not None]
            self.assertEqual(len(set(letters)), n)
            self.assertEqual(letters[-1], "A" if n == 1 else "B" if n == 2 else "L" if n == 12 else "AD")

    def test_rubbish_in_any_place_makes_a_well_formed_page(self):
        rng = random.Random(11)
        values = [None, True, False, 0, -1, 1e300, "", "x", "<b>&\"'", "\u0001", [], {}, [[]], {"a": 1}, [None], 10 ** 18, "\u202e", "n" * 3000]

        def spoil(value):
            if rng.random() < 0.04:
                return rng.choice(values)
            if isinstance(value, dict):
                return {k: spoil(v) for k, v in value.items()}
            return [spoil(v) for v in value] if isinstance(value, list) else value

        for _ in range(80):
            compared = {key: spoil(value) for key, value in usual().items()}
            text = make(compared)
            for pointer, value, _ in figures(tree(text)):
                self.assertEqual(float(value), float("%.12g" % at(compared, pointer)), pointer)

    def test_headings_captions_titles_and_ids(self):
        root = tree(make(usual()))
        levels = [int(e.tag[-1]) for e in root.iter() if re.fullmatch(re.escape(X) + "h[1-6]", e.tag)]
        self.assertEqual(levels.count(1), 1)
        self.assertEqual(levels[0], 1)
        for before, after in zip(levels, levels[1:]):
            self.assertLessEqual(after - before, 1)
        for table in root.iter(X + "table"):
            self.assertTrue(texts(table.find(X + "caption")))
            self.assertTrue(all(th.get("scope") for th in table.iter(X + "th")))
        drawings = [svg for svg in root.iter(X + "svg") if svg.get("role") == "img"]
        self.assertGreater(len(drawings), 20)
        for svg in drawings:
            self.assertTrue(texts(svg.find(X + "title")) and texts(svg.find(X + "desc")))
        ids = [e.get("id") for e in root.iter() if e.get("id")]
        self.assertEqual(len(ids), len(set(ids)))
        for a in root.iter(X + "a"):
            self.assertIn(a.get("href")[1:], ids)
        self.assertEqual(root.get("lang"), "en")

    def test_each_section_that_is_there_is_in_the_navigation(self):
        empty = comparison([subject(random.Random(1), "a", 1, speed=[], ops=[], limits=None, energy=None)])
        for compared, absent in ((usual(), set()), (empty, {"batch", "roofline", "energy"})):
            root = tree(make(compared))
            there = [s.get("id") for s in root.iter(X + "section") if s.get("id") not in ("summary", "problems")]
            self.assertEqual([a.get("href")[1:] for a in next(root.iter(X + "nav")).iter(X + "a")], there)
            self.assertEqual({"speed", "batch", "accuracy", "roofline", "memory", "energy", "placement", "conditions", "copy"} - set(there), absent)

    def test_needs_nothing_and_runs_nothing(self):
        text = make(usual())
        root = tree(text)
        for e in root.iter():
            self.assertNotIn(e.tag, [X + t for t in ("script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "use")])
            for name, value in e.attrib.items():
                self.assertFalse(name.startswith("on") or name in ("src", "srcset") or name.endswith("}href"), name)
                self.assertTrue(name != "href" or value.startswith("#"), value)
        self.assertEqual(set(re.findall(r"url\(([^)]*)\)", text)) - {"#" + e.get("id") for e in root.iter() if e.get("id")}, set())
        self.assertIn("default-src 'none'", text)
        self.assertNotIn("@import", text)
        self.assertEqual(re.findall(r"https?://[^\"' <]*", text), ["http://www.w3.org/1999/xhtml"])

    def test_texts_of_others_stay_texts(self):
        hostile = "<script>alert(1)</script>&amp;\"'</title></style>]]>|`$\u202e\u0001\n\u007f\u0085\ufffe\U0001f600\u00e4"
        plain = "<script>alert(1)</script>&amp;\"'</title></style>]]>|`$\ufffd\\x01\\n\\x7f\\xc2\\x85\ufffd\U0001f600\u00e4"

        def spoil(value):
            if isinstance(value, dict):
                return {k: v if k in ("kind", "status") else spoil(v) for k, v in value.items()}
            return [spoil(v) for v in value] if isinstance(value, list) else hostile if isinstance(value, str) else value

        clean = tree(make(usual()))
        compared = spoil(usual())
        text = make(compared)
        root = tree(text)
        self.assertIsNone(re.search("[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]", text))
        self.assertNotIn("<script", text)
        for name in ("accuracy", "conditions", "problems", "roofline", "placement", "copy"):
            self.assertIn(plain if name != "copy" else plain.replace("|", "\\|"), texts(section_of(root, name)), name)
        self.assertEqual({e.tag for e in root.iter()}, {e.tag for e in clean.iter()})
        self.assertIn(plain, texts(root.find(X + "head").find(X + "title")))

    def test_long_names_are_cut_in_drawings_between_characters(self):
        compared = usual()
        for i, op in enumerate(compared["subjects"][0]["ops"]):
            op["op"] = "x" * i + "\u00e4\u20ac\U0001f600" * 20
        root = tree(make(compared))
        names = [texts(e) for e in section_of(root, "roofline").iter(X + "text") if e.get("class") == "name"]
        self.assertTrue(any("\u20ac" in name for name in names))
        self.assertFalse(any("\ufffd" in name or "\\x" in name for name in names), names)


class Honesty(unittest.TestCase):
    def test_failed_and_different_ones_are_shown_with_their_reason(self):
        root = tree(make(usual()))
        said = texts(section_of(root, "problems"))
        self.assertIn("UNAVAILABLE: no such device", said)
        self.assertIn("logits differ", said)
        self.assertIn("First difference: token 17, position 18, layer 3, op attn_norm, element 12: 0x1.8p+3 where the reference has 0x1.80002p+3",
                      said)
        for name in ("speed", "memory"):
            self.assertIn("\u2717 failed", texts(section_of(root, name)))
        self.assertNotIn('id="problems"', make(comparison([subject(random.Random(1), "a", 1)])))

    def test_others_are_marked_wherever_they_are_named(self):
        root = tree(make(usual()))
        n = 0
        for e in root.iter():
            if e.tag in (X + "li", X + "th", X + "figcaption", X + "h3") and "another engine" in texts(e):
                n += 1
                self.assertIn("not ours", texts(e))
        self.assertGreater(n, 8)
        self.assertIn("another engine (not ours)", texts(section_of(root, "copy")))

    def test_where_the_figures_of_others_come_from_is_told(self):
        compared = usual()
        compared["subjects"][5]["source"] = {"file": "x/other.jsonl", "build_commit": "3a8d2e5", "build_number": 4938, "cpu": "Ryzen",
                                             "model_type": "bitnet 2B", "model_size": 1187801280, "model_n_params": None, "time": "2026"}
        (name, cells), = table_of(tree(make(compared)), "conditions", 1)
        self.assertIn("another engine", name)
        self.assertEqual((cells["File"], cells["Build"], cells["Machine"]), ("x/other.jsonl", "3a8d2e5 (4" + SPACE + "938)", "Ryzen"))

    def notes(self, **machine):
        compared = usual()
        compared["subjects"] = compared["subjects"][:2]
        quiet = {"governor": "performance", "clock_mhz_before": 2000, "clock_mhz_after": 2010, "load_before": 0.1, "virtual": False, "celsius_before": 40,
                 "celsius_after": 60, "throttles_before": 7, "throttles_after": 7}
        compared["settings"].update({k: machine.pop(k) for k in list(machine) if k in compared["settings"]})
        compared["machine"].update(quiet)
        compared["machine"].update(machine)
        return [texts(li) for li in section_of(tree(make(compared)), "conditions").iter(X + "li") if "Note:" in texts(li)]

    def test_what_may_have_disturbed_is_said_and_only_then(self):
        self.assertEqual(self.notes(), [])
        for given, words in (({"governor": "powersave"}, "is not \"performance\""), ({"governor": None}, "governor of the clocks could not"),
                             ({"clock_mhz_after": 2200}, "more than 5 %"), ({"clock_mhz_after": None}, "clock could not be read"),
                             ({"load_before": 1.5}, "was busy"), ({"load_before": None}, "load of the machine is unknown"),
                             ({"virtual": True}, "virtual machine"),
                             ({"celsius_after": None}, "temperature of the processors could not"), ({"throttles_after": 8}, "heat slowed"), ({"repetitions": 2}, "fewer than three"),
                             ({"warmup_runs": 0}, "nothing was warmed up")):
            notes = self.notes(**given)
            self.assertEqual(len(notes), 1, given)
            self.assertIn(words, notes[0])

    def test_the_block_to_copy_does_not_tell_of_folders(self):
        compared = usual()
        compared["model"]["path"] = "/home/somebody/models/a.gguf"
        self.assertNotIn("somebody", texts(section_of(tree(make(compared)), "copy")))

    def test_the_block_to_copy_is_markdown_with_all_that_is_needed(self):
        compared = usual()
        compared["subjects"][0]["name"] = "a|b"
        block = texts(next(section_of(tree(make(compared)), "copy").iter(X + "pre")))
        for words in ("commit abcdef123", "A CPU, 2 cores, 4 processors", "command: ternion compare -m a.gguf", "load 1.75 before", "a.gguf"):
            self.assertIn(words, block)
        rows = [line for line in block.splitlines() if line.startswith("|")]
        columns = [len(re.split(r"(?<!\\)\|", row)) for row in rows]
        self.assertEqual(len(rows), 2 + 6)
        self.assertEqual(len(set(columns)), 1)
        self.assertEqual(columns[0], 2 + 8 + 5 + 3)
        self.assertTrue(rows[2].startswith("| a\\|b | ok | 9f3a5b7712c0de42 | 17.1090 |"), rows[2])


def share(text):
    assert text.endswith("%") or text in ("0", "100%"), text
    return float(text.rstrip("%")) / 100


def outer_drawings(section):
    return [svg for svg in section.iter(X + "svg") if svg.get("class") == "chart"]


def marks_of(svg):
    return [e for e in svg.findall(X + "svg") if e.find(X + "path") is not None]


def scale(svg, horizontal):
    """The logarithmic scale of an axis, from the figures at its ticks: position -> value."""
    ticks = []
    for e in svg.findall(X + "text"):
        found = re.fullmatch("([0-9.]+(?:e[-+][0-9]+)?)(?:\u00a0([kMGT]))?", texts(e))
        if found and (e.get("text-anchor") == ("middle" if horizontal else "end")):
            value = float(found[1]) * UNITS[found[2] or ""]
            ticks.append((share(e.get("x")) if horizontal else float(e.get("y")) - 4, math.log(value)))
    (x0, v0), (x1, v1) = ticks[0], ticks[-1]
    return lambda x: math.exp(v0 + (x - x0) * (v1 - v0) / (x1 - x0))


class Drawings(unittest.TestCase):
    def test_bars_are_as_long_as_their_figures(self):
        compared = usual()
        root = tree(make(compared))
        lists = list(section_of(root, "speed").iter(X + "ol"))
        self.assertEqual(len(lists), 5)
        captions = [texts(e) for e in section_of(root, "speed").iter(X + "figcaption")]
        self.assertTrue(captions[0].startswith("1 sequence, prompt of 512 tokens, t/s, from 0 to "), captions[0])
        self.assertTrue(captions[4].startswith("16 sequences decoded together, reply of 32 tokens, t/s"), captions[4])
        for k, bars in enumerate(lists):
            having = [(s, s["speed"][k]) for s in compared["subjects"] if len(s["speed"]) > k]
            most = max(t["max"] for _, t in having)
            drawn = [li.find(X + "svg") for li in bars if li.find(X + "svg") is not None]
            self.assertEqual(len(drawn), len(having))
            for svg, (s, t) in zip(drawn, having):
                bar = svg.findall(X + "rect")[1]
                self.assertAlmostEqual(share(bar.get("width")), t["median"] / most, delta=1e-4)
                self.assertEqual(bar.get("class"), {"backend": "p0", "placement": "p1", "external": "p2"}[s["kind"]])
                self.assertEqual([round(share(c.get("cx")), 4) for c in svg.iter(X + "circle")], [round(x / most, 4) for x in t["samples"]])

    def test_ops_lie_at_their_place_and_below_the_limits(self):
        compared = usual()
        drawings = outer_drawings(section_of(tree(make(compared)), "roofline"))
        measured = [s for s in compared["subjects"] if s["ops"]]
        self.assertEqual(len(drawings), len(measured))
        for svg, s in zip(drawings, measured):
            across, up = scale(svg, True), scale(svg, False)
            placed = [op for op in s["ops"] if op["intensity"]]
            marks = marks_of(svg)
            self.assertEqual(len(marks), len(placed))
            for mark, op in zip(marks, sorted(placed, key=lambda op: -op["ops_per_s"])):
                self.assertAlmostEqual(math.log(across(share(mark.get("x"))) / op["intensity"]), 0, delta=0.01)
                self.assertAlmostEqual(math.log(up(float(mark.get("y"))) / op["ops_per_s"]), 0, delta=0.02)
            shapes = {mark.find(X + "path").get("d") for mark in marks}
            self.assertEqual(len(shapes), 2, "a shape for each phase")
            limits = {line.get("class"): line for line in svg.findall(X + "line") if line.get("class", "").startswith("roof")}
            self.assertEqual(set(limits), {"roof memory", "roof int8"})
            memory, int8 = limits["roof memory"], limits["roof int8"]
            for end in "12":
                bandwidth = up(float(memory.get("y" + end))) / across(share(memory.get("x" + end)))
                self.assertAlmostEqual(math.log(bandwidth / s["limits"]["memory_bytes_per_s"]), 0, delta=0.03)
                self.assertAlmostEqual(math.log(up(float(int8.get("y" + end))) / s["limits"]["int8_ops_per_s"]), 0, delta=0.02)

    def boxes(self, svg, look, width):
        group = [g for g in svg.findall(X + "g") if g.get("class") == look][0]
        for e in group.iter(X + "text"):
            left = share(e.get("x")) * width + float(e.get("dx")) - (7 * len(texts(e)) if e.get("text-anchor") == "end" else 0)
            yield texts(e), left, left + 7 * len(texts(e)), float(e.get("y")) - 11, float(e.get("y")) + 4

    def test_names_do_not_overlap_at_any_width(self):
        rng = random.Random(5)
        for crowd in (1, 3):
            compared = comparison([subject(rng, "a", 1) for _ in range(4)])
            for op in compared["subjects"][3]["ops"]:  # a column, as weights of one type make
                op["intensity"] = op["intensity"] and (250 if op["phase"] == "pp512" else 7.5)
            for s in compared["subjects"]:
                s["ops"] = copy.deepcopy(s["ops"] * crowd)
                for op in s["ops"][len(OPS) * 2:]:  # close to others
                    op["intensity"] = op["intensity"] and op["intensity"] * rng.uniform(0.95, 1.05)
            for svg in outer_drawings(section_of(tree(make(compared)), "roofline")):
                n_marks = len(marks_of(svg))
                for look, widths in (("wide", (560, 600, 733, 1000, 1500)), ("narrow", (230, 236, 300, 500, 740))):
                    for width in widths:
                        found = list(self.boxes(svg, look, width))
                        self.assertGreaterEqual(len(found), n_marks if crowd == 1 else n_marks // 3)
                        self.assertTrue(all(-0.1 <= box[1] and box[2] <= width + 28 for box in found), found)
                        marks = [("mark", share(m.get("x")) * width - 6, share(m.get("x")) * width + 6, float(m.get("y")) - 6, float(m.get("y")) + 6)
                                 for m in marks_of(svg)]
                        for i, a in enumerate(found):
                            self.assertTrue(0 <= a[3] and a[4] <= 300, a)
                            for b in found[:i] + marks:
                                self.assertTrue(a[2] <= b[1] + 0.2 or b[2] <= a[1] + 0.2 or a[4] <= b[3] + 0.2 or b[4] <= a[3] + 0.2, (look, width, a, b))

    def test_batches_have_a_line_for_each_subject_that_measured_them(self):
        compared = usual()
        section = section_of(tree(make(compared)), "batch")
        svg, = outer_drawings(section)
        having = [s for s in compared["subjects"] if len(s["speed"]) > 2]
        self.assertEqual(len([e for e in svg.findall(X + "line") if e.get("class", "").startswith("series")]), 2 * len(having))
        letters = [e for e in svg.findall(X + "text") if e.get("class") == "letter-name"]
        self.assertEqual(sorted(texts(e) for e in letters), ["A", "B", "C", "D"])
        ends = sorted((s["speed"][4]["median"], "ABCD"[i]) for i, s in enumerate(having))
        self.assertEqual([texts(e) for e in sorted(letters, key=lambda e: -float(e.get("y")))], [letter for _, letter in ends])
        downs = sorted(float(e.get("y")) for e in letters)
        self.assertTrue(all(b - a >= 13.9 for a, b in zip(downs, downs[1:])))
        one = usual()
        for s in one["subjects"]:
            s["speed"] = s["speed"][:2]
        self.assertNotIn('id="batch"', make(one))

    def test_placements_fill_their_layers(self):
        strips = [svg for svg in section_of(tree(make(usual())), "placement").iter(X + "svg") if svg.get("role") == "img"]
        self.assertEqual(len(strips), 4)
        parts = [(r.get("class"), share(r.get("x")), share(r.get("width"))) for r in strips[3].findall(X + "rect")[1:]]
        self.assertEqual([p[0] for p in parts], ["p0", "p0", "p1", "p1"])
        wanted = [(0, 2), (2, 12), (14, 18), (32, 2)]
        for (_, x, width), (first, n) in zip(parts, wanted):
            self.assertAlmostEqual(x, first / 34, delta=1e-4)
            self.assertAlmostEqual(width, n / 34, delta=1e-4)


def luminance(colour):
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


class Looks(unittest.TestCase):
    def test_colours_can_be_told_from_what_is_behind_them(self):
        css = re.search("<style>(.*?)</style>", make(usual()), re.DOTALL)[1]
        themes = [dict(re.findall(r"--([a-z0-9]+):(#[0-9a-f]{6})", block)) for block in re.findall(r":root\{([^}]*)\}", css)]
        self.assertEqual(len(themes), 3, "light, dark and print")
        for theme in themes:
            for name in ["fg", "soft", "bad", "warn", "good"] + ["s%d" % i for i in range(6)]:
                self.assertGreaterEqual(contrast(theme[name], theme["bg"]), 4.5, (name, theme))
            self.assertGreaterEqual(contrast(theme["fg"], theme["panel"]), 4.5)
            self.assertGreaterEqual(contrast(theme["bar"], theme["bg"]), 3)
            self.assertGreaterEqual(contrast(theme["bar"], theme["panel"]), 3)
        for words in ("prefers-color-scheme:dark", "@media print", "screen and (max-width"):
            self.assertIn(words, css)
        for size in re.findall(r"font(?:-size)?:([0-9.]+)(px|rem|pt)", css):
            self.assertGreaterEqual(float(size[0]) * {"px": 1, "rem": 16, "pt": 4 / 3}[size[1]], 10, size)


class Files(unittest.TestCase):
    def test_what_cannot_be_written_is_said_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            status, _, said, _ = run(usual(), os.path.join(folder, "missing", "page.html"))
            self.assertEqual((status, os.listdir(folder)), (1, []))
            self.assertIn("cannot write", said)
        status, _, said, _ = run(usual(), "/dev/full")
        self.assertEqual(status, 1)
        self.assertIn("no space is left", said)

    def test_a_page_replaces_the_one_before(self):
        with tempfile.TemporaryDirectory() as folder:
            page = os.path.join(folder, "page.html")
            for name in ("first", "second"):
                compared = copy.deepcopy(usual())
                compared["model"]["name"] = name
                self.assertEqual(run(compared, page)[0], 0)
                self.assertIn("Comparison of " + name, read(page))
            self.assertEqual(os.listdir(folder), ["page.html"])


if __name__ == "__main__":
    unittest.main()
