// The file of results: what it knows of the past, what it refuses, and that it holds whole lines alone.
#include "program.hpp"

#include <random>
#include <sys/file.h>
#include <xxhash.h>

extern "C" {
#include "batch_journal.h"
#include "batch_resume.h"
#include "cli.h"
// Of the program, for messages.
extern const tn_cli_verb tn_cli_verb_table[TN_VERB_COUNT_] = {};
}

namespace
{

using cli::contains;

std::string result_line(uint64_t line, uint64_t hash, const std::string &fingerprint = "fp_1", const std::string &text = "x")
{
    char id[80];
    std::snprintf(id, sizeof id, "batch_req_%llu_%016llx", static_cast<unsigned long long>(line), static_cast<unsigned long long>(hash));
    const std::string body = fingerprint.empty() ? "{}" : "{\"system_fingerprint\": \"" + fingerprint + "\", \"text\": \"" + text + "\"}";
    return std::string("{\"id\": \"") + id + "\", \"custom_id\": \"a\\u0000b\", \"response\": {\"body\": " + body + "}, \"error\": null}\n";
}

uint64_t hash_of(const std::string &text) { return XXH64(text.data(), text.size(), 0); }

class BatchJournal : public ::testing::Test
{
  protected:
    void TearDown() override { tn_cli_batch_journal_close(&journal); }

    // Returns the exit status; `said` is what was printed.
    int open_journal(bool overwrite = false)
    {
        tn_cli_batch_journal_close(&journal);
        const tn_cli_batch_journal_params params = {path.c_str(), overwrite, "ternion batch -o OTHER"};
        testing::internal::CaptureStderr();
        const int rc = tn_cli_batch_journal_open(&journal, &params);
        said = testing::internal::GetCapturedStderr();
        return rc;
    }
    void expect_refused(const std::string &bytes, const std::string &part)
    {
        cli::write_file(path, bytes);
        EXPECT_EQ(open_journal(), TN_CLI_FAILED) << bytes;
        EXPECT_TRUE(contains(said, part)) << said;
        EXPECT_TRUE(contains(said, "Try: ternion batch -o OTHER")) << said;
        EXPECT_EQ(cli::count_lines(said), 1u);
        tn_cli_batch_journal_close(&journal);
        EXPECT_EQ(cli::read_file(path), bytes) << "it was changed";
    }
    std::vector<uint64_t> done() const
    {
        std::vector<uint64_t> lines;
        for (size_t i = 0; i < journal.done.n; i++) {
            for (uint64_t l = journal.done.ranges[i].first; l <= journal.done.ranges[i].last; l++) lines.push_back(l);
        }
        return lines;
    }
    int check(const std::string &input, bool *todo = nullptr)
    {
        bool left = false;
        cli::write_file(folder / "in", input);
        const int fd = open((folder / "in").c_str(), O_RDONLY);
        testing::internal::CaptureStderr();
        const int rc = tn_cli_batch_resume_check(&journal, "in", fd, &left);
        said = testing::internal::GetCapturedStderr();
        EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 0);
        close(fd);
        if (todo) *todo = left;
        return rc;
    }

    cli::Folder folder;
    std::string path = folder / "out.jsonl", said;
    tn_cli_batch_journal journal = {};
};

TEST_F(BatchJournal, ANewFileIsMadeAndGoesAgainUnlessItIsBegun)
{
    ASSERT_EQ(open_journal(), 0) << said;
    EXPECT_TRUE(cli::exists(path));
    tn_cli_batch_journal_close(&journal);
    EXPECT_FALSE(cli::exists(path));
    ASSERT_EQ(open_journal(), 0);
    ASSERT_EQ(tn_cli_batch_journal_begin(&journal), 0);
    tn_cli_batch_journal_close(&journal);
    EXPECT_TRUE(cli::exists(path));
}

