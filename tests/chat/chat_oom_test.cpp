// Each allocation of recognising and rendering may fail: a status, nothing written wrong, and under AddressSanitizer no leak.
#include "chat_support.hpp"
#include "support/fail_alloc.hpp"

#include <functional>

namespace
{

using namespace chat_support;
using tn_test::FailAlloc;
using tn_test::FailMode;

void fail_each(FailMode mode, const std::function<tn_status()> &call)
{
    for (long nth = 1;; nth++) {
        ASSERT_LT(nth, 1000) << "no end";
        tn_status status;
        long failed;
        {
            const FailAlloc fail(nth, mode);
            status = call();
            failed = fail.failed();
        }
        if (failed == 0) {
            EXPECT_EQ(status, TN_OK) << tn_error_last()->message;
            EXPECT_GT(nth, 2) << "nothing was allocated";
            return;
        }
        EXPECT_EQ(status, TN_OUT_OF_MEMORY) << "allocation " << nth;
    }
}

TEST(ChatOutOfMemory, RenderingSurvivesAnyFailingAllocation)
{
    auto t = chat_vocab().make();
    const std::string text = "Tell me </think> a story.";
    const int32_t answer[] = {65, 66};
    const tn_chat_message messages[] = {{TN_CHAT_SYSTEM, text.data(), text.size(), nullptr, 0},
                                        {TN_CHAT_USER, text.data(), text.size(), nullptr, 0},
                                        {TN_CHAT_ASSISTANT, nullptr, 0, answer, 2},
                                        {TN_CHAT_USER, text.data(), text.size(), nullptr, 0}};
    for (size_t i = 0; i < tn_chat_template_count(); i++) {
        for (FailMode mode : {FailMode::once, FailMode::forever}) {
            fail_each(mode, [&] {
                int32_t ids[1000];
                size_t n = 0;
                tn_status status =
                    tn_chat_render(tn_chat_template_at(i), t.get(), messages, 4, TN_CHAT_ADD_GENERATION_PROMPT, ids, 1000, &n);
                EXPECT_EQ(n > 0, status == TN_OK);
                return status;
            });
        }
    }
}

TEST(ChatOutOfMemory, MatchingSurvivesAnyFailingAllocation)
{
    Cases cases;
    const std::string jinja = string_of(json_object_get(json_object_get(cases.root, "templates"), "llama3"));
    for (FailMode mode : {FailMode::once, FailMode::forever}) {
        fail_each(mode, [&] {
            const tn_chat_template *found = nullptr;
            tn_status status = tn_chat_template_match(jinja.data(), jinja.size(), &found);
            EXPECT_EQ(found != nullptr, status == TN_OK);
            return status;
        });
    }
}

} // namespace
