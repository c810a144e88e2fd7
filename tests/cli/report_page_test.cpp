// Running out of memory at any allocation of a page: one line that says so, nothing left of the page, the page before untouched, no leak.
// What pages say is read back by report_page_test.py.
#include "program.hpp"
#include "support/fail_alloc.hpp"

extern "C" {
#include "report_page.h"
#include "verbs.h"

extern const tn_cli_verb tn_cli_verb_table[TN_VERB_COUNT_];
const tn_cli_verb tn_cli_verb_table[TN_VERB_COUNT_] = {}; // messages name a verb where there is one
}

namespace
{

using cli::Json;
using tn_test::FailAlloc;
using tn_test::FailMode;

// With all that pages allocate for: tests, batches, rooflines.
Json comparison()
{
    static const char text[] = R"({"subjects": [{"name": "a", "limits": {"memory_bytes_per_s": 1e10, "int8_ops_per_s": 1e12},
        "speed": [{"test": "b1", "unit": "t/s", "n_prompt": 0, "n_gen": 32, "n_seqs": 1, "median": 10},
                  {"test": "b4", "unit": "t/s", "n_prompt": 0, "n_gen": 32, "n_seqs": 4, "median": 30}],
        "ops": [{"op": "head", "phase": "tg128", "intensity": 2, "ops_per_s": 1e10}]}]})";
    return Json(json_loads(text, 0, nullptr), json_decref);
}

TEST(ReportPage, WithoutMemoryThereIsAMessageAndThePageBefore)
{
    cli::Folder folder;
    const Json compared = comparison();
    ASSERT_NE(compared, nullptr);
    const std::string path = folder / "page.html";
    ASSERT_EQ(tn_cli_report_page_write(path.c_str(), compared.get()), 0);
    const std::string whole = cli::read_file(path);
    EXPECT_TRUE(cli::contains(whole, "Roofline of a")) << whole;
    for (const FailMode mode : {FailMode::once, FailMode::forever}) {
        long failures = 0;
        for (long nth = 1;; nth++) {
            cli::write_file(path, "before");
            testing::internal::CaptureStderr();
            FailAlloc fail(nth, mode);
            const int rc = tn_cli_report_page_write(path.c_str(), compared.get());
            const long failed = fail.failed();
            const std::string said = testing::internal::GetCapturedStderr();
            if (failed == 0) {
                EXPECT_EQ(rc, 0) << said;
                EXPECT_EQ(cli::read_file(path), whole);
                break;
            }
            failures++;
            EXPECT_EQ(rc, 1) << nth;
            EXPECT_TRUE(cli::contains(said, "no memory is left")) << nth << said;
            EXPECT_EQ(cli::count_lines(said), 1u) << said;
            EXPECT_EQ(cli::read_file(path), "before") << nth;
            EXPECT_EQ(folder.count(), 1u) << nth;
        }
        EXPECT_GE(failures, 5);
    }
}

TEST(ReportPage, GoesToStandardOutputToo)
{
    const Json compared = comparison();
    testing::internal::CaptureStdout();
    EXPECT_EQ(tn_cli_report_page_write("-", compared.get()), 0);
    const std::string page = testing::internal::GetCapturedStdout();
    EXPECT_EQ(page.rfind("<!DOCTYPE html>", 0), 0u);
    EXPECT_EQ(page.substr(page.size() - 8), "</html>\n");
}

} // namespace
