// ternion eval: perplexities and scores of tasks are those that NumPy computes (tests/data/eval/oracle.txt, made by make_eval_oracle.py),
// and do not depend on how they are computed.
#include "program.hpp"

#include <cmath>
#include <map>

namespace
{

using cli::contains;
using cli::expect_error;
using cli::run;

const std::string data = TN_SOURCE_DIR "/tests/data/eval/";
const std::string story = data + "story.txt";

// The words of the oracle's lines that begin with `kind`.
std::vector<std::vector<std::string>> oracle(const std::string &kind)
{
    std::ifstream file(data + "oracle.txt");
    std::vector<std::vector<std::string>> lines;
    for (std::string line; std::getline(file, line);) {
        std::istringstream in(line);
        std::vector<std::string> words;
        for (std::string word; in >> word;) words.push_back(word);
        if (words.at(0) == kind) lines.push_back(words);
    }
    return lines;
}

void expect_close(double got, const std::string &wanted)
{
    // Printed with 12 digits.
    EXPECT_NEAR(got, std::stod(wanted), 1e-11 * std::abs(std::stod(wanted))) << wanted;
}

cli::Result run_with(std::vector<std::string> arguments, const std::string &input)
{
    arguments.insert(arguments.begin(), {"eval", "-q"});
    return cli::run(cli::Run{std::move(arguments), input, {}});
}

double at(const json_t *array, size_t index) { return json_number_value(json_array_get(array, index)); }

cli::Json eval_json(std::vector<std::string> arguments)
{
    arguments.insert(arguments.begin(), {"eval", "-q", "--json"});
    const cli::Result result = run(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return cli::parse_json(result.out);
}

std::string eval_text(std::vector<std::string> arguments)
{
    arguments.insert(arguments.begin(), {"eval", "-q"});
    const cli::Result result = run(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return result.out;
}

TEST(Eval, PerplexitiesAreThoseOfTheOracle)
{
    const auto lines = oracle("ppl");
    ASSERT_EQ(lines.size(), 4u);
    for (const auto &line : lines) {
        SCOPED_TRACE("-c " + line[1] + " --stride " + line[2]);
        const cli::Json json = eval_json({"-f", story, "-c", line[1], "--stride", line[2]});
        const json_t *statistics = json_object_get(json.get(), "statistics"), *running = json_object_get(json.get(), "chunk_ppl");
        expect_close(cli::number_of(statistics, "ppl"), line[3]);
        expect_close(cli::number_of(statistics, "ppl_error"), line[4]);
        ASSERT_EQ(json_array_size(running), line.size() - 5);
        for (size_t i = 5; i < line.size(); i++) expect_close(at(running, i - 5), line[i]);
        EXPECT_EQ(cli::integer_of(json.get(), "n_chunks"), static_cast<long long>(line.size() - 5));
        EXPECT_EQ(cli::integer_of(json.get(), "context"), std::stoll(line[1]));
        EXPECT_EQ(cli::integer_of(json.get(), "stride"), std::stoll(line[2]));
        EXPECT_TRUE(json_is_null(json_object_get(json.get(), "baseline")));
        EXPECT_EQ(json_object_get(statistics, "mean_kld"), nullptr);
    }
}

TEST(Eval, TheLineIsLlamaPerplexitys)
{
    const auto line = oracle("ppl").at(0);
    std::string wanted;
    char text[100];
    for (size_t i = 5; i < line.size(); i++) {
        std::snprintf(text, sizeof text, "[%zu]%.4f,", i - 4, std::stod(line[i]));
        wanted += text;
    }
    std::snprintf(text, sizeof text, "\nFinal estimate: PPL = %.4f +/- %.5f\n", std::stod(line[3]), std::stod(line[4]));
    EXPECT_EQ(eval_text({"-f", story, "-c", "64"}), wanted + text);
}

// All digits of the running perplexities: rows reach the statistics in one order.
TEST(Eval, FiguresDoNotDependOnBatchesAndThreads)
{
    const auto figures = [](std::vector<std::string> more) {
        more.insert(more.begin(), {"-f", story, "-c", "40", "--stride", "7", "--chunks", "12"});
        const cli::Json json = eval_json(more);
        std::vector<double> all{cli::number_of(json_object_get(json.get(), "statistics"), "nll_error")};
        for (size_t i = 0; i < json_array_size(json_object_get(json.get(), "chunk_ppl")); i++)
            all.push_back(at(json_object_get(json.get(), "chunk_ppl"), i));
        return all;
    };
    const std::vector<double> wanted = figures({});
    EXPECT_EQ(figures({"-np", "1"}), wanted);
    EXPECT_EQ(figures({"-np", "3", "-b", "50", "-ub", "11"}), wanted);
    EXPECT_EQ(figures({"-np", "4", "-b", "1"}), wanted);
    EXPECT_EQ(figures({"-np", "100", "-b", "1000", "-t", "1", "--cpu-isa", "scalar"}), wanted);
}

TEST(Eval, ScoresTheFirstWindowsAlone)
{
    const std::string all = eval_text({"-f", story, "-c", "64"}), two = eval_text({"-f", story, "-c", "64", "--chunks", "2"});
    const std::string first = two.substr(0, two.find('\n'));
    EXPECT_EQ(all.rfind(first, 0), 0u) << first;
    EXPECT_EQ(std::count(first.begin(), first.end(), '['), 2);
    EXPECT_EQ(eval_text({"-f", story, "-c", "64", "--chunks", "-1"}), all) << "as llama-perplexity says all";
    EXPECT_EQ(eval_text({"-f", story, "-c", "64", "--chunks", "1000"}), all);
}

TEST(Eval, ReadsStandardInputWithoutItsLastNewline)
{
    const std::string text = cli::read_file(story), wanted = eval_text({"-f", story, "-c", "48", "--stride", "1", "--chunks", "30"});
    const auto read = [](const std::string &input) { return run_with({"-c", "48", "--stride", "1", "--chunks", "30"}, input).out; };
    EXPECT_EQ(read(text), wanted);
    EXPECT_EQ(read(text.substr(0, text.size() - 1)), wanted);
}

TEST(Eval, ASummaryIsOnStandardError)
{
    const cli::Result result = run({"eval", "-f", story, "-c", "64"});
    EXPECT_EQ(result.status, 0);
    EXPECT_TRUE(contains(result.err, "6 windows of 64, 31 tokens scored of each")) << result.err;
    EXPECT_TRUE(contains(result.err, "scored 186 tokens in ")) << result.err;
}

TEST(Eval, WrongUseIsSaid)
{
    expect_error(run({"eval", "-q", "-p", "a short text"}), 1,
                 "tokens, but a window has 512: give a longer text, or a shorter context (-c)");
    expect_error(run({"eval", "-f", story, "-c", "513"}), 1, "windows of 513 tokens (-c) are longer than the model's context of 512");
    expect_error(run({"eval", "-f", story, "-c", "500", "--stride", "26"}), 1, "windows of 513 tokens (-c and half of --stride)");
    expect_error(run({"eval", "-f", story, "-c", "3"}), 2, "-c: 3 is out of range");
    expect_error(run({"eval", "-f", story, "-c", "64", "--stride", "65"}), 2, "--stride 65 is longer than the context of 64");
    expect_error(run({"eval", "-f", story, "--tasks", "3"}), 2, "--tasks needs --hellaswag");
    expect_error(run({"eval", "-f", story, "--kl-divergence"}), 2, "--kl-divergence needs a baseline");
    expect_error(run({"eval", "--hellaswag", "a", "--winogrande", "b"}), 2, "two kinds of tasks");
    expect_error(run({"eval", "--hellaswag", data + "hellaswag.txt", "-f", story}), 2, "-f is for texts");
    expect_error(run({"eval", "--hellaswag", data + "hellaswag.txt", "--stride", "4"}), 2, "--stride is for texts");
    expect_error(run({"eval", "--hellaswag", "/no/file"}), 1, "cannot read /no/file");
    expect_error(run({"eval", "-f", "/no/file"}), 1, "cannot read /no/file");
}

const std::map<std::string, std::string> task_files = {
    {"hellaswag", "hellaswag.txt"}, {"winogrande", "winogrande.csv"}, {"multiple-choice", "multiple_choice.jsonl"}};

TEST(EvalTasks, ScoresAreThoseOfTheOracle)
{
    for (const auto &[kind, file] : task_files) {
        for (const std::vector<std::string> &more :
             std::vector<std::vector<std::string>>{{}, {"-np", "1"}, {"-np", "7", "-b", "5"}, {"-ub", "3"}}) {
            SCOPED_TRACE(kind + (more.empty() ? "" : " " + more[0]));
            std::vector<std::string> arguments = {"--" + kind, data + file};
            arguments.insert(arguments.end(), more.begin(), more.end());
            const cli::Json json = eval_json(arguments);
            const json_t *tasks = json_object_get(json.get(), "tasks");
            const auto lines = oracle(kind);
            ASSERT_EQ(json_array_size(tasks), lines.size());
            long long n_right = 0;
            for (size_t i = 0; i < lines.size(); i++) {
                const json_t *task = json_array_get(tasks, i), *scores = json_object_get(task, "scores");
                EXPECT_EQ(cli::integer_of(task, "chosen"), std::stoll(lines[i][2])) << i;
                ASSERT_EQ(json_array_size(scores), lines[i].size() - 3);
                for (size_t c = 3; c < lines[i].size(); c++) expect_close(at(scores, c - 3), lines[i][c]);
                n_right += cli::integer_of(task, "chosen") == cli::integer_of(task, "answer");
            }
            EXPECT_EQ(cli::integer_of(json.get(), "n_right"), n_right);
        }
    }
}

TEST(EvalTasks, TheRightAnswersAreThoseOfTheFiles)
{
    const std::map<std::string, std::vector<std::pair<long long, long long>>> wanted = {
        {"hellaswag", {{1, 2}, {7, 0}, {13, 1}}},
        {"winogrande", {{1, 0}, {2, 1}, {3, 1}, {4, 0}, {5, 0}}},
        {"multiple-choice", {{1, 0}, {2, 1}, {4, 3}}}};
    for (const auto &[kind, file] : task_files) {
        const cli::Json json = eval_json({"--" + kind, data + file});
        const json_t *tasks = json_object_get(json.get(), "tasks");
        std::vector<std::pair<long long, long long>> got;
        for (size_t i = 0; i < json_array_size(tasks); i++) {
            const json_t *task = json_array_get(tasks, i);
            got.emplace_back(cli::integer_of(task, "line"), cli::integer_of(task, "answer"));
        }
        EXPECT_EQ(got, wanted.at(kind)) << kind;
    }
}

// Wilson's interval is where the share is 1.96 standard errors of the interval's end away.
TEST(EvalTasks, AccuracyHasItsErrors)
{
    const cli::Json json = eval_json({"--winogrande", data + "winogrande.csv"});
    const double p = cli::number_of(json.get(), "accuracy");
    EXPECT_EQ(p, 0.6);
    EXPECT_NEAR(cli::number_of(json.get(), "accuracy_error"), std::sqrt(0.24 / 4), 1e-11);
    EXPECT_EQ(cli::number_of(json.get(), "chance"), 0.5);
    const json_t *interval = json_object_get(json.get(), "interval_95");
    for (size_t i = 0; i < 2; i++) {
        const double end = at(interval, i);
        EXPECT_NEAR(std::abs(p - end), 1.95996398454 * std::sqrt(end * (1 - end) / 5), 1e-10) << i;
        EXPECT_EQ(end > p, i == 1);
    }
    EXPECT_EQ(eval_text({"--winogrande", data + "winogrande.csv"}),
              "WinoGrande: 60.0000 % ± 24.4949 % right of 5 tasks (95 %: 23.0724 to 88.2379 %; by chance 50.0000 %)\n");
}

TEST(EvalTasks, FewerTasksComeEvenlyFromTheFile)
{
    const cli::Json json = eval_json({"--winogrande", data + "winogrande.csv", "--winogrande-tasks", "2"});
    const json_t *tasks = json_object_get(json.get(), "tasks");
    ASSERT_EQ(json_array_size(tasks), 2u);
    EXPECT_EQ(cli::integer_of(json_array_get(tasks, 0), "line"), 1);
    EXPECT_EQ(cli::integer_of(json_array_get(tasks, 1), "line"), 3);
    EXPECT_EQ(cli::integer_of(json.get(), "n_tasks_in_file"), 5);
    EXPECT_EQ(json_array_size(json_object_get(eval_json({"--winogrande", data + "winogrande.csv", "--tasks", "9"}).get(), "tasks")), 5u);
}

TEST(EvalTasks, EachIsShownWhereMoreIsAsked)
{
    const cli::Result result = run({"eval", "-v", "--hellaswag", data + "hellaswag.txt"});
    EXPECT_EQ(cli::count_lines(result.out), 4u) << result.out;
    EXPECT_EQ(result.out.rfind("1\t100.00000000%\t[20.6549%, 100.0000%]\tline 1: 2, right is 2\n", 0), 0u) << result.out;
}

TEST(EvalTasks, OneTaskHasNoError)
{
    const std::string one = R"({"question": "She said", "choices": ["yes", "no"], "answer": 0})";
    const cli::Result result = run_with({"--multiple-choice", "-"}, one);
    EXPECT_FALSE(contains(result.out, "\u00b1")) << result.out;
    EXPECT_TRUE(contains(result.out, " % right of 1 task (95 %: ")) << result.out;
    const cli::Json json = cli::parse_json(run_with({"--json", "--multiple-choice", "-"}, one).out);
    EXPECT_TRUE(json_is_null(json_object_get(json.get(), "accuracy_error")));
}

std::vector<int32_t> tokens_of(const std::string &text)
{
    std::istringstream ids(cli::run(cli::Run{{"tokenize", "--ids"}, text, {}}).out);
    std::vector<int32_t> tokens;
    for (int32_t id; ids >> id;) tokens.push_back(id);
    return tokens;
}

// The mean of ln(probability) of the tokens from `first` on, by rows of ternion logits.
double score_of(const std::vector<int32_t> &tokens, size_t first)
{
    cli::Folder folder;
    std::string ids;
    for (const int32_t token : tokens) ids += std::to_string(token) + " ";
    cli::write_file(folder / "ids", ids);
    EXPECT_EQ(run({"logits", "-q", "--tokens", folder / "ids", "-o", folder / "rows"}).status, 0);
    const std::string bytes = cli::read_file(folder / "rows");
    std::vector<float> rows(bytes.size() / sizeof(float));
    std::memcpy(rows.data(), bytes.data(), bytes.size());
    const size_t n_vocab = rows.size() / tokens.size();
    double sum = 0;
    for (size_t i = first; i < tokens.size(); i++) {
        const float *row = &rows[(i - 1) * n_vocab];
        double all = 0;
        for (size_t k = 0; k < n_vocab; k++) all += std::exp(static_cast<double>(row[k]));
        sum += static_cast<double>(row[tokens[i]]) - std::log(all);
    }
    return sum / static_cast<double>(tokens.size() - first);
}

TEST(EvalTasks, AnAnswerMayBeTheBeginningOfTheOthers)
{
    const std::string tasks = R"({"question": "She said", "choices": ["yes", "yes to the little dog"], "answer": 0})"
                              "\n"
                              R"({"question": "She said", "choices": ["no", "yes"], "answer": 0})";
    const cli::Json json = cli::parse_json(run_with({"--json", "--multiple-choice", "-"}, tasks).out);
    ASSERT_EQ(cli::integer_of(json.get(), "n_tasks"), 2);
    const json_t *scores = json_object_get(json_array_get(json_object_get(json.get(), "tasks"), 0), "scores");
    const std::vector<int32_t> small = tokens_of("She said yes"), large = tokens_of("She said yes to the little dog");
    ASSERT_TRUE(small.size() < large.size() && std::equal(small.begin(), small.end(), large.begin()));
    EXPECT_NEAR(at(scores, 0), score_of(small, small.size() - 1), 1e-6);
    EXPECT_NEAR(at(scores, 1), score_of(large, small.size() - 1), 1e-6);
    EXPECT_EQ(run_with({"--hellaswag", "-"}, "context\n1\na\na\na\na\n").status, 0) << "answers that are all the same";
}

TEST(EvalTasks, LinesMayEndAsOnOtherSystems)
{
    for (const auto &[kind, file] : task_files) {
        std::string text = cli::read_file(data + file), other;
        for (char c : text) other += c == '\n' ? "\r\n" : std::string(1, c);
        other.resize(other.size() - 2);
        const cli::Result result = run_with({"--" + kind, "-"}, other);
        EXPECT_EQ(result.out, eval_text({"--" + kind, data + file})) << kind;
    }
}

TEST(EvalTasks, WhatIsWrongIsSaidWithItsLine)
{
    struct Wrong {
        const char *kind;
        std::string text, why;
    };
    const std::string ending = "a\nb\nc\nd\n";
    const std::vector<Wrong> all = {
        {"hellaswag", "context\n1\n" + ending + "context\n", "line 7: a task has 6 lines"},
        {"hellaswag", "context\n4\n" + ending, "line 2: the right ending is a number from 0 to 3"},
        {"hellaswag", "context\nx\n" + ending, "line 2: the right ending"},
        {"hellaswag", "context\n1\na\n\nc\nd\n", "line 4: the ending is empty"},
        {"hellaswag", "", "holds no tasks"},
        {"winogrande", "0,a _ b,x,y,1\n0,a b,x,y,1\n", "line 2: the sentence has no _"},
        {"winogrande", "0,a _ b,x,y,3\n", "line 1: the answer is 1 or 2"},
        {"winogrande", "0,a _ b,x,y,0\n", "line 1: the answer is 1 or 2"},
        {"winogrande", "0,a _ b,x,y\n", "line 1: 5 fields are wanted"},
        {"winogrande", "0,a _ b,x,y,1,2\n", "line 1: 5 fields are wanted"},
        {"winogrande", "\n0,\"a _ b,x,y,1\n", "line 2: field 2 is quoted and its quote does not end"},
        {"winogrande", "0,\"a _\" b,x,y,1\n", "line 1: field 2 is quoted"},
        {"winogrande", "0,a _ b,,y,1\n", "line 1: choice 1 is empty"},
        {"multiple-choice", "{\"question\": \"a\", \"choices\": [\"b\", \"c\"], \"answer\": 2}",
         "line 1: \"answer\" is the number of a choice"},
        {"multiple-choice", "{\"question\": \"a\", \"choices\": [\"b\", \"c\"], \"answer\": \"C\"}", "line 1: \"answer\" is the number"},
        {"multiple-choice", "{\"question\": \"a\", \"choices\": [\"b\", \"c\"]}", "line 1: \"answer\" is the number"},
        {"multiple-choice", "{\"question\": \"a\", \"choices\": [\"b\"], \"answer\": 0}",
         "line 1: \"choices\" is an array of 2 to 26 texts"},
        {"multiple-choice", "{\"question\": \"a\", \"choices\": [\"b\", \"\"], \"answer\": 0}",
         "line 1: choice 1 is not a text, or an empty one"},
        {"multiple-choice", "{\"question\": \"\", \"choices\": [\"b\", \"c\"], \"answer\": 0}", "line 1: \"question\" is a text"},
        {"multiple-choice", "\n \n[1]\n", "line 3: is not a JSON object"},
        {"multiple-choice", "{\"question\"", "line 1: is not JSON"},
        {"multiple-choice", "\n\n", "holds no tasks"},
    };
    for (const Wrong &wrong : all) expect_error(run_with({std::string("--") + wrong.kind, "-"}, wrong.text), 1, wrong.why);
}

TEST(EvalTasks, ATaskMustFitIntoTheModelsContext)
{
    std::string line = "0,";
    for (int i = 0; i < 600; i++) line += "the ";
    expect_error(run_with({"--winogrande", "-"}, "0,a _ b c,x,y,1\n" + line + "_ b c,x,y,1\n"), 1,
                 "--winogrande -, line 2: the task has 60");
    const cli::Result result = run_with({"--winogrande", "-"}, line + "_ b c,x,y,1\n");
    EXPECT_TRUE(contains(result.err, "sed -n 1p FILE")) << result.err;
}

} // namespace
