// Parameter structs of older and newer callers.
#include <cstring>
#include <gtest/gtest.h>
#include <string>

extern "C" {
#include "base/params.h"
}

namespace
{

struct params {
    uint32_t struct_size;
    int32_t first;
    int32_t later; // came with a later version
};

tn_status read(const void *given, params *out) { return TN_PARAMS_READ(params, first, given, out); }

TEST(Params, NullKeepsTheDefaults)
{
    params p = {sizeof p, 5, 7};
    ASSERT_EQ(read(nullptr, &p), TN_OK);
    EXPECT_EQ(p.first, 5);
    EXPECT_EQ(p.later, 7);
}

TEST(Params, AnOlderCallersStructKeepsTheDefaultsOfFieldsThatItLacks)
{
    params p = {sizeof p, 5, 7}, given = {offsetof(params, later), 1, 2};
    ASSERT_EQ(read(&given, &p), TN_OK);
    EXPECT_EQ(p.first, 1);
    EXPECT_EQ(p.later, 7) << "what lies behind the caller's struct was read";
    EXPECT_EQ(p.struct_size, sizeof p);
}

TEST(Params, TodaysStructIsTakenWhole)
{
    params p = {sizeof p, 5, 7}, given = {sizeof given, 1, 2};
    ASSERT_EQ(read(&given, &p), TN_OK);
    EXPECT_EQ(p.first, 1);
    EXPECT_EQ(p.later, 2);
}

TEST(Params, SizesOfNoVersionAreRefusedWithTheStructsName)
{
    for (uint32_t size : {0u, 1u, 4u, 7u, 13u, UINT32_MAX}) {
        params p = {sizeof p, 5, 7}, given = {size, 1, 2};
        EXPECT_EQ(read(&given, &p), TN_INVALID_ARGUMENT) << size;
        EXPECT_NE(std::string(tn_error_last()->message).find("params.struct_size is " + std::to_string(size)), std::string::npos);
        EXPECT_EQ(p.first, 5);
    }
}

} // namespace
