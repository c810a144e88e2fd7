#!/usr/bin/env python3
# Writes the seed files of the GGUF fuzzer: small correct files (valid_*) and the known hostile shapes (bad_*).
"""Usage: make_corpus.py [folder]   (default: corpus/gguf beside this script). Needs nothing but Python."""
import os
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
PACK = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}
ALIGNMENT = 32


def string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def scalar(kind, value):
    return string(value) if kind == STRING else struct.pack("<" + PACK[kind], value)


def kv(key, kind, value):
    return string(key) + struct.pack("<i", kind) + scalar(kind, value)


def kv_array(key, kind, values, count=None):
    head = struct.pack("<iiQ", ARRAY, kind, len(values) if count is None else count)
    return string(key) + head + b"".join(scalar(kind, value) for value in values)


def raw_kv(key, kind, data):
    return string(key) + struct.pack("<i", kind) + data


def info(name, dims, kind, offset, n_dims=None):
    head = struct.pack("<I", len(dims) if n_dims is None else n_dims)
    return string(name) + head + b"".join(struct.pack("<Q", d & (2**64 - 1)) for d in dims) + struct.pack("<iQ", kind, offset)


def padded(data, alignment=ALIGNMENT):
    return data + bytes(-len(data) % alignment)


def gguf(kvs=(), infos=(), data=b"", version=3, n_tensors=None, n_kv=None, magic=b"GGUF", alignment=ALIGNMENT):
    head = magic + struct.pack("<I", version)
    head += struct.pack("<Q", (len(infos) if n_tensors is None else n_tensors) & (2**64 - 1))
    head += struct.pack("<Q", (len(kvs) if n_kv is None else n_kv) & (2**64 - 1))
    head += b"".join(kvs) + b"".join(infos)
    return padded(head, alignment) + data if infos else head


def with_tensors(tensors, kvs=(), alignment=ALIGNMENT, **more):
    """tensors: (name, dims, type id, bytes), laid out without gaps."""
    infos, data = [], b""
    for name, dims, kind, size in tensors:
        infos.append(info(name, dims, kind, len(data)))
        data += padded(bytes((i * 37) & 0xFF for i in range(size)), alignment)
    return gguf(kvs, infos, data, alignment=alignment, **more)


ARCH = kv("general.architecture", STRING, "llama")
BITNET = kv("general.architecture", STRING, "bitnet-b1.58")
EVERY_VALUE = [
    kv("v.u8", U8, 255), kv("v.i8", I8, -128), kv("v.u16", U16, 65535), kv("v.i16", I16, -32768), kv("v.u32", U32, 2**32 - 1),
    kv("v.i32", I32, -(2**31)), kv("v.f32", F32, 0.5), kv("v.bool", BOOL, 1), kv("v.odd_bool", BOOL, 77), kv("v.str", STRING, "text"),
    kv("v.u64", U64, 2**64 - 1), kv("v.i64", I64, -(2**63)), kv("v.f64", F64, 1e300), kv("v.nan", F32, float("nan")),
]
EVERY_ARRAY = [
    kv_array("a.%d" % kind, kind, ["a", "", "bc"] if kind == STRING else [1, 0, 1]) for kind in range(13) if kind != ARRAY
] + [kv_array("a.empty", STRING, []), kv_array("a.none", F32, [])]
# id: (row elements, row bytes) of the types with one meaning
TYPES = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36), 10: (256, 84), 11: (256, 110),
    12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50),
    20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 31: (32, 18), 32: (32, 18), 33: (32, 18), 34: (256, 54), 35: (256, 66), 37: (32, 18), 43: (32, 8),
    44: (64, 16), 133: (32, 26), 134: (64, 15), 135: (64, 20), 137: (256, 76), 142: (128, 34), 143: (128, 28), 335: (64, 20),
}


