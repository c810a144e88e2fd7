// ternion batch: each line gets the answer that it would get alone, and one result, whatever happens on the way.
#include "batch_files.hpp"

#include <sys/mount.h>
#include <thread>

namespace
{

using cli::answer_of;
using cli::completion;
using cli::contains;
using cli::error_of;
using cli::expect_error;
using cli::results_of;
using cli::run;
using Results = std::map<std::string, std::string>;

class Batch : public ::testing::Test
{
  protected:
    std::vector<std::string> arguments(const std::vector<std::string> &more = {}) const
    {
        std::vector<std::string> all = {"batch", "-i", in, "-o", out, "-q", "-t", "1", "-np", "4", "-c", "256"};
        all.insert(all.end(), more.begin(), more.end());
        return all;
    }
    cli::Result batch(const std::vector<std::string> &more = {}) const { return run(arguments(more)); }
    // Answers `requests` into a new file.
    Results fresh(const std::string &requests, const std::vector<std::string> &more = {}) const
    {
        cli::write_file(in, requests);
        unlink(out.c_str());
        const cli::Result result = batch(more);
        EXPECT_EQ(result.status, 0) << result.err;
        return results_of(cli::read_file(out));
    }
    Results results() const { return results_of(cli::read_file(out)); }

    cli::Folder folder;
    std::string in = folder / "in.jsonl", out = folder / "out.jsonl";
};

// The answer of ternion run.
std::string alone(const std::string &prompt, int n, const std::vector<std::string> &sampling)
{
    std::vector<std::string> arguments = {"run",     "-p", prompt, "-n", std::to_string(n), "-q", "--top-k", "0", "--top-p", "1",
                                          "--min-p", "0",  "-c",   "256"};
    arguments.insert(arguments.end(), sampling.begin(), sampling.end());
    return run(arguments).out;
}

TEST_F(Batch, EveryAnswerIsThatOfRunAlone)
{
    struct Ask {
        std::string prompt, body;
        int n;
        std::vector<std::string> flags;
    };
    const std::vector<Ask> asks = {
        {"Once upon a time", "\"temperature\": 0", 30, {"--temp", "0"}},
        {"Once upon a time", "\"seed\": 5", 25, {"-s", "5", "--temp", "1"}},
        {"The king said to his daughter",
         "\"seed\": 6, \"temperature\": 0.7, \"top_p\": 0.9",
         40,
         {"-s", "6", "--temp", "0.7", "--top-p", "0.9"}},
        {"A cat",
         "\"seed\": 7, \"presence_penalty\": 0.5, \"frequency_penalty\": 0.25",
         20,
         {"-s", "7", "--temp", "1", "--presence-penalty", "0.5", "--frequency-penalty", "0.25"}},
        {"One day the fox", "\"temperature\": 0, \"stop\": [\"the\"]", 40, {"--temp", "0", "--stop", "the"}},
        {"", "\"seed\": 8", 10, {"-s", "8", "--temp", "1"}},
    };
    std::vector<std::string> lines;
    for (size_t i = 0; i < asks.size(); i++)
        lines.push_back(
            completion("r" + std::to_string(i), asks[i].prompt, asks[i].body + ", \"max_tokens\": " + std::to_string(asks[i].n)));
    const auto joined = [&] {
        std::string all;
        for (const std::string &line : lines) all += line;
        return all;
    };
    Results first = fresh(joined());
    ASSERT_EQ(first.size(), asks.size());
    for (size_t i = 0; i < asks.size(); i++) {
        const std::string expected = alone(asks[i].prompt, asks[i].n, asks[i].flags);
        EXPECT_EQ(answer_of(first["r" + std::to_string(i)]), expected) << i;
        EXPECT_FALSE(expected.empty());
    }
    std::reverse(lines.begin(), lines.end());
    for (const char *concurrency : {"1", "2", "64", "auto"}) {
        Results other = fresh(joined(), {"-np", concurrency});
        for (size_t i = 0; i < asks.size(); i++) {
            const std::string id = "r" + std::to_string(i);
            EXPECT_EQ(answer_of(other[id]), answer_of(first[id])) << id << " at concurrency " << concurrency;
        }
    }
}

TEST_F(Batch, FlagsAreForLinesThatDoNotSay)
{
    Results r = fresh(completion("a", "Once upon a time", "") +
                          completion("b", "Once upon a time", "\"max_tokens\": 3, \"temperature\": 1, \"seed\": 4"),
                      {"--temp", "0", "-n", "9"});
    EXPECT_EQ(answer_of(r["a"]), alone("Once upon a time", 9, {"--temp", "0"}));
    EXPECT_EQ(answer_of(r["b"]), alone("Once upon a time", 3, {"--temp", "1", "-s", "4"}));
}

// Copies of the model on several devices, and layers shared between them, answer as one device does.
TEST_F(Batch, CopiesOfTheModelShareTheLines)
{
    std::string requests;
    for (int i = 0; i < 12; i++)
        requests += completion("r" + std::to_string(i), i % 3 ? "Once upon a time" : "The king",
                               "\"temperature\": 1, \"max_tokens\": 12, \"seed\": " + std::to_string(i));
    const Results expected = fresh(requests);
    ASSERT_EQ(expected.size(), 12u);
    const std::vector<std::string> two = {"--device", "cpu0,cpu1", "-t", "2"};
    for (const std::vector<std::string> &more : {std::vector<std::string>{"--replicas"}, std::vector<std::string>{}}) {
        std::vector<std::string> all = {"batch", "-i", in, "-o", out, "--overwrite", "-c", "256", "-np", "5"};
        all.insert(all.end(), two.begin(), two.end());
        all.insert(all.end(), more.begin(), more.end());
        const cli::Result result = run(cli::Run{all, "", {{"TN_CPU_DEVICES", "2"}}});
        EXPECT_EQ(result.status, 0) << result.err;
        EXPECT_EQ(contains(result.err, "plan  replicas cpu0 + cpu1\n"), !more.empty()) << result.err;
        EXPECT_TRUE(contains(result.err, "batch  5 at a time")) << result.err;
        Results got = results();
        ASSERT_EQ(got.size(), expected.size());
        for (const auto &line : expected) EXPECT_EQ(answer_of(got[line.first]), answer_of(line.second)) << line.first;
    }
}

TEST_F(Batch, CopiesThatCannotBeAreRefused)
{
    cli::write_file(in, completion("a", "A", "\"max_tokens\": 1"));
    const auto refused = [&](const std::vector<std::string> &more, int status, const std::string &why) {
        std::vector<std::string> all = {"batch", "-i", in, "-o", out, "--replicas"};
        all.insert(all.end(), more.begin(), more.end());
        expect_error(run(cli::Run{all, "", {{"TN_CPU_DEVICES", "2"}}}), status, why);
    };
    refused({}, 2, "--replicas: on which devices?");
    refused({"--device", "cpu0"}, 2, "--replicas: on which devices?");
    refused({"--device", "cpu0,0"}, 1, "cpu0 is named twice");
    refused({"--device", "cpu0,none9"}, 1, "there is no device none9");
    refused({"--device", "cpu0,cpu1", "-ngl", "3"}, 2, "every device has all layers");
    EXPECT_FALSE(cli::exists(out)) << "a file of results was left behind";
}

TEST_F(Batch, TheAnswersOfALineWithManyPromptsStayInOrder)
{
    // More prompts than the queue holds, each a request of its own.
    std::string prompts, body = "\"temperature\": 0, \"max_tokens\": 4";
    std::vector<std::string> expected;
    const std::vector<std::string> some = {"Once upon a time", "The king", "A cat", "In the"};
    std::vector<std::string> answers;
    for (const std::string &prompt : some) answers.push_back(alone(prompt, 4, {"--temp", "0"}));
    for (size_t i = 0; i < 50; i++) {
        prompts += (i ? ", \"" : "\"") + some[i * i % 4] + "\"";
        expected.push_back(answers[i * i % 4]);
    }
    const std::string line = "{\"custom_id\": \"many\", \"method\": \"POST\", \"url\": \"/v1/completions\", \"body\": {\"prompt\": [" +
                             prompts + "], " + body + "}}\n";
    Results r = fresh(completion("before", "A cat", body) + line + completion("after", "A cat", body), {"-np", "2"});
    EXPECT_EQ(r.size(), 3u);
    for (size_t i = 0; i < expected.size(); i++) EXPECT_EQ(answer_of(r["many"], i), expected[i]) << i;
    EXPECT_EQ(answer_of(r["after"]), answers[2]);
}

TEST_F(Batch, ALineOfWhichOnePromptIsTooLongFailsAloneAndAsAWhole)
{
    std::string words;
    for (int i = 0; i < 300; i++) words += " word";
    const std::string line =
        "{\"custom_id\": \"bad\", \"method\": \"POST\", \"url\": \"/v1/completions\", \"body\": {\"prompt\": [\"A\", \"B\", \"" + words +
        "\"], \"max_tokens\": 50}}\n";
    Results r = fresh(line + completion("good", "A cat", "\"temperature\": 0"));
    EXPECT_EQ(error_of(r["bad"]), "context_length_exceeded") << r["bad"];
    EXPECT_EQ(answer_of(r["good"]), alone("A cat", 16, {"--temp", "0"}));
}

TEST_F(Batch, BadLinesBecomeErrorLinesAndTheOthersAreAnswered)
{
    const std::string good = "\"temperature\": 0, \"max_tokens\": 5", request = "\"method\": \"POST\", \"url\": \"/v1/completions\"";
    std::vector<std::string> bad = {
        "garbage",
        "[]",
        "{}",
        "{\"custom_id\": \"x1\"}",
        "{\"custom_id\": \"x2\", \"method\": \"GET\", \"url\": \"/v1/completions\", \"body\": {\"prompt\": \"A\"}}",
        "{\"custom_id\": \"x3\", \"method\": \"POST\", \"url\": \"/v1/embeddings\", \"body\": {\"input\": \"A\"}}",
        "{\"custom_id\": \"x4\", " + request + "}",
        "{\"custom_id\": \"x5\", " + request + ", \"body\": {}}",
        "{\"custom_id\": \"x6\", " + request + ", \"body\": {\"prompt\": 5}}",
        "{\"custom_id\": \"x7\", " + request + ", \"body\": {\"prompt\": \"A\", \"temperature\": \"hot\"}}",
        "{\"custom_id\": \"x8\", " + request + ", \"body\": {\"prompt\": \"A\", \"n\": 100000}}",
        "{\"custom_id\": \"x9\", " + request + ", \"body\": {\"prompt\": [5000000]}}",
        "{\"custom_id\": \"x10\", " + request + ", \"body\": {\"prompt\": \"A\"}",
        std::string("{\"custom_id\": \"x\0 11\"", 20),
        "\xff\xfe\x00",
        "{\"custom_id\": \"x12\", " + request + ", \"body\": {\"prompt\": \"\xc3\x28\"}}",
        "{\"custom_id\": \"x13\", \"method\": \"POST\", \"url\": \"/v1/chat/completions\", \"body\": {\"messages\": [{\"role\": \"user\", "
        "\"content\": \"Hi\"}]}}",
        std::string(17 << 20, 'x'),
        "{\"custom_id\": \"" + std::string(17 << 20, 'y') + "\"}"};
    std::string requests;
    for (size_t i = 0; i < bad.size(); i++) requests += bad[i] + "\r\n\n" + completion("good" + std::to_string(i), "A cat", good);
    Results r = fresh(requests);
    EXPECT_EQ(r.size(), 2 * bad.size());
    const std::string answer = alone("A cat", 5, {"--temp", "0"});
    size_t n_failed = 0, n_long = 0;
    for (const auto &[id, result] : r) {
        if (id.rfind("good", 0) == 0) {
            EXPECT_EQ(answer_of(result), answer);
        } else {
            EXPECT_NE(error_of(result), "") << result;
            n_failed++;
            n_long += error_of(result) == "line_too_long";
        }
    }
    EXPECT_EQ(n_failed, bad.size());
    EXPECT_EQ(n_long, 2u);
    cli::Result again = run({"batch", "-i", in, "-o", out, "-c", "256"});
    EXPECT_EQ(again.status, 0) << "lines that failed are done";
    EXPECT_TRUE(contains(again.err, "38 done before")) << again.err;
}

TEST_F(Batch, UnknownParametersAreNamedOnce)
{
    cli::write_file(in, completion("a", "A", "\"max_tokens\": 1, \"frobnicate\": 3") +
                            completion("b", "A", "\"max_tokens\": 1, \"frobnicate\": 4"));
    const cli::Result result = batch();
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(cli::count_lines(result.err), 1u) << result.err;
    EXPECT_TRUE(contains(result.err, "'frobnicate'")) << result.err;
}

TEST_F(Batch, PipesGoInAndOut)
{
    const std::string requests = cli::many_completions(20);
    const Results expected = fresh(requests);
    const cli::Result piped = run(cli::Run{{"batch", "-i", "-", "-o", "-", "-q", "-t", "1", "-np", "4", "-c", "256"}, requests, {}});
    EXPECT_EQ(piped.status, 0) << piped.err;
    EXPECT_EQ(results_of(piped.out), expected);
    const cli::Result json =
        run(cli::Run{{"batch", "-i", "-", "-o", "-", "-q", "--json", "-t", "1", "-np", "4", "-c", "256"}, requests, {}});
    EXPECT_EQ(results_of(json.out), expected);
    EXPECT_EQ(cli::integer_of(json_object_get(cli::parse_json(json.err).get(), "lines"), "answered"), 20) << json.err;
}

TEST_F(Batch, AnswersALineOfAPipeBeforeTheNextOneComes)
{
    int requests[2], results[2];
    ASSERT_EQ(pipe2(requests, O_CLOEXEC), 0);
    ASSERT_EQ(pipe2(results, O_CLOEXEC), 0);
    cli::Started program({{"batch", "-i", "-", "-o", "-", "-q", "-t", "1", "-np", "2", "-c", "256"}, "", {}}, requests[0], results[1]);
    close(requests[0]);
    close(results[1]);
    FILE *answers = fdopen(results[0], "r");
    char *line = nullptr;
    size_t capacity = 0;
    for (int i = 0; i < 3; i++) {
        const std::string request = completion("r" + std::to_string(i), "A cat", "\"temperature\": 0, \"max_tokens\": 3");
        ASSERT_EQ(write(requests[1], request.data(), 10), 10);
        ASSERT_EQ(write(requests[1], request.data() + 10, request.size() - 10), static_cast<ssize_t>(request.size() - 10));
        ASSERT_GT(getline(&line, &capacity, answers), 0);
        EXPECT_TRUE(contains(line, "\"r" + std::to_string(i) + "\"")) << line;
    }
    close(requests[1]);
    EXPECT_EQ(getline(&line, &capacity, answers), -1);
    EXPECT_EQ(program.wait(), 0);
    free(line);
    fclose(answers);
}

TEST_F(Batch, GoesOnBehindWhatAnyCutOfItsResultsLeaves)
{
    const std::string requests = cli::many_completions(24, 8) + "bad\n" + completion("last", "A", "\"max_tokens\": 1");
    const Results expected = fresh(requests);
    ASSERT_EQ(expected.size(), 26u);
    const std::string whole = cli::read_file(out);
    std::mt19937 random(5);
    for (int i = 0; i < 8; i++) {
        cli::write_file(out, whole.substr(0, i == 0 ? whole.size() - 1 : random() % whole.size()));
        const cli::Result result = batch({"-np", std::to_string(1 + i)});
        ASSERT_EQ(result.status, 0) << result.err;
        EXPECT_EQ(results(), expected);
    }
}

TEST_F(Batch, LinesThatAreTakenOutOfTheResultsAreComputedAgain)
{
    const Results expected = fresh(cli::many_completions(12, 8));
    std::istringstream lines(cli::read_file(out));
    std::string kept;
    size_t n = 0;
    for (std::string line; std::getline(lines, line); n++) {
        if (n % 3 != 1) kept += line + "\n";
    }
    cli::write_file(out, kept);
    const cli::Result result = run({"batch", "-i", in, "-o", out, "-t", "1", "-np", "4", "-c", "256"});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(contains(result.err, "going on  8 lines done before")) << result.err;
    EXPECT_TRUE(contains(result.err, "lines 4 answered, 0 failed, 8 done before")) << result.err;
    EXPECT_EQ(results(), expected);
    EXPECT_EQ(cli::read_file(out).compare(0, kept.size(), kept), 0) << "what was there stays";
    const std::string complete = cli::read_file(out);
    const cli::Result again = batch({"--json"});
    EXPECT_EQ(again.status, 0) << again.err;
    EXPECT_EQ(cli::integer_of(json_object_get(cli::parse_json(again.out).get(), "lines"), "done_before"), 12);
    EXPECT_EQ(cli::read_file(out), complete) << "nothing was left to do";
}

TEST_F(Batch, GoesOnFromAPipeToo)
{
    const std::string requests = cli::many_completions(12, 8);
    const Results expected = fresh(requests);
    const std::string whole = cli::read_file(out), part = whole.substr(0, whole.size() / 2);
    const std::vector<std::string> flags = {"batch", "-i", "-", "-o", out, "-q", "-t", "1", "-np", "4", "-c", "256"};
    cli::write_file(out, part);
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    ASSERT_EQ(write(ends[1], requests.data(), requests.size()), static_cast<ssize_t>(requests.size()));
    close(ends[1]);
    EXPECT_EQ(cli::Started({flags, "", {}}, ends[0]).wait(), 0);
    close(ends[0]);
    EXPECT_EQ(results(), expected);
    // Another first line: noticed before anything is written.
    const std::string kept = cli::read_file(out), changed = completion("r0", "Other", "") + requests.substr(requests.find('\n') + 1);
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    ASSERT_EQ(write(ends[1], changed.data(), changed.size()), static_cast<ssize_t>(changed.size()));
    close(ends[1]);
    EXPECT_EQ(cli::Started({flags, "", {}}, ends[0]).wait(), 1);
    close(ends[0]);
    EXPECT_EQ(cli::read_file(out), kept);
}

TEST_F(Batch, AnotherInputOrOtherSettingsAreRefusedBeforeAnyWork)
{
    const std::string requests = cli::many_completions(6, 4);
    fresh(requests);
    const std::string whole = cli::read_file(out);
    const auto refused = [&](const std::vector<std::string> &more, const std::string &part) {
        expect_error(batch(more), 1, part);
        EXPECT_EQ(cli::read_file(out), whole);
    };
    std::string changed = requests;
    changed[changed.find("r3")] = 'q';
    cli::write_file(in, changed);
    refused({}, "line 4 of " + in + " is not the one that " + out + " answers");
    cli::write_file(in, requests.substr(requests.find('\n') + 1));
    refused({}, "line 1 of ");
    cli::write_file(in, "");
    refused({}, "line 1 of ");
    cli::write_file(in, requests);
    for (const std::vector<std::string> &flags : std::vector<std::vector<std::string>>{
             {"--temp", "0.5"}, {"-n", "3"}, {"-s", "9"}, {"--stop", "x"}, {"-c", "255"}, {"--ignore-eos"}})
        refused(flags, "other settings");
    for (const std::vector<std::string> &flags :
         std::vector<std::vector<std::string>>{{"-np", "2"}, {"-t", "1"}, {"-ub", "32"}, {"--no-prefix-reuse"}, {"--kv-memory", "2M"}}) {
        EXPECT_EQ(batch(flags).status, 0) << flags[0] << " changes no answer";
        EXPECT_EQ(cli::read_file(out), whole);
    }
    cli::write_file(in, requests + completion("new", "A", "\"max_tokens\": 1"));
    EXPECT_EQ(batch().status, 0) << "lines may be added";
    EXPECT_EQ(results().size(), 7u);
    cli::write_file(in, changed);
    EXPECT_EQ(batch({"--overwrite"}).status, 0);
    EXPECT_EQ(results().count("q3"), 1u);
    EXPECT_EQ(results().size(), 6u);
}

TEST_F(Batch, WrongFilesAndFlagsAreRefused)
{
    cli::write_file(in, completion("a", "A", "\"max_tokens\": 1"));
    expect_error(run({"batch"}), 2, "-i FILE");
    expect_error(run({"batch", "-i", in}), 2, "-o FILE");
    expect_error(run({"batch", "-i", folder / "none", "-o", out}), 1, "cannot read");
    expect_error(run({"batch", "-i", "/", "-o", out}), 1, "it is a folder");
    expect_error(run({"batch", "-i", in, "-o", folder / "no/such"}), 1, "cannot write");
    expect_error(run({"batch", "-i", in, "-o", "/"}), 1, "cannot write");
    expect_error(run({"batch", "-i", in, "-o", in}), 1, "results cannot go into the file of the requests");
    expect_error(run({"batch", "-i", in, "-o", in, "--overwrite"}), 1, "the requests");
    expect_error(run({"batch", "-i", in, "-o", out, "-m", folder / "none.gguf"}), 1, "none.gguf");
    expect_error(batch({"--kv-memory", "lots"}), 2, "--kv-memory: 'lots' is not a size");
    expect_error(batch({"-np", "0"}), 2, "out of range");
    expect_error(batch({"-c", "100000"}), 1, "more than the model's context");
    expect_error(batch({"-s", "-1"}), 2, "a seed that stays");
    expect_error(batch({"-b", "5"}), 2, "-ub");
    expect_error(batch({"-f", "x"}), 2, "-i FILE");
    EXPECT_FALSE(cli::exists(out)) << "a file of results was left behind";
    const std::string model = folder / "model.gguf";
    cli::write_file(model, cli::read_file(cli::default_model()));
    expect_error(run({"batch", "-m", model, "-i", in, "-o", model, "--overwrite"}), 1, "the file of the model");
    EXPECT_EQ(cli::read_file(model), cli::read_file(cli::default_model()));
    cli::write_file(out, "a novel\n");
    expect_error(batch(), 1, "line 1 of " + out + " is no result");
    EXPECT_EQ(cli::read_file(out), "a novel\n");
    if (geteuid() != 0) {
        chmod(out.c_str(), 0444);
        expect_error(batch({"--overwrite"}), 1, "cannot write");
    }
}

TEST_F(Batch, AnEmptyInputIsDoneAtOnce)
{
    EXPECT_EQ(fresh("").size(), 0u);
    EXPECT_EQ(fresh("\n\r\n \n").size(), 0u);
    EXPECT_TRUE(cli::exists(out));
}

TEST_F(Batch, ASecondProcessOnTheSameResultsIsRefused)
{
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    cli::Started first({{"batch", "-i", "-", "-o", out, "-q", "-t", "1", "-np", "2", "-c", "256"}, "", {}}, ends[0]);
    close(ends[0]);
    const std::string request = completion("a", "A", "\"max_tokens\": 1");
    ASSERT_EQ(write(ends[1], request.data(), request.size()), static_cast<ssize_t>(request.size()));
    for (int i = 0; i < 600 && cli::read_file(out).empty(); i++) usleep(50000);
    cli::write_file(in, request);
    expect_error(batch(), 1, "another process writes to");
    expect_error(batch({"--overwrite"}), 1, "another process writes to");
    close(ends[1]);
    EXPECT_EQ(first.wait(), 0);
    EXPECT_EQ(results().size(), 1u);
}

TEST_F(Batch, AfterASignalTheSameCommandGoesOn)
{
    const std::string requests = cli::many_completions(60, 60);
    const Results expected = fresh(requests);
    for (int number : {SIGINT, SIGTERM}) {
        unlink(out.c_str());
        const int err = open((folder / "err").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        cli::Started program({arguments(), "", {}}, -1, -1, err);
        close(err);
        for (int i = 0; i < 600 && cli::read_file(out).size() < 2000; i++) usleep(5000);
        program.kill(number);
        EXPECT_EQ(program.wait(), 130);
        EXPECT_TRUE(
            contains(cli::read_file(folder / "err"), "interrupted: the results in " + out + " are whole, and the same command goes on"));
        const size_t n = results().size();
        EXPECT_GT(n, 0u);
        EXPECT_LT(n, expected.size());
        EXPECT_EQ(batch().status, 0);
        EXPECT_EQ(results(), expected);
    }
}

TEST_F(Batch, AFullDiskLeavesWholeLinesAndTheSameCommandGoesOn)
{
    const Results expected = fresh(cli::many_completions(20, 8));
    const std::string whole = cli::read_file(out);
    for (size_t limit : {size_t{0}, size_t{100}, whole.size() / 3, whole.size() - 10}) {
        unlink(out.c_str());
        const cli::Result full = run(cli::Run{arguments(), "", {}, "", limit});
        EXPECT_EQ(full.status, 1);
        if (limit > 1000) { // which holds for standard error too
            EXPECT_TRUE(contains(full.err, "ulimit -f")) << full.err;
            EXPECT_TRUE(contains(full.err, "the same command goes on")) << full.err;
        }
        EXPECT_LT(results().size(), expected.size());
        EXPECT_LE(cli::read_file(out).size(), limit);
        EXPECT_EQ(batch().status, 0);
        EXPECT_EQ(results(), expected);
    }
    const cli::Result device = run({"batch", "-i", in, "-o", "/dev/full", "-q", "-t", "1", "-np", "4", "-c", "256"});
    EXPECT_EQ(device.status, 1);
    EXPECT_TRUE(contains(device.err, "no space is left on its disk")) << device.err;
    const cli::Result standard =
        run(cli::Run{{"batch", "-i", in, "-o", "-", "-q", "-t", "1", "-np", "4", "-c", "256"}, "", {}, "/dev/full"});
    EXPECT_EQ(standard.status, 1);
    EXPECT_TRUE(contains(standard.err, "cannot write standard output: no space")) << standard.err;
}

struct Mounted {
    std::string path;
    ~Mounted() { umount(path.c_str()); }
};

TEST_F(Batch, ADiskThatIsReallyFull)
{
    const std::string disk = folder / "disk";
    ASSERT_EQ(mkdir(disk.c_str(), 0700), 0);
    if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=8k") != 0) GTEST_SKIP() << "no disk can be mounted here: " << std::strerror(errno);
    const Mounted mounted = {disk};
    const Results expected = fresh(cli::many_completions(40, 8));
    ASSERT_GT(cli::read_file(out).size(), 10000u);
    out = disk + "/out.jsonl";
    const cli::Result full = batch();
    EXPECT_EQ(full.status, 1);
    EXPECT_TRUE(contains(full.err, "no space is left on its disk")) << full.err;
    const size_t n = results().size();
    EXPECT_GT(n, 0u);
    EXPECT_EQ(batch().status, 1) << "still full";
    EXPECT_EQ(results().size(), n);
    EXPECT_EQ(mount("tmpfs", disk.c_str(), "tmpfs", MS_REMOUNT, "size=1m"), 0);
    EXPECT_EQ(batch().status, 0);
    EXPECT_EQ(results(), expected);
}

TEST_F(Batch, AReaderThatHasGoneIsAFailedWrite)
{
    cli::write_file(in, cli::many_completions(4, 3));
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    const int err = open((folder / "err").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cli::Started program({{"batch", "-i", in, "-o", "-", "-q", "-t", "1", "-np", "2", "-c", "256"}, "", {}}, -1, ends[1], err);
    EXPECT_EQ(program.wait(), 1);
    EXPECT_TRUE(contains(cli::read_file(folder / "err"), "whoever read it has gone")) << cli::read_file(folder / "err");
    close(ends[1]);
    close(err);
}

TEST_F(Batch, ASmallKvCacheChangesNoAnswer)
{
    std::string requests;
    for (int i = 0; i < 8; i++)
        requests +=
            completion("r" + std::to_string(i), "A cat", "\"ignore_eos\": true, \"max_tokens\": 140, \"seed\": " + std::to_string(i));
    const Results expected = fresh(requests);
    unlink(out.c_str());
    const cli::Result result = batch({"-np", "8", "--kv-memory", "1600K", "--json"}); // four pages of 128 positions, of 396 KiB each
    ASSERT_EQ(result.status, 0) << result.err;
    const cli::Json json = cli::parse_json(result.out);
    EXPECT_GT(cli::integer_of(json.get(), "interruptions"), 0) << "the cache was large enough";
    EXPECT_LE(cli::integer_of(json_object_get(json.get(), "memory"), "kv_bytes"), 1600 << 10);
    EXPECT_EQ(results(), expected);
}

TEST_F(Batch, AsManyRunAtATimeAsWereAskedFor)
{
    std::string requests;
    for (int i = 0; i < 16; i++)
        requests += completion("r" + std::to_string(i), "A", "\"ignore_eos\": true, \"temperature\": 0, \"max_tokens\": 20");
    cli::write_file(in, requests);
    const cli::Result result = batch({"-np", "16", "-c", "128", "--json"}); // a page each: the fewest that there can be
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_LE(cli::integer_of(cli::parse_json(result.out).get(), "steps"), 22) << "some had to wait";
}

TEST_F(Batch, TheSummarySaysWhatWasDone)
{
    cli::write_file(in, cli::many_completions(9, 5) + "bad\n");
    const cli::Result result = run({"batch", "-i", in, "-o", out, "-np", "3", "-c", "256", "--json"});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(contains(result.err, "batch  3 at a time")) << result.err;
    EXPECT_TRUE(contains(result.err, "lines 9 answered, 1 failed | prompts ")) << result.err;
    const cli::Json json = cli::parse_json(result.out);
    const json_t *lines = json_object_get(json.get(), "lines"), *tokens = json_object_get(json.get(), "tokens");
    EXPECT_TRUE(json_is_true(json_object_get(json.get(), "complete")));
    EXPECT_EQ(cli::integer_of(lines, "answered"), 9);
    EXPECT_EQ(cli::integer_of(lines, "failed"), 1);
    EXPECT_EQ(cli::integer_of(json.get(), "concurrency"), 3);
    long long n_prompt = 0, n_generated = 0;
    std::istringstream all(cli::read_file(out));
    for (std::string line; std::getline(all, line);) {
        const cli::Json one = cli::parse_json(line);
        const json_t *usage = json_object_get(cli::body_of(one.get()), "usage");
        if (!usage) continue;
        n_prompt += cli::integer_of(usage, "prompt_tokens");
        n_generated += cli::integer_of(usage, "completion_tokens");
    }
    EXPECT_EQ(cli::integer_of(tokens, "prompt_computed") + cli::integer_of(tokens, "prompt_reused"), n_prompt);
    EXPECT_EQ(cli::integer_of(tokens, "generated"), n_generated);
}

} // namespace