TEST_F(BatchJournal, KnowsAllLinesThatItHoldsInAnyOrder)
{
    std::mt19937_64 random(3);
    std::vector<uint64_t> lines;
    for (uint64_t l = 1; l < 3000; l++) {
        if (random() % 10 < 8) lines.push_back(l * (l % 1000 == 0 ? 1000000007u : 1));
    }
    std::sort(lines.begin(), lines.end());
    for (int shuffled = 0; shuffled < 3; shuffled++) {
        std::vector<uint64_t> order = lines;
        if (shuffled == 1) std::shuffle(order.begin(), order.end(), random);
        if (shuffled == 2) std::reverse(order.begin(), order.end());
        std::string bytes;
        for (uint64_t l : order) bytes += result_line(l, l * 7);
        cli::write_file(path, bytes);
        ASSERT_EQ(open_journal(), 0) << said;
        EXPECT_EQ(done(), lines);
        EXPECT_EQ(journal.done.n_lines, lines.size());
        EXPECT_STREQ(journal.fingerprint, "fp_1");
        EXPECT_EQ(journal.size, bytes.size());
        for (size_t i = 0; i < journal.done.n; i++) {
            const tn_cli_batch_range &range = journal.done.ranges[i];
            uint64_t sum = 0;
            for (uint64_t l = range.first; l <= range.last; l++) sum += tn_cli_batch_done_mix(l, l * 7);
            EXPECT_EQ(range.sum, sum);
            if (i > 0) {
                EXPECT_GT(range.first, journal.done.ranges[i - 1].last + 1) << "ranges that touch are one";
            }
            EXPECT_EQ(tn_cli_batch_done_find(&journal.done, range.last), &range);
            EXPECT_EQ(tn_cli_batch_done_find(&journal.done, range.last + 1), nullptr);
        }
        EXPECT_EQ(tn_cli_batch_done_last(&journal.done), lines.back());
    }
}

TEST_F(BatchJournal, WhateverIsLeftOfALastLineIsCutOffAndTheRestStays)
{
    const std::string whole = result_line(1, 5) + result_line(3, 6), last = result_line(2, 7);
    for (size_t n = 0; n < last.size(); n++) {
        cli::write_file(path, whole + last.substr(0, n));
        ASSERT_EQ(open_journal(), 0) << n << said;
        EXPECT_EQ(cli::read_file(path), whole + last.substr(0, n)) << "not before the run begins";
        EXPECT_EQ(done(), (std::vector<uint64_t>{1, 3}));
        ASSERT_EQ(tn_cli_batch_journal_begin(&journal), 0);
        EXPECT_EQ(cli::read_file(path), whole) << n;
        ASSERT_EQ(tn_cli_batch_journal_append(&journal, last.data(), last.size()), 0);
        EXPECT_EQ(cli::read_file(path), whole + last);
    }
    for (const std::string &remains : {std::string(500, '\0'), std::string(500, '\0') + "\n", std::string("{\"id\": \"batch_req_2_00\n")}) {
        cli::write_file(path, whole + remains);
        ASSERT_EQ(open_journal(), 0) << said;
        ASSERT_EQ(tn_cli_batch_journal_begin(&journal), 0);
        EXPECT_EQ(cli::read_file(path), whole);
    }
}

TEST_F(BatchJournal, AFileThatHoldsAnythingElseIsRefusedUntouched)
{
    const std::string good = result_line(1, 5), again = result_line(1, 6);
    expect_refused("my only copy of a novel", "line 1 of");
    expect_refused("my only copy of a novel\n", "line 1 of");
    expect_refused(good + "garbage\n" + result_line(2, 6), "line 2 of");
    expect_refused(good + "garbage", "line 2 of");
    expect_refused(good + "{\"id\": \"batch_req_\n" + result_line(2, 6), "line 2 of");
    expect_refused(good + std::string(20, '\0') + "\n" + result_line(2, 6), "line 2 of");
    expect_refused("{\"custom_id\": \"a\", \"method\": \"POST\"}\n", "line 1 of");
    expect_refused("[1, 2]\n", "line 1 of");
    expect_refused(good + again, "line 2 of");
    expect_refused(good + again, "second time");
    expect_refused(good + result_line(2, 6, "fp_2"), "other settings");
    for (const char *id : {"batch_req_0_0000000000000005", "batch_req_01_0000000000000005", "batch_req_-1_0000000000000005",
                           "batch_req_1_000000000000005", "batch_req_1_00000000000000055", "batch_req_1_000000000000000G",
                           "batch_req_99999999999999999999_0000000000000005", "batch_1_0000000000000005"}) {
        expect_refused(std::string("{\"id\": \"") + id + "\"}\n" + good, "line 1 of");
    }
    expect_refused(std::string("{\"id\": 5}\n") + good, "line 1 of");
}

