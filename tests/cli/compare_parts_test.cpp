// Comparing with a device whose bits a test bends: the row says where they part.
#include "program.hpp"
#include "support/bent_device.hpp"

#include <optional>

extern "C" {
#include "compare.h"
#include "model/model_internal.h"
#include "report.h"
}

// As in the program's main.
#define TN_VERB(id, name, function, ...) {name, function, __VA_ARGS__},
const tn_cli_verb tn_cli_verb_table[TN_VERB_COUNT_] = {
#include "verbs.inc"
};
#undef TN_VERB

namespace
{

// The program's parts as its verb uses them, for two subjects on one CPU.
class CompareParts : public testing::Test
{
  protected:
    void SetUp() override
    {
        std::vector<std::string> words = {"compare",
                                          "-m",
                                          cli::default_model(),
                                          "-f",
                                          folder / "text",
                                          "--backends",
                                          "cpu0,cpu-scalar",
                                          "--no-limits",
                                          "-p",
                                          "0",
                                          "-n",
                                          "0",
                                          "--batch-sizes",
                                          "0",
                                          "--pack-cache",
                                          "off",
                                          "-q",
                                          "-c",
                                          "24",
                                          "--greedy-prompts",
                                          "2",
                                          "--greedy",
                                          "3",
                                          "--no-bind"};
        cli::write_file(folder / "text",
                        "Once upon a time there was a little dog. He had a red ball and a big bone. One day he went to the "
                        "park with his friend, and there they saw a cat on a tree. The cat was sad and could not come down.");
        for (std::string &word : words) argv.push_back(word.data());
        argv.push_back(nullptr);
        cli.verb = TN_VERB_COMPARE;
        cli.quiet = true;
        ASSERT_EQ(tn_cli_options_parse(&cli.options, TN_VERB_COMPARE, static_cast<int>(words.size()), argv.data()), 0);
        kept_words = std::move(words);
        cli.progress.quiet = true;
        tn_cli_report_begin(&cli);
        job.cli = &cli;
        ASSERT_EQ(tn_cli_compare_subjects(&job), 0);
        ASSERT_EQ(tn_cli_engine_open_model(&cli, &job.engine, TN_MODEL_LOAD_ALL), 0);
        ASSERT_EQ(tn_cli_compare_read_text(&job), 0);
        ASSERT_EQ(tn_cli_compare_plan_tests(&job), 0);
        ASSERT_EQ(job.n_subjects, 2u);
        for (size_t i = 0; i < 2; i++) ASSERT_EQ(tn_cli_compare_prepare(&job, &job.subjects[i]), 0);
        device.emplace(job.subjects[1].engine.host);
    }
    void TearDown() override
    {
        for (size_t i = 0; i < job.n_subjects; i++) {
            tn_session_destroy(job.subjects[i].engine.session);
            job.subjects[i].engine.session = nullptr;
        }
        device.reset(); // while its host is there
        for (size_t i = 0; i < job.n_subjects; i++) tn_cli_compare_subject_deinit(&job.subjects[i]);
        free(job.subjects);
        free(job.tests);
        tn_cli_compare_replies_deinit(&job.greedy);
        tn_cli_prompt_deinit(&job.text);
        tn_cli_engine_close(&job.engine);
        tn_cli_report_begin(nullptr);
        tn_cli_options_deinit(&cli.options);
    }
    // Node of the graph whose rows have this name in traces.
    uint32_t node(int32_t layer, const char *trace)
    {
        const tn_graph *graph = tn_model_graph(job.engine.model);
        for (uint32_t i = 0; i < graph->n_nodes; i++) {
            if (graph->nodes[i].layer == layer && graph->nodes[i].trace && strcmp(graph->nodes[i].trace, trace) == 0) return i;
        }
        ADD_FAILURE() << trace;
        return TN_NONE;
    }
    void compare()
    {
        for (size_t i = 0; i < 2; i++) {
            ASSERT_EQ(tn_cli_compare_start(&job, &job.subjects[i]), 0);
            ASSERT_EQ(tn_cli_compare_accuracy(&job, &job.subjects[0], &job.subjects[i]), 0);
        }
    }
    const json_t *row() { return job.subjects[1].json; }
    const json_t *accuracy() { return json_object_get(row(), "accuracy"); }

