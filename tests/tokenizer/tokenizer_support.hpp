// What the tokenizer tests share: vocabularies, texts, data files, UTF-8 as the tests understand it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

extern "C" {
#include "base/status.h"
#include "model/tokenizer_internal.h"
}

namespace tokenizer_support
{

using Ids = std::vector<int32_t>;
using Tokenizer = std::unique_ptr<tn_tokenizer, void (*)(tn_tokenizer *)>;

inline Tokenizer owned(tn_tokenizer *tokenizer) { return Tokenizer(tokenizer, tn_tokenizer_destroy); }

// The folder of optional data, which is not part of the repository.
inline std::string shared_data(const std::string &name)
{
    const char *folder = std::getenv("TN_TEST_DATA");
    return (folder && *folder ? std::string(folder) : std::string(TN_SOURCE_DIR "/../shared/data")) + "/" + name;
}

inline std::string own_data(const std::string &name) { return std::string(TN_SOURCE_DIR "/tests/data/tokenizer/") + name; }

inline bool exists(const std::string &path) { return std::ifstream(path).good(); }

inline std::string read_file(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    EXPECT_TRUE(file.good()) << path;
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

inline std::vector<std::string> split(const std::string &text, const std::string &separator)
{
    std::vector<std::string> parts;
    size_t at = 0, next;
    while ((next = text.find(separator, at)) != std::string::npos) {
        parts.push_back(text.substr(at, next - at));
        at = next + separator.size();
    }
    parts.push_back(text.substr(at));
    return parts;
}

// A file of the optional data, unpacked; empty where it or xz is absent.
inline std::string unpacked(const std::string &name)
{
    std::string path = shared_data(name), text;
    if (!exists(path)) return text;
    FILE *pipe = popen(("xz -dc '" + path + "'").c_str(), "r");
    if (!pipe) return text;
    char block[65536];
    size_t n;
    while ((n = fread(block, 1, sizeof block, pipe)) > 0) text.append(block, n);
    return pclose(pipe) == 0 ? text : std::string();
}

// Held-out stories of the default model.
inline std::string story_corpus() { return unpacked("corpus/valid.txt.xz"); }

inline void append_utf8(std::string &out, uint32_t c)
{
    auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (c < 0x80) {
        put(c);
    } else if (c < 0x800) {
        put(0xC0 | c >> 6), put(0x80 | (c & 63));
    } else if (c < 0x10000) {
        put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
    } else {
        put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 63)), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
    }
}

// Bytes of the well-formed character at `at`, 0 where there is none. Written from the ranges of code points, not of bytes.
inline size_t well_formed(const std::string &text, size_t at)
{
    auto byte = [&](size_t i) { return at + i < text.size() ? static_cast<uint8_t>(text[at + i]) : 0u; };
    auto tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
    if (at >= text.size()) return 0;
    if (byte(0) < 0x80) return 1;
    if ((byte(0) & 0xE0) == 0xC0 && tail(1)) return ((byte(0) & 31) << 6 | (byte(1) & 63)) >= 0x80 ? 2 : 0;
    if ((byte(0) & 0xF0) == 0xE0 && tail(1) && tail(2)) {
        uint32_t c = (byte(0) & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63);
        return c >= 0x800 && (c < 0xD800 || c > 0xDFFF) ? 3 : 0;
    }
    if ((byte(0) & 0xF8) == 0xF0 && tail(1) && tail(2) && tail(3)) {
        uint32_t c = (byte(0) & 7) << 18 | (byte(1) & 63) << 12 | (byte(2) & 63) << 6 | (byte(3) & 63);
        return c >= 0x10000 && c <= 0x10FFFF ? 4 : 0;
    }
    return 0;
}

