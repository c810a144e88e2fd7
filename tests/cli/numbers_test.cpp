// Strict numbers of the command line.
#include <climits>
#include <cmath>
#include <cstdlib>
#include <gtest/gtest.h>
#include <string>
#include <vector>

extern "C" {
#include "numbers.h"
}

namespace
{

char why[200];

bool is_int(const char *text, int64_t low = INT64_MIN, int64_t high = INT64_MAX)
{
    int64_t value = 0;
    return tn_cli_parse_int(text, low, high, &value, why, sizeof why);
}

TEST(Numbers, WholeNumbersAreDigitsAndASign)
{
    int64_t value = 0;
    EXPECT_TRUE(tn_cli_parse_int("-12", -100, 100, &value, why, sizeof why));
    EXPECT_EQ(value, -12);
    EXPECT_TRUE(is_int("9223372036854775807"));
    EXPECT_TRUE(is_int("+5"));
    for (const char *text : {"", " 1", "1 ", "0x10", "1e3", "1.0", "--1", "one", "-", "9223372036854775808", "-9223372036854775809"}) {
        EXPECT_FALSE(is_int(text)) << text;
    }
    EXPECT_TRUE(is_int("10", 10, 10));
    EXPECT_FALSE(is_int("9", 10, 20));
    EXPECT_FALSE(is_int("21", 10, 20));
    EXPECT_STREQ(why, "21 is out of range: 10 to 20");
}

TEST(Numbers, RealNumbersAreDecimalAndFinite)
{
    double value = 0;
    EXPECT_TRUE(tn_cli_parse_real("0.8", 0, 1, &value, why, sizeof why));
    EXPECT_EQ(value, 0.8);
    EXPECT_TRUE(tn_cli_parse_real("-1.5e-3", -1, 1, &value, why, sizeof why));
    EXPECT_EQ(value, -1.5e-3);
    for (const char *text : {"", "nan", "inf", "-inf", "0x1p3", "1,5", "1.5x", " 1", "e5", "1e999", "2"}) {
        EXPECT_FALSE(tn_cli_parse_real(text, -1, 1, &value, why, sizeof why)) << text;
    }
}

std::vector<int64_t> list(const char *text, bool *good)
{
    int64_t *numbers = nullptr;
    size_t n = 0;
    *good = tn_cli_parse_numbers(text, 0, 1000, &numbers, &n, why, sizeof why);
    std::vector<int64_t> result(numbers, numbers + n);
    std::free(numbers);
    return result;
}

TEST(Numbers, ListsHaveRangesWithSteps)
{
    using V = std::vector<int64_t>;
    bool good = false;
    EXPECT_EQ(list("7", &good), (V{7}));
    EXPECT_EQ(list("1,4,2", &good), (V{1, 4, 2}));
    EXPECT_EQ(list("1-4", &good), (V{1, 2, 3, 4}));
    EXPECT_EQ(list("16-64+16", &good), (V{16, 32, 48, 64}));
    EXPECT_EQ(list("16-70+16,1", &good), (V{16, 32, 48, 64, 1}));
    EXPECT_EQ(list("16-256*2", &good), (V{16, 32, 64, 128, 256}));
    EXPECT_EQ(list("5-5", &good), (V{5}));
    EXPECT_TRUE(good);
    for (const char *text :
         {"", ",", "1,", "4-1", "1-", "-1", "1-4+0", "1-4*1", "0-4*2", "1-4x", "1001", "999-1001", "1+2", "0-99999999999999999999"}) {
        list(text, &good);
        EXPECT_FALSE(good) << text;
    }
}

TEST(Numbers, TooManyAreRefused)
{
    int64_t *numbers = nullptr;
    size_t n = 0;
    EXPECT_FALSE(tn_cli_parse_numbers("1-1000000000", 0, INT64_MAX, &numbers, &n, why, sizeof why));
    std::free(numbers);
}

TEST(Numbers, BiasesAreATokenAndAnAmount)
{
    int32_t token = 0;
    float bias = 0;
    EXPECT_TRUE(tn_cli_parse_bias("15+1.5", &token, &bias, why, sizeof why));
    EXPECT_EQ(token, 15);
    EXPECT_EQ(bias, 1.5f);
    EXPECT_TRUE(tn_cli_parse_bias("7-2", &token, &bias, why, sizeof why));
    EXPECT_EQ(bias, -2.0f);
    EXPECT_TRUE(tn_cli_parse_bias("7-inf", &token, &bias, why, sizeof why));
    EXPECT_TRUE(std::isinf(bias) && bias < 0);
    for (const char *text : {"", "7", "+1", "7+", "7+inf", "7*2", "-7+1", "99999999999+1", "7+1x"}) {
        EXPECT_FALSE(tn_cli_parse_bias(text, &token, &bias, why, sizeof why)) << text;
    }
}

TEST(Numbers, IdsStandBetweenBlanksCommasAndBrackets)
{
    int32_t *ids = nullptr;
    size_t n = 0;
    const std::string good = "[1, 2,\n3]\t2147483647\r\n";
    ASSERT_TRUE(tn_cli_parse_ids(good.data(), good.size(), &ids, &n, why, sizeof why));
    EXPECT_EQ(std::vector<int32_t>(ids, ids + n), (std::vector<int32_t>{1, 2, 3, INT32_MAX}));
    std::free(ids);
    for (const std::string &bad : {std::string("1 a"), std::string("-1"), std::string("1.5"), std::string("2147483648"),
                                   std::string("1\0002", 3), std::string("99999999999999999999999999")}) {
        EXPECT_FALSE(tn_cli_parse_ids(bad.data(), bad.size(), &ids, &n, why, sizeof why)) << bad;
        std::free(ids);
    }
}

TEST(Numbers, SizesHaveUnitsOfPowersOf1024)
{
    const auto size = [](const char *text) {
        uint64_t bytes = 0;
        char reason[200];
        if (tn_cli_parse_size(text, &bytes, reason, sizeof reason)) return bytes;
        EXPECT_NE(std::string(reason).find("is not a size"), std::string::npos) << reason;
        return uint64_t{0};
    };
    EXPECT_EQ(size("1"), 1u);
    EXPECT_EQ(size("4096"), 4096u);
    EXPECT_EQ(size("4096B"), 4096u);
    EXPECT_EQ(size("2k"), 2048u);
    EXPECT_EQ(size("512M"), 512u << 20);
    EXPECT_EQ(size("1.5GiB"), 3ull << 29);
    EXPECT_EQ(size("2gB"), 2ull << 30);
    EXPECT_EQ(size("3T"), 3ull << 40);
    for (const char *text :
         {"", "M", "0", "-1", "1X", "1MM", "1Mi5", "1 M", "1e3", "1.2.3", "0x10", "9999999999T", "111111111111111111111111111111111111111"})
        EXPECT_EQ(size(text), 0u) << text;
}

} // namespace
