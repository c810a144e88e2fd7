// Tests of the error record: what is kept, per thread, escaped and cut.
#include <cstring>
#include <gtest/gtest.h>
#include <set>
#include <string>
#include <thread>

extern "C" {
#include "base/escape.h"
#include "base/status.h"
}

namespace
{

std::string last() { return tn_error_last()->message; }

std::string escaped(const std::string &text, size_t capacity = 256)
{
    std::string out(capacity, '#');
    const size_t n = tn_escape(text.data(), text.size(), out.data(), capacity);
    EXPECT_LT(n, capacity);
    EXPECT_EQ(out[n], '\0');
    out.resize(n);
    return out;
}

tn_status forwards(tn_status inner, bool *reached)
{
    TN_TRY(inner);
    *reached = true;
    return TN_OK;
}

TEST(Status, EveryStatusHasItsOwnNameAndAText)
{
    std::set<std::string> names;
    int count = 0;
#define CHECK_STATUS(name, number, text)                                                                                                   \
    EXPECT_STREQ(tn_status_name(TN_##name), #name);                                                                                        \
    EXPECT_STREQ(tn_status_text(TN_##name), text);                                                                                         \
    EXPECT_EQ(TN_##name, number);                                                                                                          \
    names.insert(tn_status_name(TN_##name));                                                                                               \
    ++count;
    TN_STATUS_LIST(CHECK_STATUS)
#undef CHECK_STATUS
    EXPECT_EQ(names.size(), static_cast<size_t>(count));
    EXPECT_STREQ(tn_status_name(static_cast<tn_status>(99)), "UNKNOWN");
    EXPECT_NE(std::string(tn_status_text(static_cast<tn_status>(99))), "");
}

TEST(Status, TheVersionIsThatOfTheHeader)
{
    const std::string expected =
        std::to_string(TN_VERSION_MAJOR) + "." + std::to_string(TN_VERSION_MINOR) + "." + std::to_string(TN_VERSION_PATCH);
    EXPECT_EQ(tn_version(), expected);
}

TEST(Status, AFailureIsRecordedWithPlaceAndNativeCode)
{
    const int line = __LINE__ + 1;
    EXPECT_EQ(tn_fail_native(TN_IO, 28, "%s: no space: free %d bytes", "a.bin", 7), TN_IO);
    const tn_error *error = tn_error_last();
    EXPECT_EQ(error->status, TN_IO);
    EXPECT_EQ(error->native_code, 28);
    EXPECT_EQ(error->line, line);
    EXPECT_STREQ(error->file, __FILE__);
    EXPECT_STREQ(error->device, "");
    EXPECT_EQ(last(), "a.bin: no space: free 7 bytes");
}

TEST(Status, ANewFailureLeavesNothingOfTheOldOne)
{
    tn_error old = *tn_error_last();
    std::strcpy(old.device, "cuda:0");
    tn_error_set(&old);
    EXPECT_STREQ(tn_error_last()->device, "cuda:0");
    (void)tn_fail_native(TN_IO, 5, "first");
    EXPECT_STREQ(tn_error_last()->device, "");
    (void)tn_fail(TN_LIMIT, "second");
    EXPECT_EQ(tn_error_last()->native_code, 0);
    EXPECT_EQ(tn_error_last()->status, TN_LIMIT);
    EXPECT_EQ(last(), "second");
}

TEST(Status, AMessageMayQuoteTheOneItReplaces)
{
    (void)tn_fail(TN_IO, "inner");
    (void)tn_fail(TN_BAD_FILE, "outer: %s", tn_error_last()->message);
    EXPECT_EQ(last(), "outer: inner");
    EXPECT_EQ(tn_fail_prefix("%s again: ", tn_error_last()->message), TN_BAD_FILE);
    EXPECT_EQ(last(), "outer: inner again: outer: inner");
}

TEST(Status, APrefixKeepsStatusAndPlace)
{
    const int line = __LINE__ + 1;
    (void)tn_fail_native(TN_BAD_FILE, 3, "is broken");
    EXPECT_EQ(tn_fail_prefix("layer %d: ", 4), TN_BAD_FILE);
    EXPECT_EQ(last(), "layer 4: is broken");
    EXPECT_EQ(tn_error_last()->line, line);
    EXPECT_EQ(tn_error_last()->native_code, 3);
}

TEST(Status, RecordsAreOfTheirThread)
{
    (void)tn_fail(TN_IO, "mine");
    std::string before, after;
    std::thread([&] {
        before = tn_error_last()->message;
        (void)tn_fail(TN_LIMIT, "other");
        after = tn_error_last()->message;
    }).join();
    EXPECT_EQ(before, "");
    EXPECT_EQ(after, "other");
    EXPECT_EQ(last(), "mine");
}

TEST(Status, AWorkersRecordCanBeTakenOver)
{
    tn_error copy{};
    std::thread([&] {
        (void)tn_fail_native(TN_DEVICE_LOST, 9, "gone");
        copy = *tn_error_last();
    }).join();
    tn_error_set(&copy);
    EXPECT_EQ(tn_error_last()->status, TN_DEVICE_LOST);
    EXPECT_EQ(tn_error_last()->native_code, 9);
    EXPECT_EQ(last(), "gone");
    tn_error_set(tn_error_last());
    EXPECT_EQ(last(), "gone");
}

TEST(Status, TryReturnsTheStatusAtOnce)
{
    bool reached = false;
    EXPECT_EQ(forwards(TN_POISON, &reached), TN_POISON);
    EXPECT_FALSE(reached);
    EXPECT_EQ(forwards(TN_OK, &reached), TN_OK);
    EXPECT_TRUE(reached);
}

TEST(Escape, MessagesAreOneLineWithoutTerminalControl)
{
    (void)tn_fail(TN_BAD_FILE, "key \"%s\"", "a\nb\tc\rd\x1b[31me\x7f");
    EXPECT_EQ(last(), "key \"a\\nb\\tc\\rd\\x1b[31me\\x7f\"");
    (void)tn_fail_prefix("%s: ", "x\x01y");
    EXPECT_EQ(last().rfind("x\\x01y: key", 0), 0u);
}

TEST(Escape, Utf8StaysAndInvalidBytesAreEscaped)
{
    EXPECT_EQ(escaped("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"), "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
    EXPECT_EQ(escaped("\xff"
                      "a"),
              "\\xffa");
    EXPECT_EQ(escaped("\xc3"), "\\xc3");                            // cut short
    EXPECT_EQ(escaped("\xc3("), "\\xc3(");                          // no continuation
    EXPECT_EQ(escaped("\xc0\x80"), "\\xc0\\x80");                   // overlong
    EXPECT_EQ(escaped("\xe0\x80\xaf"), "\\xe0\\x80\\xaf");          // overlong
    EXPECT_EQ(escaped("\xed\xa0\x80"), "\\xed\\xa0\\x80");          // surrogate
    EXPECT_EQ(escaped("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80"); // past U+10FFFF
    EXPECT_EQ(escaped("\x80z"), "\\x80z");
}

TEST(Escape, CharactersThatReorderOrBreakLinesAreEscaped)
{
    EXPECT_EQ(escaped("a\xc2\x85"
                      "b"),
              "a\\xc2\\x85b");                             // U+0085, a C1 control
    EXPECT_EQ(escaped("\xe2\x80\xa8"), "\\xe2\\x80\\xa8"); // U+2028, line separator
    EXPECT_EQ(escaped("\xe2\x80\xae"
                      "gpj"),
              "\\xe2\\x80\\xaegpj");                       // U+202E, right-to-left override
    EXPECT_EQ(escaped("\xe2\x81\xa6"), "\\xe2\\x81\\xa6"); // U+2066, isolate
}

TEST(Escape, NulBytesAreEscaped) { EXPECT_EQ(escaped(std::string("a\0b", 3)), "a\\x00b"); }

TEST(Escape, WhatDoesNotFitIsCutBetweenCharacters)
{
    EXPECT_EQ(escaped("0123456789", 11), "0123456789");
    EXPECT_EQ(escaped("0123456789", 10), "012345...");
    EXPECT_EQ(escaped("01234\xe2\x82\xac\xe2\x82\xac", 10), "01234..."); // never half of a character
    EXPECT_EQ(escaped("0123\n\n\n", 10), "0123\\n...");                  // nor half of an escape
    EXPECT_EQ(escaped("abc", 1), "");
    EXPECT_EQ(escaped("", 1), "");
    EXPECT_EQ(escaped("abcdef", 3), "..");
}

TEST(Escape, LongMessagesAreCutAndMarked)
{
    const std::string text(5000, 'x');
    (void)tn_fail(TN_IO, "%s", text.c_str());
    EXPECT_EQ(last().size(), sizeof(tn_error::message) - 1);
    EXPECT_EQ(last().substr(last().size() - 4), "x...");
    (void)tn_fail_prefix("%s", text.c_str());
    EXPECT_EQ(last().size(), sizeof(tn_error::message) - 1);
    (void)tn_fail(TN_IO, "the cause");
    (void)tn_fail_prefix("%s: ", text.c_str());
    EXPECT_EQ(last().size(), sizeof(tn_error::message) - 1);
    EXPECT_EQ(last().substr(last().size() - 13), "x...the cause");
    (void)tn_fail(TN_IO, "%s", std::string(1000, '\x01').c_str());
    EXPECT_LT(last().size(), sizeof(tn_error::message));
    EXPECT_EQ(last().substr(last().size() - 7), "\\x01...");
}

} // namespace
