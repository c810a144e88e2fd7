// Character classes against PCRE2's tables, UTF-8 decoding against the definition.
#include "tokenizer/pcre_oracle.hpp"
#include "tokenizer/tokenizer_support.hpp"

#include <utf8proc.h>

extern "C" {
#include "model/unicode.h"
}

using namespace tokenizer_support;

namespace
{

uint8_t expected_class(const std::vector<bool> &letters, const std::vector<bool> &numbers, const std::vector<bool> &punctuation, uint32_t c)
{
    bool space = (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
                 c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
    unsigned bits = letters[c] ? TN_CHAR_LETTER : numbers[c] ? TN_CHAR_NUMBER : space ? TN_CHAR_SPACE : TN_CHAR_OTHER;
    if (punctuation[c]) bits |= TN_CHAR_PUNCT;
    if (c == '\r' || c == '\n') bits |= TN_CHAR_NEWLINE;
    return static_cast<uint8_t>(bits);
}

TEST(Unicode, EveryCodePointHasTheClassThatPcreGivesIt)
{
    auto letters = code_points_of("\\p{L}"), numbers = code_points_of("\\p{N}"), punctuation = code_points_of("\\p{P}");
    const std::vector<bool> &newer = newer_than_pcre();
    size_t n_newer = 0, n_compared = 0;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        if (newer[c]) {
            n_newer++;
            continue;
        }
        n_compared++;
        ASSERT_EQ(tn_char_class(c), expected_class(letters, numbers, punctuation, c)) << std::hex << c;
    }
    EXPECT_GT(n_compared, 1100000u);
    char pcre_unicode[32] = "";
    pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, pcre_unicode);
    // Unicode 15.0 added 4489 characters to 14.0 and moved none to another class.
    bool debian_12 = std::string(pcre_unicode) == "14.0.0" && std::string(utf8proc_unicode_version()) == "15.0.0";
    EXPECT_EQ(n_newer, debian_12 ? 4489u : n_newer);
}

TEST(Unicode, ValuesAboveTheLastCodePointCountAsOther) { EXPECT_EQ(tn_char_class(0x110000), TN_CHAR_OTHER); }

TEST(Unicode, EveryCodePointIsDecodedFromItsBytes)
{
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        std::string text;
        append_utf8(text, c);
        uint32_t got = 0;
        ASSERT_EQ(tn_utf8_decode(reinterpret_cast<const uint8_t *>(text.data()), text.size(), &got), text.size()) << std::hex << c;
        ASSERT_EQ(got, c);
    }
}

TEST(Unicode, BytesThatFormNoCharacterAreOneReplacementEach)
{
    std::mt19937 random(1);
    const uint8_t pool[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0,
                            0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF7, 0xF8, 0xFF};
    for (int i = 0; i < 300000; i++) {
        std::string text(1 + random() % 5, '\0');
        for (char &b : text) b = static_cast<char>(pool[random() % sizeof pool]);
        uint32_t got = 0;
        // On the heap at its exact size: the sanitizer sees a read behind the end.
        std::vector<uint8_t> bytes(text.begin(), text.end());
        size_t n = tn_utf8_decode(bytes.data(), bytes.size(), &got), expected = well_formed(text, 0);
        ASSERT_EQ(n, expected ? expected : 1) << testing::PrintToString(bytes);
        ASSERT_TRUE(expected || got == 0xFFFDu);
    }
}

} // namespace
