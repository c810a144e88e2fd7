// Pre-tokenization by regular expressions: the definition that the scanners are compared with.
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/tokenizer_support.hpp"

#include <map>
#include <pcre2.h>
#include <utf8proc.h>

extern "C" {
#include "model/pretokenizer.h"
}

namespace tokenizer_support
{

class Regex
{
  public:
    explicit Regex(const std::string &pattern)
    {
        int error = 0;
        PCRE2_SIZE offset = 0;
        code_ =
            pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
        EXPECT_NE(code_, nullptr) << pattern << " at " << offset;
        pcre2_jit_compile(code_, PCRE2_JIT_COMPLETE);
        match_ = pcre2_match_data_create(1, nullptr);
    }
    Regex(const Regex &) = delete;
    Regex &operator=(const Regex &) = delete;
    ~Regex()
    {
        pcre2_match_data_free(match_);
        pcre2_code_free(code_);
    }
    // First match at or behind `from` in the `len` bytes at `text`, which are well-formed. False: none.
    bool find(const char *text, size_t len, size_t from, size_t *out_begin, size_t *out_end) const
    {
        int rc = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text), len, from, PCRE2_NO_UTF_CHECK, match_, nullptr);
        EXPECT_TRUE(rc >= 0 || rc == PCRE2_ERROR_NOMATCH) << rc;
        if (rc < 0) return false;
        *out_begin = pcre2_get_ovector_pointer(match_)[0];
        *out_end = pcre2_get_ovector_pointer(match_)[1];
        return true;
    }
    // Cuts text into matches and what lies between them.
    std::vector<std::string> pieces(const std::string &text) const
    {
        std::vector<std::string> out;
        size_t at = 0, begin, end;
        while (at < text.size() && find(text.data(), text.size(), at, &begin, &end)) {
            if (begin > at) out.push_back(text.substr(at, begin - at));
            out.push_back(text.substr(begin, end - begin));
            at = end;
        }
        if (at < text.size()) out.push_back(text.substr(at));
        return out;
    }

  private:
    pcre2_code *code_;
    pcre2_match_data *match_;
};

// Which code points the expression matches, each alone.
inline std::vector<bool> code_points_of(const std::string &expression)
{
    std::vector<bool> out(0x110000);
    std::string all;
    std::vector<uint32_t> at_byte(0x110000 * 4);
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        at_byte[all.size()] = c;
        append_utf8(all, c);
    }
    Regex regex(expression);
    size_t at = 0, begin, end;
    while (regex.find(all.data(), all.size(), at, &begin, &end)) {
        out[at_byte[begin]] = true;
        at = end;
    }
    return out;
}

// The characters that utf8proc's Unicode (15 in Debian 12) has and PCRE2's (14) has not: the two cannot agree on them, and on no
// others may they differ.
inline const std::vector<bool> &newer_than_pcre()
{
    static const std::vector<bool> newer = [] {
        std::vector<bool> out = code_points_of("\\p{Cn}");
        for (uint32_t c = 0; c <= 0x10FFFF; c++) {
            if (out[c] && utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_CN) out[c] = false;
        }
        return out;
    }();
    return newer;
}

// PCRE2's own \s has U+180E, which is no whitespace since Unicode 6.3; the expressions mean the property White_Space.
inline const std::string white_space =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
inline const std::string gpt2_expression =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" + white_space + "\\p{L}\\p{N}]+|[" + white_space + "]+(?![^" + white_space + "])";

// The expression of Llama 3, with that many digits in a piece.
inline std::string llama3_expression(const std::string &n_digits)
{
    return "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{" + n_digits + "}| ?[^" + white_space +
           "\\p{L}\\p{N}]+[\\r\\n]*|[" + white_space + "]*[\\r\\n]+|[" + white_space + "]+(?![^" + white_space + "])|[" + white_space +
           "]+";
}

// The expressions by name; of the names that mean the same one stands here for all, see Pretokenizer.NamesOfOneFamilyScanAlike.
inline const std::map<std::string, std::vector<std::string>> &families()
{
    static const std::map<std::string, std::vector<std::string>> all = {
        {"llama-bpe", {llama3_expression("1,3")}},
        {"qwen2", {llama3_expression("1")}},
        {"gpt-2", {gpt2_expression}},
        {"falcon", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", gpt2_expression, "[0-9][0-9][0-9]"}},
        {"falcon_e", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", gpt2_expression, "[0-9]"}},
        {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", gpt2_expression, "\\p{N}+", "[0-9][0-9][0-9]"}},
    };
    return all;
}

// Text with U+FFFD for each byte that belongs to no character.
inline std::string mended(const std::string &text)
{
    std::string out;
    for (size_t at = 0; at < text.size();) {
        size_t n = well_formed(text, at);
        out += n ? text.substr(at, n) : "\xEF\xBF\xBD";
        at += n ? n : 1;
    }
    return out;
}

inline std::vector<std::string> scan(const tn_pretokenizer *pre, const std::string &text)
{
    std::vector<uint8_t> bytes(text.begin(), text.end()); // exact size, for the sanitizer
    std::vector<std::string> out;
    tn_pre_cursor cursor;
    const uint8_t *piece = nullptr;
    size_t len = 0;
    tn_pre_start(&cursor, pre, bytes.data(), bytes.size());
    while (tn_pre_next(&cursor, &piece, &len)) {
        EXPECT_GT(len, 0u);
        out.emplace_back(reinterpret_cast<const char *>(piece), len);
    }
    return out;
}

// A family's expressions, one behind the other.
class PreOracle
{
  public:
    explicit PreOracle(const std::string &family)
    {
        for (const auto &pattern : families().at(family)) passes_.push_back(std::make_unique<Regex>(pattern));
    }
    // The pieces of a well-formed text.
    std::vector<std::string> pieces(const std::string &text) const
    {
        std::vector<std::string> out = {text};
        if (text.empty()) out.clear();
        for (const auto &pass : passes_) {
            std::vector<std::string> next;
            for (const auto &p : out) {
                for (auto &q : pass->pieces(p)) next.push_back(std::move(q));
            }
            out = std::move(next);
        }
        return out;
    }

  private:
    std::vector<std::unique_ptr<Regex>> passes_;
};

} // namespace tokenizer_support