def valid():
    yield "empty_v2", gguf(version=2)
    yield "empty_v3", gguf()
    yield "values_v2", gguf(EVERY_VALUE, version=2)
    yield "values_v3", gguf(EVERY_VALUE)
    yield "arrays", gguf(EVERY_ARRAY)
    yield "types", with_tensors([("t%d" % kind, [row, 2], kind, 2 * size) for kind, (row, size) in TYPES.items()], [ARCH])
    yield "types_of_unknown_size", with_tensors([("t%d" % kind, [64], kind, 40) for kind in (4, 5, 45, 46, 47, 136)])
    yield "i2_s", with_tensors([("w", [128, 4], 36, 160), ("n", [4], 0, 16)], [BITNET])
    yield "i2_s_retired_meaning", with_tensors([("w", [128, 4], 36, 288), ("n", [4], 0, 16)])
    yield "tl1_tl2", with_tensors([("a", [256, 32], 38, 2080), ("b", [512, 48], 39, 2560 + 3072 + 32)], [BITNET])
    yield "mxfp4", with_tensors([("a", [512, 4], 39, 1088), ("n", [4], 0, 16)])
    yield "q2_0_group_64", with_tensors([("a", [256, 16], 42, 1152), ("n", [4], 0, 16)])
    yield "q2_0_group_128", with_tensors([("a", [256, 16], 42, 1088), ("n", [4], 0, 16)])
    yield "q1_0_group_32", with_tensors([("a", [256, 16], 42, 768), ("n", [4], 0, 16)])
    yield "vlut", with_tensors([("a", [64, 4], 40, 64), ("b", [128, 4], 41, 128), ("n", [4], 0, 16)])
    yield "nvfp4_q1_0", with_tensors([("a", [64, 4], 40, 144), ("b", [128, 4], 41, 72), ("n", [4], 0, 16)])
    yield "undecided", with_tensors([("a", [256], 42, 100), ("n", [1], 0, 4)], [kv("general.alignment", U32, 512)], alignment=512)
    yield "undecided_prism", with_tensors([("a", [256], 42, 100), ("n", [1], 0, 4)],
                                          [kv("general.alignment", U32, 512), kv("prism.version", U32, 1)], alignment=512)
    yield "alignment_64", with_tensors([("a", [3], 0, 12), ("b", [3], 0, 12)], [kv("general.alignment", U32, 64)], alignment=64)
    yield "split", with_tensors([("a", [1], 0, 4)], [kv("split.no", U16, 0), kv("split.count", U16, 2), kv("split.tensors.count", I32, 2)])
    yield "four_dims", with_tensors([("a", [2, 3, 4, 5], 0, 480)])
    yield "nul_in_names", with_tensors([("a\0b", [1], 0, 4)], [kv("k\0k", U8, 1), kv("k", U8, 2)])
    yield "not_utf8", gguf([kv(b"k\xff\x1b[2J", STRING, b"\xfe\xff\n")])


