// Streaming text: whole characters, stop strings, and the same text wherever tokens are cut.
#include "tokenizer/tokenizer_support.hpp"

#include <optional>

using namespace tokenizer_support;

namespace
{

const std::string FFFD = "\xEF\xBF\xBD";

// Whether the bytes from `at` to the text's end may still become a character: some tail makes them one.
bool may_become_character(const std::string &text, size_t at)
{
    static const std::vector<std::string> tails = [] {
        std::vector<std::string> out;
        for (const char *a : {"", "\x80", "\x90", "\xA0", "\xBF"}) {
            for (const char *b : {"", "\x80"}) {
                for (const char *c : {"", "\x80"}) out.push_back(std::string(a) + b + c);
            }
        }
        return out;
    }();
    for (const auto &tail : tails) {
        std::string whole = text.substr(at) + tail;
        if (!tail.empty() && well_formed(whole, 0) == whole.size()) return true;
    }
    return false;
}

// The bytes as text, each longest beginning of a character that breaks off as one U+FFFD; an unfinished one at the end is left out
// unless `ended`.
std::string as_text(const std::string &bytes, bool ended)
{
    std::string out;
    for (size_t at = 0; at < bytes.size();) {
        size_t n = well_formed(bytes, at);
        if (n > 0) {
            out += bytes.substr(at, n);
            at += n;
            continue;
        }
        n = 1;
        while (at + n < bytes.size() && n < 3 && may_become_character(bytes.substr(0, at + n + 1), at)) n++;
        bool unfinished = at + n == bytes.size() && may_become_character(bytes, at);
        if (!unfinished || ended) out += FFFD;
        at += n;
    }
    return out;
}

// Where the first stop string is complete: the text before it, of several that end there the longest.
std::optional<std::string> before_stop(const std::string &text, const std::vector<std::string> &stops)
{
    for (size_t end = 1; end <= text.size(); end++) {
        size_t longest = 0;
        for (const auto &s : stops) {
            if (s.size() <= end && text.compare(end - s.size(), s.size(), s) == 0 && s.size() > longest) longest = s.size();
        }
        if (longest > 0) return text.substr(0, end - longest);
    }
    return std::nullopt;
}

size_t longest_beginning(const std::string &text, const std::vector<std::string> &stops)
{
    size_t longest = 0;
    for (const auto &s : stops) {
        for (size_t n = 1; n < s.size() && n <= text.size(); n++) {
            if (text.compare(text.size() - n, n, s, 0, n) == 0 && n > longest) longest = n;
        }
    }
    return longest;
}

class Stream
{
  public:
    Stream(const tn_tokenizer *t, const std::vector<std::string> &stops, bool special = false)
    {
        std::vector<const char *> texts;
        for (const auto &s : stops) texts.push_back(s.c_str());
        tn_text_stream_params p = TN_TEXT_STREAM_PARAMS_INIT;
        p.stops = texts.data();
        p.n_stops = texts.size();
        p.special = special;
        EXPECT_EQ(tn_text_stream_create(t, &p, &stream_), TN_OK) << tn_error_last()->message;
    }
    Stream(const Stream &) = delete;
    Stream &operator=(const Stream &) = delete;
    ~Stream() { tn_text_stream_destroy(stream_); }
    std::string push(int32_t token)
    {
        const char *text = nullptr;
        size_t len = 0;
        EXPECT_EQ(tn_text_stream_push(stream_, token, &text, &len, &stopped), TN_OK);
        return std::string(text, len);
    }
    std::string finish()
    {
        const char *text = nullptr;
        size_t len = 0;
        EXPECT_EQ(tn_text_stream_finish(stream_, &text, &len), TN_OK);
        return std::string(text, len);
    }
    bool stopped = false;

