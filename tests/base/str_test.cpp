// Tests of text with a length and of the growing text buffer.
#include <gtest/gtest.h>
#include <string>

extern "C" {
#include "base/str.h"
}

namespace
{

TEST(Str, EqualityIsByBytesAndLength)
{
    const tn_str a{"ab\0c", 4}, b{"ab\0d", 4}, prefix{"ab", 2}, empty{nullptr, 0};
    EXPECT_TRUE(tn_str_eq(a, a));
    EXPECT_FALSE(tn_str_eq(a, b));
    EXPECT_FALSE(tn_str_eq(a, prefix));
    EXPECT_TRUE(tn_str_is(prefix, "ab"));
    EXPECT_FALSE(tn_str_is(a, "ab"));
    EXPECT_TRUE(tn_str_is(empty, ""));
}

TEST(Text, GrowsAndStaysTerminated)
{
    tn_text text{};
    std::string expected;
    for (int i = 0; i < 1000; ++i) {
        ASSERT_EQ(tn_text_append(&text, "abc", 3), TN_OK);
        ASSERT_EQ(tn_text_printf(&text, "%d,", i), TN_OK);
        expected += "abc" + std::to_string(i) + ",";
        ASSERT_EQ(text.data[text.len], '\0');
    }
    EXPECT_EQ(std::string(text.data, text.len), expected);
    tn_text_deinit(&text);
    EXPECT_EQ(text.data, nullptr);
    EXPECT_EQ(text.len, 0u);
    tn_text_deinit(&text);
}

TEST(Text, AddingNothingMakesATerminatedEmptyText)
{
    tn_text text{};
    ASSERT_EQ(tn_text_append(&text, nullptr, 0), TN_OK);
    EXPECT_STREQ(text.data, "");
    tn_text_deinit(&text);
}

TEST(Text, BytesMayBeAnything)
{
    tn_text text{};
    ASSERT_EQ(tn_text_append(&text, "a\0b", 3), TN_OK);
    EXPECT_EQ(std::string(text.data, text.len), std::string("a\0b", 3));
    tn_text_deinit(&text);
}

TEST(Text, SizesThatCannotExistFail)
{
    tn_text text{};
    ASSERT_EQ(tn_text_append(&text, "abc", 3), TN_OK);
    EXPECT_EQ(tn_text_append(&text, "x", SIZE_MAX - 1), TN_OUT_OF_MEMORY);
    EXPECT_STREQ(text.data, "abc");
    tn_text_deinit(&text);
}

} // namespace
