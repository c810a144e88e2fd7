// What the sampler refuses, and that it says which value is wrong.
#include <cmath>
#include <functional>
#include <gtest/gtest.h>
#include <limits>
#include <string>
#include <vector>

extern "C" {
#include "ternion/sampler.h"
}

namespace
{

struct BadCase {
    const char *named; // must stand in the message
    std::function<void(tn_sampler_params &)> spoil;
};

TEST(SamplerErrors, EveryBadValueIsRefusedByName)
{
    const float nan = std::numeric_limits<float>::quiet_NaN();
    static const tn_logit_bias high = {10, 1.0f}, low = {-1, 1.0f}, plus = {3, INFINITY}, nothing = {3, nan};
    const std::vector<BadCase> cases = {
        {"struct_size", [](tn_sampler_params &p) { p.struct_size = 0; }},
        {"struct_size", [](tn_sampler_params &p) { p.struct_size += 8; }},
        {"temperature", [nan](tn_sampler_params &p) { p.temperature = nan; }},
        {"temperature", [](tn_sampler_params &p) { p.temperature = INFINITY; }},
        {"top_p", [](tn_sampler_params &p) { p.top_p = -0.1f; }},
        {"top_p", [](tn_sampler_params &p) { p.top_p = 1.1f; }},
        {"top_p", [nan](tn_sampler_params &p) { p.top_p = nan; }},
        {"min_p", [](tn_sampler_params &p) { p.min_p = -0.1f; }},
        {"min_p", [](tn_sampler_params &p) { p.min_p = 1.5f; }},
        {"min_p", [nan](tn_sampler_params &p) { p.min_p = nan; }},
        {"repeat_last_n", [](tn_sampler_params &p) { p.repeat_last_n = -2; }},
        {"repeat_penalty", [](tn_sampler_params &p) { p.repeat_penalty = 0; }},
        {"repeat_penalty", [](tn_sampler_params &p) { p.repeat_penalty = -1; }},
        {"repeat_penalty", [nan](tn_sampler_params &p) { p.repeat_penalty = nan; }},
        {"presence_penalty", [](tn_sampler_params &p) { p.presence_penalty = INFINITY; }},
        {"frequency_penalty", [nan](tn_sampler_params &p) { p.frequency_penalty = nan; }},
        {"logit_bias", [](tn_sampler_params &p) { p.n_logit_bias = 1; }},
        {"token 10", [](tn_sampler_params &p) { p.logit_bias = &high, p.n_logit_bias = 1; }},
        {"token -1", [](tn_sampler_params &p) { p.logit_bias = &low, p.n_logit_bias = 1; }},
        {"token 3", [](tn_sampler_params &p) { p.logit_bias = &plus, p.n_logit_bias = 1; }},
        {"token 3", [](tn_sampler_params &p) { p.logit_bias = &nothing, p.n_logit_bias = 1; }},
    };
    for (const BadCase &bad : cases) {
        tn_sampler_params p = tn_sampler_params_default();
        bad.spoil(p);
        tn_sampler *s = reinterpret_cast<tn_sampler *>(1);
        EXPECT_EQ(tn_sampler_create(&p, 10, &s), TN_INVALID_ARGUMENT) << bad.named;
        EXPECT_EQ(s, nullptr);
        EXPECT_NE(std::string(tn_error_last()->message).find(bad.named), std::string::npos) << tn_error_last()->message;
    }
}

TEST(SamplerErrors, AnEmptyOrImpossibleVocabularyIsRefused)
{
    tn_sampler *s = nullptr;
    EXPECT_EQ(tn_sampler_create(nullptr, 0, &s), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_sampler_create(nullptr, 0x80000000u, &s), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_sampler_create(nullptr, 10, nullptr), TN_INVALID_ARGUMENT);
}

TEST(SamplerErrors, NullParamsAreTheDefaults)
{
    tn_sampler *a = nullptr, *b = nullptr;
    const tn_sampler_params defaults = tn_sampler_params_default();
    ASSERT_EQ(tn_sampler_create(nullptr, 300, &a), TN_OK);
    ASSERT_EQ(tn_sampler_create(&defaults, 300, &b), TN_OK);
    std::vector<float> logits(300);
    for (size_t i = 0; i < logits.size(); i++) logits[i] = static_cast<float>((i * 7919) % 100) / 20;
    for (uint32_t position = 0; position < 50; position++) {
        int32_t x = -1, y = -2;
        EXPECT_EQ(tn_sampler_sample(a, logits.data(), position, &x), TN_OK);
        EXPECT_EQ(tn_sampler_sample(b, logits.data(), position, &y), TN_OK);
        EXPECT_EQ(x, y);
    }
    tn_sampler_destroy(a);
    tn_sampler_destroy(b);
    tn_sampler_destroy(nullptr);
}

TEST(SamplerErrors, NanAndInfinityAmongLogitsAreRefusedWithTheToken)
{
    for (float temperature : {0.0f, 0.8f}) {
        tn_sampler_params p = tn_sampler_params_default();
        p.temperature = temperature;
        tn_sampler *s = nullptr;
        ASSERT_EQ(tn_sampler_create(&p, 4, &s), TN_OK);
        int32_t token = 7;
        for (float bad : {std::numeric_limits<float>::quiet_NaN(), INFINITY}) {
            const float logits[] = {0, 1, bad, 2};
            EXPECT_EQ(tn_sampler_sample(s, logits, 0, &token), TN_INVALID_ARGUMENT);
            EXPECT_NE(std::string(tn_error_last()->message).find("token 2"), std::string::npos);
            EXPECT_EQ(token, 0);
        }
        const float masked[] = {-INFINITY, -INFINITY, 1, -INFINITY};
        EXPECT_EQ(tn_sampler_sample(s, masked, 0, &token), TN_OK) << "a caller may forbid tokens in the logits as well";
        EXPECT_EQ(token, 2);
        tn_sampler_destroy(s);
    }
}

TEST(SamplerErrors, ForbiddingEveryTokenIsAnError)
{
    const tn_logit_bias bias[] = {{0, -INFINITY}, {1, -INFINITY}};
    for (float temperature : {0.0f, 0.8f}) {
        tn_sampler_params p = tn_sampler_params_default();
        p.temperature = temperature;
        p.logit_bias = bias;
        p.n_logit_bias = 2;
        tn_sampler *s = nullptr;
        ASSERT_EQ(tn_sampler_create(&p, 2, &s), TN_OK);
        const float logits[] = {0, 1};
        int32_t token;
        EXPECT_EQ(tn_sampler_sample(s, logits, 0, &token), TN_INVALID_ARGUMENT);
        EXPECT_NE(std::string(tn_error_last()->message).find("forbidden"), std::string::npos);
        tn_sampler_destroy(s);
    }
}

TEST(SamplerErrors, TokensOutsideTheVocabularyAreNotAccepted)
{
    tn_sampler *s = nullptr;
    ASSERT_EQ(tn_sampler_create(nullptr, 5, &s), TN_OK);
    EXPECT_EQ(tn_sampler_accept(s, 5), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_sampler_accept(s, -1), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_sampler_accept(s, 4), TN_OK);
    EXPECT_EQ(tn_sampler_accept(nullptr, 4), TN_INVALID_ARGUMENT);
    const float logits[5] = {};
    int32_t token;
    EXPECT_EQ(tn_sampler_sample(nullptr, logits, 0, &token), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_sampler_sample(s, nullptr, 0, &token), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_sampler_sample(s, logits, 0, nullptr), TN_INVALID_ARGUMENT);
    tn_sampler_destroy(s);
}

} // namespace