TEST_F(BatchJournal, OverwritingTakesAnyFileButOnlyOnceItBegins)
{
    cli::write_file(path, "my only copy of a novel\n");
    ASSERT_EQ(open_journal(true), 0) << said;
    EXPECT_EQ(cli::read_file(path), "my only copy of a novel\n");
    ASSERT_EQ(tn_cli_batch_journal_begin(&journal), 0);
    EXPECT_EQ(cli::read_file(path), "");
}

TEST_F(BatchJournal, OtherSettingsAreRefused)
{
    cli::write_file(path, result_line(1, 5, "") + result_line(2, 5) + result_line(3, 5, ""));
    ASSERT_EQ(open_journal(), 0) << said;
    EXPECT_EQ(tn_cli_batch_journal_compare(&journal, "fp_1"), 0);
    testing::internal::CaptureStderr();
    EXPECT_EQ(tn_cli_batch_journal_compare(&journal, "fp_2"), TN_CLI_FAILED);
    const std::string refusal = testing::internal::GetCapturedStderr();
    EXPECT_TRUE(contains(refusal, "fp_1, now fp_2")) << refusal;
    EXPECT_TRUE(contains(refusal, "--overwrite")) << refusal;
}

TEST_F(BatchJournal, ASecondProcessIsRefusedAndChangesNothing)
{
    cli::write_file(path, result_line(1, 5));
    const int fd = open(path.c_str(), O_RDWR);
    ASSERT_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
    for (bool overwrite : {false, true}) {
        EXPECT_EQ(open_journal(overwrite), TN_CLI_FAILED);
        EXPECT_TRUE(contains(said, "another process writes to")) << said;
        tn_cli_batch_journal_close(&journal);
        EXPECT_EQ(cli::read_file(path), result_line(1, 5));
    }
    close(fd);
    EXPECT_EQ(open_journal(), 0);
}