    cli::Folder folder;
    std::vector<std::string> kept_words;
    std::vector<char *> argv;
    tn_cli cli = {};
    tn_cli_compare job = {};
    std::optional<tn_test::BentDevice> device;
};

TEST_F(CompareParts, ADeviceOfTheSameBitsIsIdentical)
{
    compare();
    EXPECT_EQ(cli::text_of(row(), "status"), "ok");
    EXPECT_TRUE(json_is_true(json_object_get(accuracy(), "identical")));
    EXPECT_EQ(cli::text_of(accuracy(), "logits_hash"), cli::text_of(json_object_get(job.subjects[0].json, "accuracy"), "logits_hash"));
    EXPECT_EQ(cli::number_of(accuracy(), "max_kld"), 0);
    EXPECT_FALSE(job.subjects[1].differs);
}

TEST_F(CompareParts, ABitThatIsFlippedIsNamedByTokenLayerAndOp)
{
    device->bent = {tn_test::BentBit{node(2, "mid"), 15, tn_test::StoredPart::VALUE, 7, 22}};
    compare();
    EXPECT_EQ(cli::text_of(row(), "status"), "different");
    EXPECT_TRUE(job.subjects[1].differs);
    EXPECT_FALSE(job.subjects[1].failed);
    EXPECT_TRUE(json_is_false(json_object_get(accuracy(), "identical")));
    const json_t *place = json_object_get(accuracy(), "first_difference");
    EXPECT_EQ(cli::integer_of(place, "token"), 15);
    EXPECT_EQ(cli::integer_of(place, "position"), 15);
    EXPECT_EQ(cli::integer_of(place, "layer"), 2);
    EXPECT_EQ(cli::text_of(place, "op"), "mid");
    EXPECT_EQ(cli::integer_of(place, "element"), 7);
    EXPECT_NE(cli::text_of(place, "value"), cli::text_of(place, "reference"));
    const std::string reason = cli::text_of(row(), "reason");
    EXPECT_TRUE(cli::contains(reason, "mid") && cli::contains(reason, "layer 2")) << reason;
    EXPECT_NE(cli::text_of(accuracy(), "logits_hash"), cli::text_of(json_object_get(job.subjects[0].json, "accuracy"), "logits_hash"));
    EXPECT_GT(cli::number_of(accuracy(), "max_kld"), 0);
    EXPECT_GT(cli::number_of(accuracy(), "mean_kld"), 0);
}

TEST_F(CompareParts, OtherRepliesAreCountedAndPlaced)
{
    device->bent = {tn_test::BentBit{node(5, "out"), 32, tn_test::StoredPart::VALUE, 5, 27}};
    compare();
    const json_t *greedy = json_object_get(accuracy(), "greedy");
    EXPECT_EQ(cli::integer_of(greedy, "n_prompts"), 2);
    EXPECT_LT(cli::integer_of(greedy, "n_agree"), 2);
    EXPECT_EQ(cli::integer_of(json_object_get(greedy, "first_difference"), "token"), 1) << "that is chosen by the logits of position 32";
}

// The text ends before position 33, which only steps of replies have.
TEST_F(CompareParts, BitsThatDifferInRepliesAloneAreAnErrorWithAPlace)
{
    device->bent = {tn_test::BentBit{node(2, "mid"), 33, tn_test::StoredPart::VALUE, 7, 12}};
    compare();
    EXPECT_EQ(cli::text_of(accuracy(), "logits_hash"), cli::text_of(json_object_get(job.subjects[0].json, "accuracy"), "logits_hash"));
    EXPECT_EQ(cli::text_of(row(), "status"), "different");
    EXPECT_TRUE(job.subjects[1].differs);
    EXPECT_TRUE(json_is_false(json_object_get(accuracy(), "identical")));
    const json_t *greedy = json_object_get(accuracy(), "greedy"), *bits = json_object_get(greedy, "first_bits");
    EXPECT_EQ(cli::integer_of(greedy, "n_agree"), 2) << "their tokens are the same";
    EXPECT_TRUE(json_is_false(json_object_get(greedy, "identical")));
    EXPECT_EQ(cli::integer_of(bits, "prompt"), 0);
    EXPECT_EQ(cli::integer_of(bits, "token"), 2) << "that is chosen by the logits of position 33";
    EXPECT_TRUE(json_is_false(json_object_get(bits, "alone")));
    const json_t *place = json_object_get(accuracy(), "first_difference");
    EXPECT_EQ(cli::integer_of(place, "position"), 33);
    EXPECT_EQ(cli::integer_of(place, "layer"), 2);
    EXPECT_EQ(cli::text_of(place, "op"), "mid");
    EXPECT_EQ(cli::integer_of(place, "element"), 7);
}

// What the search does not see either is placed by its reply.
TEST_F(CompareParts, BitsThatDifferOnlyUntilTheyAreSearchedForAreNamedByTheirReply)
{
    device->bent = {tn_test::BentBit{node(2, "mid"), 33, tn_test::StoredPart::VALUE, 7, 12}};
    for (size_t i = 0; i < 2; i++) ASSERT_EQ(tn_cli_compare_start(&job, &job.subjects[i]), 0);
    device->bent.clear(); // programs that there are keep theirs
    device->is_bent = [](auto &) { return false; };
    for (size_t i = 0; i < 2; i++) ASSERT_EQ(tn_cli_compare_accuracy(&job, &job.subjects[0], &job.subjects[i]), 0);
    EXPECT_EQ(cli::text_of(row(), "status"), "different");
    const std::string reason = cli::text_of(row(), "reason");
    EXPECT_TRUE(cli::contains(reason, "token 2 of the reply to prompt 0") && cli::contains(reason, "one of 2 side by side")) << reason;
    EXPECT_TRUE(json_is_null(json_object_get(json_object_get(accuracy(), "first_difference"), "op")));
}

TEST_F(CompareParts, WithoutAScoredTokenThereAreNoFigures)
{
    tn_eval_stats *stats;
    ASSERT_EQ(tn_eval_stats_create(8, &stats), TN_OK);
    const cli::Json figures(tn_cli_compare_accuracy_json(stats, 1, true, false), json_decref);
    for (const char *name : {"perplexity", "perplexity_error", "mean_kld", "max_kld", "same_top"})
        EXPECT_TRUE(json_is_null(json_object_get(figures.get(), name))) << name;
    tn_eval_stats_destroy(stats);
}

} // namespace