// A character of the byte-to-unicode alphabet: printable bytes are themselves, the others are U+0100 and on in order.
inline std::string alphabet_char(uint8_t byte)
{
    auto printable = [](unsigned b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
    uint32_t c = byte;
    if (!printable(byte)) {
        c = 256;
        for (unsigned b = 0; b < byte; b++) c += !printable(b);
    }
    std::string out;
    append_utf8(out, c);
    return out;
}

inline std::string to_alphabet(const std::string &bytes)
{
    std::string out;
    for (char b : bytes) out += alphabet_char(static_cast<uint8_t>(b));
    return out;
}

// A vocabulary that owns its texts. Tokens are given as files have them: in the alphabet (BPE), or with U+2581 (SPM).
struct Vocab {
    tn_vocab_model model = TN_VOCAB_BPE;
    std::vector<std::string> tokens, merges;
    std::vector<int32_t> kinds; // empty: all normal
    std::vector<float> scores;  // SPM
    bool ranks_by_id = false;
    std::string pre = "gpt-2";
    int32_t bos = TN_TOKEN_NONE, eos = TN_TOKEN_NONE, unknown = TN_TOKEN_NONE;
    bool add_bos = false, add_eos = false, add_space_prefix = false, remove_extra_whitespaces = false;

    int32_t add(const std::string &text, tn_token_kind kind)
    {
        kinds.resize(tokens.size(), TN_TOKEN_NORMAL);
        tokens.push_back(text);
        kinds.push_back(kind);
        return static_cast<int32_t>(tokens.size()) - 1;
    }

    tn_status create(tn_tokenizer **out) const
    {
        std::vector<tn_str> token_texts, merge_texts;
        for (const auto &t : tokens) token_texts.push_back({t.data(), t.size()});
        for (const auto &m : merges) merge_texts.push_back({m.data(), m.size()});
        merge_texts.push_back({nullptr, 0}); // so that data() is not NULL
        std::vector<int32_t> all_kinds = kinds;
        all_kinds.resize(tokens.size(), TN_TOKEN_NORMAL);
        tn_vocab v{};
        v.model = model;
        v.tokens = token_texts.data();
        v.kinds = kinds.empty() ? nullptr : all_kinds.data();
        v.n_tokens = static_cast<int32_t>(tokens.size());
        v.merges = ranks_by_id ? nullptr : merge_texts.data();
        v.n_merges = merges.size();
        v.pre = pre.c_str();
        v.unknown = unknown;
        std::vector<float> all_scores = scores;
        all_scores.resize(tokens.size(), 0.0f);
        v.scores = model == TN_VOCAB_SPM ? all_scores.data() : nullptr;
        v.add_space_prefix = add_space_prefix, v.remove_extra_whitespaces = remove_extra_whitespaces;
        v.bos = bos, v.eos = eos, v.add_bos = add_bos, v.add_eos = add_eos;
        return tn_tokenizer_create(&v, out);
    }

    Tokenizer make() const
    {
        tn_tokenizer *t = nullptr;
        EXPECT_EQ(create(&t), TN_OK) << tn_error_last()->message;
        return owned(t);
    }
};

// All 256 bytes, each its own token with the byte as id.
inline Vocab byte_vocab()
{
    Vocab v;
    for (unsigned b = 0; b < 256; b++) v.tokens.push_back(alphabet_char(static_cast<uint8_t>(b)));
    return v;
}

// The default model's vocabulary (see tests/data/tokenizer/README.md).
inline Vocab story_vocab()
{
    Vocab v;
    std::vector<std::pair<std::string, int>> alphabet;
    for (unsigned b = 0; b < 256; b++) v.tokens.push_back(alphabet_char(static_cast<uint8_t>(b)));
    std::sort(v.tokens.begin(), v.tokens.end()); // UTF-8 sorts as its code points do
    for (const auto &line : split(read_file(own_data("story.merges")), "\n")) {
        if (line.empty()) continue;
        v.merges.push_back(line);
        size_t space = line.find(' ', 1);
        v.tokens.push_back(line.substr(0, space) + line.substr(space + 1));
    }
    v.bos = v.add("<|begin_of_text|>", TN_TOKEN_CONTROL);
    v.eos = v.add("<|end_of_text|>", TN_TOKEN_CONTROL);
    v.add_bos = true;
    v.pre = "llama-bpe";
    return v;
}

inline std::string base64(const std::string &text)
{
    const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    uint32_t bits = 0;
    int n_bits = 0;
    for (char c : text) {
        size_t digit = digits.find(c);
        if (digit == std::string::npos) break;
        bits = bits << 6 | static_cast<uint32_t>(digit);
        n_bits += 6;
        if (n_bits >= 8) out.push_back(static_cast<char>(bits >> (n_bits -= 8)));
    }
    return out;
}

// Llama 3's vocabulary from a file of tiktoken's format: "base64-token rank" a line.
inline Vocab tiktoken_vocab(const std::string &path)
{
    Vocab v;
    for (const auto &line : split(read_file(path), "\n")) {
        if (line.empty()) continue;
        EXPECT_EQ(std::stoul(line.substr(line.find(' ') + 1)), v.tokens.size());
        v.tokens.push_back(to_alphabet(base64(line)));
    }
    EXPECT_EQ(v.tokens.size(), 128000u);
    v.ranks_by_id = true;
    v.pre = "llama-bpe";
    v.bos = v.add("<|begin_of_text|>", TN_TOKEN_CONTROL);
    return v;
}

inline Ids encode(const tn_tokenizer *t, const std::string &text, unsigned flags = 0)
{
    size_t n = 0, n_again = 0;
    EXPECT_EQ(tn_tokenizer_encode(t, text.data(), text.size(), flags, nullptr, 0, &n), TN_OK) << tn_error_last()->message;
    Ids ids(n);
    EXPECT_EQ(tn_tokenizer_encode(t, text.data(), text.size(), flags, ids.data(), n, &n_again), TN_OK);
    EXPECT_EQ(n, n_again);
    return ids;
}

inline std::string piece(const tn_tokenizer *t, int32_t id, bool special = false)
{
    size_t len = 0;
    EXPECT_EQ(tn_tokenizer_decode_token(t, id, special, nullptr, 0, &len), TN_OK);
    std::string bytes(len, '\0');
    EXPECT_EQ(tn_tokenizer_decode_token(t, id, special, bytes.data(), len, &len), TN_OK);
    return bytes;
}

inline std::string decode(const tn_tokenizer *t, const Ids &ids, bool special = false)
{
    std::string text;
    char bytes[64];
    for (int32_t id : ids) {
        size_t len = 0;
        EXPECT_TRUE(tn_tokenizer_decode_token(t, id, special, bytes, sizeof bytes, &len) == TN_OK);
        text += len <= sizeof bytes ? std::string(bytes, len) : piece(t, id, special);
    }
    return text;
}

// The text of tokens that are a whole text.
inline std::string decode_text(const tn_tokenizer *t, const Ids &ids, bool special = false)
{
    size_t len = 0, len_again = 0;
    EXPECT_EQ(tn_tokenizer_decode(t, ids.data(), ids.size(), special, nullptr, 0, &len), TN_OK);
    std::string text(len, '\0');
    EXPECT_EQ(tn_tokenizer_decode(t, ids.data(), ids.size(), special, text.data(), len, &len_again), TN_OK);
    EXPECT_EQ(len, len_again);
    return text;
}

} // namespace tokenizer_support