TEST_F(BatchJournal, AFailedWriteLeavesWholeLines)
{
    const std::string first = result_line(1, 5), second = result_line(2, 6, "fp_1", std::string(500, 'x'));
    ASSERT_EQ(open_journal(), 0);
    ASSERT_EQ(tn_cli_batch_journal_begin(&journal), 0);
    ASSERT_EQ(tn_cli_batch_journal_append(&journal, first.data(), first.size()), 0);
    signal(SIGXFSZ, SIG_IGN);
    rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    const rlimit small = {first.size() + 100, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    testing::internal::CaptureStderr();
    const int rc = tn_cli_batch_journal_append(&journal, second.data(), second.size());
    setrlimit(RLIMIT_FSIZE, &before);
    const std::string message = testing::internal::GetCapturedStderr();
    EXPECT_EQ(rc, TN_CLI_FAILED);
    EXPECT_TRUE(contains(message, "ulimit -f")) << message;
    EXPECT_EQ(cli::read_file(path), first);
    ASSERT_EQ(tn_cli_batch_journal_append(&journal, second.data(), second.size()), 0);
    EXPECT_EQ(tn_cli_batch_journal_sync(&journal, true), 0);
    EXPECT_EQ(cli::read_file(path), first + second);
}

TEST_F(BatchJournal, AFileThatIsRemovedMeanwhileIsTold)
{
    ASSERT_EQ(open_journal(), 0);
    ASSERT_EQ(tn_cli_batch_journal_begin(&journal), 0);
    ASSERT_EQ(tn_cli_batch_journal_append(&journal, "x\n", 2), 0);
    unlink(path.c_str());
    testing::internal::CaptureStderr();
    EXPECT_EQ(tn_cli_batch_journal_sync(&journal, false), 0) << "it is not yet time";
    EXPECT_EQ(tn_cli_batch_journal_sync(&journal, true), TN_CLI_FAILED);
    EXPECT_TRUE(contains(testing::internal::GetCapturedStderr(), "was removed"));
}

TEST_F(BatchJournal, FilesThatCannotBeWrittenAreRefused)
{
    path = folder / "no/such/folder";
    EXPECT_EQ(open_journal(), TN_CLI_FAILED);
    EXPECT_TRUE(contains(said, "cannot write")) << said;
    path = "/";
    EXPECT_EQ(open_journal(), TN_CLI_FAILED);
    path = "/dev/full";
    ASSERT_EQ(open_journal(), 0);
    ASSERT_EQ(tn_cli_batch_journal_begin(&journal), 0);
    testing::internal::CaptureStderr();
    EXPECT_EQ(tn_cli_batch_journal_append(&journal, "x\n", 2), TN_CLI_FAILED);
    EXPECT_TRUE(contains(testing::internal::GetCapturedStderr(), "no space"));
}

// The input: line l is "request l", and some are blank.
std::string request(uint64_t l) { return l % 7 == 0 ? "" : "request " + std::to_string(l); }
std::string input_of(uint64_t n, uint64_t changed = 0, const std::string &text = "changed")
{
    std::string bytes;
    for (uint64_t l = 1; l <= n; l++) bytes += (l == changed ? text : request(l)) + "\n";
    return bytes;
}

TEST_F(BatchJournal, FindsTheLineOfTheInputThatWasChanged)
{
    const uint64_t n = 20000;
    std::string results;
    for (uint64_t l = 1; l < n; l++) { // the last ones with gaps
        if (!request(l).empty() && (l < n - 50 || l % 3)) results += result_line(l, hash_of(request(l)));
    }
    cli::write_file(path, results);
    ASSERT_EQ(open_journal(), 0) << said;
    bool todo = false;
    EXPECT_EQ(check(input_of(n), &todo), 0) << said;
    EXPECT_TRUE(todo);
    EXPECT_EQ(check(input_of(n + 5)), 0) << "lines may be added at the end";
    EXPECT_EQ(check(input_of(n, 19998)), 0) << "one that is not done may change";
    for (uint64_t changed : {1, 2, 4094, 4096, 4097, 9999, 19933, 19997}) {
        EXPECT_EQ(check(input_of(n, changed)), TN_CLI_FAILED);
        EXPECT_TRUE(contains(said, "line " + std::to_string(changed) + " of in is not the one")) << said;
        EXPECT_TRUE(contains(said, "--overwrite") && contains(said, "Try: ternion batch -o OTHER")) << said;
        EXPECT_EQ(check(input_of(n, changed, "")), TN_CLI_FAILED) << "it is blank now";
        EXPECT_TRUE(contains(said, "line " + std::to_string(changed) + " of in")) << said;
    }
    EXPECT_EQ(check(input_of(1000)), TN_CLI_FAILED) << "the input is shorter";
    EXPECT_TRUE(contains(said, "line 1002 of in")) << said; // 1001 is blank
    EXPECT_EQ(check(""), TN_CLI_FAILED);
    std::string swapped = input_of(n);
    std::swap_ranges(swapped.begin(), swapped.begin() + 10, swapped.begin() + 10);
    EXPECT_EQ(check(swapped), TN_CLI_FAILED) << "two lines changed places";
    EXPECT_TRUE(contains(said, "line 1 of in")) << said;
}

TEST_F(BatchJournal, KnowsWhereNothingIsLeft)
{
    std::string results;
    for (uint64_t l = 1; l <= 20; l++) {
        if (!request(l).empty()) results += result_line(l, hash_of(request(l)));
    }
    cli::write_file(path, results);
    ASSERT_EQ(open_journal(), 0) << said;
    bool todo = true;
    EXPECT_EQ(check(input_of(20), &todo), 0) << said;
    EXPECT_FALSE(todo);
    EXPECT_EQ(check(input_of(21), &todo), 0) << "the new line is blank";
    EXPECT_FALSE(todo);
    EXPECT_EQ(check(input_of(22), &todo), 0);
    EXPECT_TRUE(todo);
}

} // namespace
