// SentencePiece as the tests understand it: vocabularies, and encoding done the slow way.
#pragma once

#include "tokenizer/tokenizer_support.hpp"

#include <map>
#include <set>

extern "C" {
#include "format/gguf.h"
}

namespace tokenizer_support
{

inline const std::string mark = "\xE2\x96\x81"; // stands for a space in pieces

inline Vocab spm_vocab()
{
    Vocab v;
    v.model = TN_VOCAB_SPM;
    return v;
}

inline std::string byte_name(uint8_t byte)
{
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    return name;
}

// Reads the pieces, scores and kinds of a GGUF vocabulary.
inline Vocab vocab_of_gguf(const std::string &path)
{
    Vocab v = spm_vocab();
    tn_gguf *gguf = nullptr;
    tn_gguf_array array;
    EXPECT_EQ(tn_gguf_open(path.c_str(), nullptr, &gguf), TN_OK);
    EXPECT_EQ(tn_gguf_get_array(gguf, "tokenizer.ggml.tokens", TN_GGUF_STRING, &array), TN_OK);
    tn_str text;
    for (uint64_t at = 0; tn_gguf_array_next(&array, &at, &text);) v.tokens.emplace_back(text.data, text.len);
    v.scores.resize(v.tokens.size());
    v.kinds.resize(v.tokens.size());
    EXPECT_EQ(tn_gguf_get_array(gguf, "tokenizer.ggml.scores", TN_GGUF_F32, &array), TN_OK);
    memcpy(v.scores.data(), array.data, 4 * v.scores.size());
    EXPECT_EQ(tn_gguf_get_array(gguf, "tokenizer.ggml.token_type", TN_GGUF_I32, &array), TN_OK);
    memcpy(v.kinds.data(), array.data, 4 * v.kinds.size());
    tn_gguf_destroy(gguf);
    v.unknown = 0, v.bos = 1, v.eos = 2;
    v.add_space_prefix = true;
    return v;
}

// The definition: strings, a search through all pairs for each merge, the whole text at once.
class SlowSpm
{
  public:
    explicit SlowSpm(const Vocab &v) : v_(v)
    {
        for (size_t i = 0; i < v.tokens.size(); i++) {
            int32_t id = static_cast<int32_t>(i);
            switch (v.kinds[i]) {
            case TN_TOKEN_NORMAL:
            case TN_TOKEN_UNUSED: pieces_[v.tokens[i]] = id; break;
            case TN_TOKEN_BYTE: bytes_[v.tokens[i]] = id; break;
            case TN_TOKEN_USER_DEFINED: user_defined_[v.tokens[i]] = id; [[fallthrough]];
            default: specials_[v.tokens[i]] = id;
            }
        }
    }

    Ids encode(const std::string &text, bool parse_special) const
    {
        Ids out;
        std::string plain;
        const auto &specials = parse_special ? specials_ : user_defined_;
        for (size_t at = 0; at < text.size();) {
            auto best = specials.end();
            for (auto s = specials.begin(); s != specials.end(); ++s) {
                bool longer = best == specials.end() || s->first.size() > best->first.size();
                if (longer && text.compare(at, s->first.size(), s->first) == 0) best = s;
            }
            if (best == specials.end()) {
                plain += text[at++];
                continue;
            }
            encode_plain(plain, out);
            plain.clear();
            out.push_back(best->second);
            at += best->first.size();
        }
        encode_plain(plain, out);
        return out;
    }

  private:
    struct Symbol {
        std::string text;
        std::vector<Symbol> parts; // of the merge that made it; none: a character
    };

    static std::string replaced(std::string text, const std::string &from, const std::string &to)
    {
        for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
        return text;
    }

    std::string normalized(std::string text) const
    {
        if (v_.remove_extra_whitespaces) {
            while (text.find("  ") != std::string::npos) text = replaced(text, "  ", " ");
            if (!text.empty() && text.front() == ' ') text.erase(0, 1);
        }
        text = replaced(text, mark, " ");
        while (v_.remove_extra_whitespaces && !text.empty() && text.back() == ' ') text.pop_back();
        if (v_.add_space_prefix && !text.empty()) text = " " + text;
        return replaced(text, " ", mark);
    }

    void encode_plain(const std::string &raw, Ids &out) const
    {
        std::string text = normalized(raw);
        std::vector<Symbol> symbols;
        for (size_t at = 0, n; at < text.size(); at += n) {
            n = std::max<size_t>(1, well_formed(text, at));
            symbols.push_back({text.substr(at, n), {}});
        }
        for (;;) {
            size_t best = symbols.size();
            float best_score = 0;
            for (size_t i = 0; i + 1 < symbols.size(); i++) {
                auto piece = pieces_.find(symbols[i].text + symbols[i + 1].text);
                if (piece == pieces_.end()) continue;
                float score = v_.scores[static_cast<size_t>(piece->second)];
                if (best == symbols.size() || score > best_score) best = i, best_score = score;
            }
            if (best == symbols.size()) break;
            Symbol joined{symbols[best].text + symbols[best + 1].text, {symbols[best], symbols[best + 1]}};
            symbols[best] = joined;
            symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
        }
        for (const auto &s : symbols) append(s, out);
    }

    void append(const Symbol &symbol, Ids &out) const
    {
        auto piece = pieces_.find(symbol.text);
        if (piece != pieces_.end() && v_.kinds[static_cast<size_t>(piece->second)] == TN_TOKEN_NORMAL) {
            out.push_back(piece->second);
            return;
        }
        for (const auto &part : symbol.parts) append(part, out);
        if (!symbol.parts.empty()) return;
        Ids ids;
        const std::string text = symbol.text == mark ? " " : symbol.text; // a space without a piece is the byte that it was
        for (char c : text) {
            auto byte = bytes_.find(byte_name(static_cast<uint8_t>(c)));
            if (byte != bytes_.end()) ids.push_back(byte->second);
        }
        if (ids.size() == text.size())
            out.insert(out.end(), ids.begin(), ids.end());
        else if (v_.unknown != TN_TOKEN_NONE)
            out.push_back(v_.unknown);
    }

    Vocab v_;
    std::map<std::string, int32_t> pieces_, bytes_, user_defined_, specials_;
};

} // namespace tokenizer_support