def bad():
    plain = with_tensors([("w", [8], 0, 32)], [ARCH])
    one = padded(bytes(32))
    yield "no_bytes", b""
    yield "magic", plain.replace(b"GGUF", b"GGML", 1)
    yield "lfs_pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    yield "version_0", gguf(version=0)
    yield "version_1", gguf(version=1)
    yield "version_4", gguf(version=4)
    yield "big_endian", gguf(version=0x03000000)
    yield "header_cut", plain[:20]
    yield "metadata_cut", plain[:60]
    yield "data_cut", plain[:-1]
    yield "cve_2024_21802_n_kv", gguf([ARCH], n_kv=2**60)
    yield "cve_2024_23605_n_tensors", gguf([ARCH], n_tensors=2**61 + 1)
    yield "negative_counts", gguf([ARCH], n_kv=-1, n_tensors=-1)
    yield "cve_2024_23496_string", gguf([struct.pack("<Q", 2**64 - 1) + b"abc" + bytes(20)])
    yield "cve_2024_21836_array_count", gguf([kv_array("a", F64, [1.0], 2**61 + 1)])
    yield "array_of_strings_count", gguf([kv_array("a", STRING, ["x"], 2**61)])
    yield "array_of_arrays", gguf([raw_kv("a", ARRAY, struct.pack("<iQ", ARRAY, 1) + struct.pack("<iQ", U8, 1) + b"\1")])
    yield "array_type", gguf([raw_kv("a", ARRAY, struct.pack("<iQ", 99, 1) + bytes(8))])
    yield "value_type", gguf([raw_kv("a", 13, bytes(8))])
    yield "value_type_negative", gguf([raw_kv("a", -1, bytes(8))])
    yield "cve_2025_49847_token", gguf([raw_kv("tokenizer.ggml.tokens", ARRAY, struct.pack("<iQ", STRING, 1) + struct.pack("<Q", 2**31) + b"t")])
    yield "key_empty", gguf([kv("", U8, 1)])
    yield "key_twice", gguf([kv("k", U8, 1), kv("k", U32, 1)])
    yield "alignment_0", with_tensors([("w", [8], 0, 32)], [kv("general.alignment", U32, 0)])
    yield "alignment_3", with_tensors([("w", [8], 0, 32)], [kv("general.alignment", U32, 3)])
    yield "alignment_2_31", with_tensors([("w", [8], 0, 32)], [kv("general.alignment", U32, 2**31)])
    yield "alignment_string", with_tensors([("w", [8], 0, 32)], [kv("general.alignment", STRING, "32")])
    yield "dimension_0", gguf([], [info("w", [0, 4], 0, 0)], one)
    yield "dimension_negative", gguf([], [info("w", [-1], 0, 0)], one)
    yield "dimensions_none", gguf([], [info("w", [], 0, 0)], one)
    yield "dimensions_5", gguf([], [info("w", [1, 1, 1, 1, 1], 0, 0)], one)
    yield "dimensions_huge_count", gguf([], [info("w", [1], 0, 0, n_dims=2**32 - 1)], one)
    yield "cve_2026_33298_product", gguf([], [info("w", [2**32, 2**32 + 1], 0, 0)], one)
    yield "cve_2026_33298_bytes", gguf([], [info("w", [2**62], 0, 0)], one)
    yield "cve_2025_53630_sum", gguf([], [info("w%d" % i, [2**60], 0, 0) for i in range(5)], one)
    yield "cve_2026_27940_sum", gguf([], [info("a", [2**62 - 8], 24, 0), info("b", [2**62 - 8], 24, 2**62)], one)
    yield "cve_2026_7482_past_end", gguf([], [info("w", [4096], 0, 0)], one)
    yield "cve_2026_53923_32_bits", gguf([], [info("w", [2**32 + 8], 0, 0)], one)
    yield "row_not_in_blocks", gguf([], [info("w", [48, 2], 8, 0)], padded(bytes(102)))
    yield "row_size_wrap", gguf([], [info("w", [2**63 - 32], 8, 0)], one)
    yield "row_size_wrap_k", gguf([], [info("w", [2**63 - 256, 1], 14, 0)], one)
    yield "alignment_65536_times_2", with_tensors([("w", [8], 0, 32)], [kv("general.alignment", U32, 131072)])
    yield "offset_unaligned", gguf([], [info("w", [8], 0, 4)], bytes(64))
    yield "offset_past_end", gguf([], [info("w", [8], 0, 2**63)], one)
    yield "overlap", gguf([], [info("a", [8], 0, 0), info("b", [8], 0, 0)], bytes(64))
    yield "type_unknown", gguf([], [info("w", [8], 48, 0)], one)
    yield "type_negative", gguf([], [info("w", [8], -7, 0)], one)
    yield "name_64", gguf([], [info("n" * 64, [8], 0, 0)], one)
    yield "name_empty", gguf([], [info("", [8], 0, 0)], one)
    yield "name_twice", gguf([], [info("w", [8], 0, 0), info("w", [8], 0, 32)], bytes(64))
    yield "i2_s_cut", with_tensors([("w", [128, 4], 36, 128)], [BITNET])
    yield "i2_s_rows", with_tensors([("w", [96, 4], 36, 128)], [BITNET])
    yield "mixed_families", with_tensors([("a", [128, 2], 36, 96), ("b", [256, 2], 42, 144), ("n", [1], 0, 4)])


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "gguf")
    os.makedirs(folder, exist_ok=True)
    for prefix, files in (("valid_", valid()), ("bad_", bad())):
        for name, data in files:
            with open(os.path.join(folder, prefix + name), "wb") as out:
                out.write(data)


if __name__ == "__main__":
    main()