  private:
    tn_text_stream *stream_ = nullptr;
};

// Pushes bytes as tokens of byte_vocab().
std::string run(Stream &s, const std::string &bytes)
{
    std::string out;
    for (char b : bytes) out += s.push(static_cast<uint8_t>(b));
    return out;
}

TEST(TextStream, GivesTheSameTextWhereverTokensAreCut)
{
    std::mt19937 random(21);
    const std::string pool[] = {"a",    "b",    "ab",       "\xC3",     "\xA9", "\xC3\xA9", "\xE4\xB8", "\xAD", "\xF0\x9F\x98",
                                "\x80", "\xF0", "\xED\xA0", "\xE0\x80", "\xFF", "\n",       "\xF4\x90", "\xC0"};
    const std::string stop_pool[] = {"ab", "aab", "b\xC3\xA9", "\xC3\xA9\xC3\xA9", "abab", "\n\n", "aa", "ba\n", "\xEF\xBF\xBD"};
    for (int round = 0; round < 3000; round++) {
        Vocab v = byte_vocab();
        std::vector<std::string> pieces;
        for (int i = 0; i < 12; i++) {
            std::string bytes;
            for (size_t k = random() % 4; k > 0; k--) bytes += pool[random() % (sizeof pool / sizeof pool[0])];
            pieces.push_back(bytes);
            v.tokens.push_back(to_alphabet(bytes));
        }
        Tokenizer t = v.make();
        std::vector<std::string> stops;
        for (size_t i = random() % 4; i > 0; i--) stops.push_back(stop_pool[random() % (sizeof stop_pool / sizeof stop_pool[0])]);
        Stream s(t.get(), stops);
        std::string bytes, shown;
        for (int i = 0; i < 30; i++) {
            size_t which = random() % pieces.size();
            bytes += pieces[which];
            shown += s.push(static_cast<int32_t>(256 + which));
            std::string certain = as_text(bytes, false);
            auto cut = before_stop(certain, stops);
            ASSERT_EQ(s.stopped, cut.has_value()) << testing::PrintToString(bytes);
            // Exactly what is certain: no byte less, no byte more.
            ASSERT_EQ(shown, cut ? *cut : certain.substr(0, certain.size() - longest_beginning(certain, stops)))
                << testing::PrintToString(bytes);
            ASSERT_EQ(as_text(shown, true), shown); // well-formed as it stands
        }
        std::string whole = as_text(bytes, true);
        ASSERT_EQ(shown + s.finish(), before_stop(whole, stops).value_or(whole)) << testing::PrintToString(bytes);
    }
}

TEST(TextStream, HoldsACharacterUntilItIsWhole)
{
    Tokenizer t = byte_vocab().make();
    Stream s(t.get(), {});
    EXPECT_EQ(s.push(0xF0), "");
    EXPECT_EQ(s.push(0x9F), "");
    EXPECT_EQ(s.push(0x98), "");
    EXPECT_EQ(s.push(0x80), "\xF0\x9F\x98\x80");
    EXPECT_EQ(s.push('a'), "a");
    EXPECT_EQ(s.finish(), "");
}

TEST(TextStream, BytesThatCanBecomeNothingComeAtOnce)
{
    Tokenizer t = byte_vocab().make();
    Stream s(t.get(), {});
    EXPECT_EQ(s.push(0x80), FFFD);
    EXPECT_EQ(s.push(0xE2), "");
    EXPECT_EQ(s.push('x'), FFFD + "x");
    EXPECT_EQ(s.push(0xE0), "");
    EXPECT_EQ(s.push(0x80), FFFD + FFFD); // an overlong form ends at its first byte
    EXPECT_EQ(s.push(0xE4), "");
    EXPECT_EQ(s.push(0xB8), "");
    EXPECT_EQ(s.push(0xC3), FFFD);
    EXPECT_EQ(s.finish(), FFFD);
}

TEST(TextStream, AStopStringOverSeveralTokensIsNeverShown)
{
    Tokenizer t = byte_vocab().make();
    Stream s(t.get(), {"</end>"});
    EXPECT_EQ(run(s, "a</en"), "a");
    EXPECT_EQ(s.push('e'), "</ene");
    EXPECT_EQ(run(s, "<</end"), "<");
    EXPECT_FALSE(s.stopped);
    EXPECT_EQ(s.push('>'), "");
    EXPECT_TRUE(s.stopped);
    EXPECT_EQ(s.push('x'), "");
    EXPECT_TRUE(s.stopped);
    EXPECT_EQ(s.finish(), "");
}

TEST(TextStream, OfOverlappingStopsTheFirstCompleteOneCounts)
{
    Tokenizer t = byte_vocab().make();
    Stream first(t.get(), {"abcd", "bc"});
    EXPECT_EQ(run(first, "xabc"), "xa");
    EXPECT_TRUE(first.stopped);
    Stream longest(t.get(), {"bc", "abc", "c"});
    EXPECT_EQ(run(longest, "xabc"), "x");
    EXPECT_TRUE(longest.stopped);
    Stream repeated(t.get(), {"aab"});
    EXPECT_EQ(run(repeated, "aaab"), "a");
    EXPECT_TRUE(repeated.stopped);
}

TEST(TextStream, WhatWasHeldBackComesAtTheEnd)
{
    Tokenizer t = byte_vocab().make();
    Stream s(t.get(), {"stop"});
    EXPECT_EQ(run(s, "a sto"), "a ");
    EXPECT_EQ(s.push(0xC3), "");
    EXPECT_EQ(s.finish(), "sto" + FFFD);
    EXPECT_EQ(run(s, "p"), "p"); // a new answer: the former "sto" is forgotten
}

TEST(TextStream, ControlTokensAreWrittenOutOnlyWhenAsked)
{
    Vocab v = byte_vocab();
    int32_t control = v.add("<|go|>", TN_TOKEN_CONTROL);
    Tokenizer t = v.make();
    Stream plain(t.get(), {}), special(t.get(), {}, true);
    EXPECT_EQ(plain.push(control), "");
    EXPECT_EQ(special.push(control), "<|go|>");
}

TEST(TextStream, WrongParametersAndTokensAreRefused)
{
    Tokenizer t = byte_vocab().make();
    tn_text_stream *s = nullptr;
    for (const char *stop : {"", "\xA9x"}) {
        tn_text_stream_params p = TN_TEXT_STREAM_PARAMS_INIT;
        p.stops = &stop;
        p.n_stops = 1;
        EXPECT_EQ(tn_text_stream_create(t.get(), &p, &s), TN_INVALID_ARGUMENT);
        EXPECT_EQ(s, nullptr);
    }
    tn_text_stream_params zero{};
    EXPECT_EQ(tn_text_stream_create(t.get(), &zero, &s), TN_INVALID_ARGUMENT);
    ASSERT_EQ(tn_text_stream_create(t.get(), nullptr, &s), TN_OK);
    const char *text = nullptr;
    size_t len = 1;
    bool stopped = true;
    EXPECT_EQ(tn_text_stream_push(s, 256, &text, &len, &stopped), TN_INVALID_ARGUMENT);
    EXPECT_EQ(len, 0u);
    EXPECT_EQ(tn_text_stream_push(s, 'a', &text, &len, &stopped), TN_OK);
    EXPECT_EQ(std::string(text, len), "a");
    tn_text_stream_destroy(s);
    tn_text_stream_destroy(nullptr);
}

TEST(TextStream, ALongTokenWithABarelyMissedStopIsLinear)
{
    Vocab v = byte_vocab();
    v.tokens.push_back(std::string(60000, 'a'));
    Tokenizer t = v.make();
    Stream s(t.get(), {std::string(50000, 'a') + "b"});
    std::string out;
    for (int i = 0; i < 20; i++) out += s.push(256);
    EXPECT_FALSE(s.stopped);
    EXPECT_EQ(out, std::string(20 * 60000 - 50000, 'a'));
    EXPECT_EQ(s.finish(), std::string(50000, 'a'));
}

} // namespace
