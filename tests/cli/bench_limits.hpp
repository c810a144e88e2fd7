// What results of ternion bench say of a device's limits must follow from the figures beside it.
#pragma once

#include "program.hpp"

#include <algorithm>

namespace cli
{

// The best of the list's figures of that kind, with as many threads as the test has or fewer; 0: there is none.
inline double best_of_limits(const json_t *test, const char *kind)
{
    double best = 0;
    size_t i = 0;
    json_t *limit = nullptr;
    json_array_foreach(json_object_get(test, "limits"), i, limit)
    {
        if (text_of(limit, "limit") == kind && integer_of(limit, "n_threads") <= integer_of(test, "n_threads"))
            best = std::max(best, number_of(limit, "best"));
    }
    return best;
}

// A share of a limit of that kind: what the test did in its time by the limit; null where the kind was not measured.
inline void expect_share(const json_t *test, const char *kind, const char *limit, const char *share, const char *amount)
{
    const double best = best_of_limits(test, kind);
    if (best == 0) {
        EXPECT_TRUE(json_is_null(json_object_get(test, limit))) << limit;
        EXPECT_TRUE(json_is_null(json_object_get(test, share))) << share;
        return;
    }
    const double seconds = number_of(test, "median_ns") * 1e-9;
    const double tokens = number_of(test, "n_pl") * (number_of(test, "n_prompt") + number_of(test, "n_gen"));
    const double expected = number_of(test, amount) * tokens / seconds / best;
    EXPECT_EQ(number_of(test, limit), best);
    EXPECT_GT(expected, 0) << share;
    EXPECT_NEAR(number_of(test, share), expected, 1e-6 * expected + 1e-12) << share;
}

inline void expect_limits_fit(const json_t *test)
{
    size_t i = 0;
    json_t *limit = nullptr;
    json_array_foreach(json_object_get(test, "limits"), i, limit)
    {
        EXPECT_GT(number_of(limit, "median"), 0);
        EXPECT_LE(number_of(limit, "median"), number_of(limit, "best"));
    }
    expect_share(test, "memory_read", "memory_limit_bytes_per_s", "memory_share", "read_bytes_per_token");
    expect_share(test, "int8_dot", "int8_limit_ops_per_s", "int8_share", "int8_ops_per_token");
    if (best_of_limits(test, "memory_read") > 0 && best_of_limits(test, "int8_dot") > 0) {
        EXPECT_EQ(number_of(test, "roofline_share"), std::max(number_of(test, "memory_share"), number_of(test, "int8_share")));
    } else {
        EXPECT_TRUE(json_is_null(json_object_get(test, "roofline_share")));
    }
}

} // namespace cli
