// ternion compare with CUDA's backend, on the device that emulates its GPU.
#include "program.hpp"

namespace
{

TEST(CompareCuda, ItsLogitsRepliesAndPlacementsAreTheCpus)
{
    const cli::Result result = cli::run({"compare",
                                         "-q",
                                         "--backends",
                                         "cpu0,cuda:host",
                                         "--placements",
                                         "split: cpu0,cuda:host",
                                         "--no-limits",
                                         "-p",
                                         "0",
                                         "-n",
                                         "0",
                                         "--batch-sizes",
                                         "0",
                                         "-c",
                                         "16",
                                         "--chunks",
                                         "1",
                                         "--greedy-prompts",
                                         "2",
                                         "--greedy",
                                         "3",
                                         "--json"});
    ASSERT_EQ(result.status, 0) << result.err;
    const cli::Json json = cli::parse_json(result.out);
    const json_t *subjects = json_object_get(json.get(), "subjects");
    ASSERT_EQ(json_array_size(subjects), 3u);
    const char *const devices[] = {"cpu0", "cuda:host", "cpu0, cuda:host"};
    const std::string hash = cli::text_of(json_object_get(json_array_get(subjects, 0), "accuracy"), "logits_hash");
    for (size_t i = 0; i < 3; i++) {
        const json_t *subject = json_array_get(subjects, i), *accuracy = json_object_get(subject, "accuracy");
        EXPECT_EQ(cli::text_of(subject, "status"), "ok");
        EXPECT_EQ(cli::text_of(json_object_get(subject, "device"), "name"), devices[i]);
        EXPECT_EQ(cli::text_of(accuracy, "logits_hash"), hash);
        EXPECT_TRUE(json_is_true(json_object_get(accuracy, "identical")));
        if (i == 0) continue;
        EXPECT_TRUE(json_is_true(json_object_get(json_object_get(accuracy, "greedy"), "identical")));
    }
    const json_t *split = json_object_get(json_array_get(subjects, 2), "placement");
    ASSERT_EQ(json_array_size(split), 2u);
    EXPECT_EQ(cli::text_of(json_array_get(split, 1), "device"), "cuda:host");
    EXPECT_TRUE(json_is_true(json_object_get(json_array_get(split, 0), "embedding")));
    EXPECT_TRUE(json_is_true(json_object_get(json_array_get(split, 1), "head")));
    EXPECT_EQ(cli::integer_of(json_array_get(split, 1), "first_layer"), cli::integer_of(json_array_get(split, 0), "last_layer") + 1);
}

} // namespace
