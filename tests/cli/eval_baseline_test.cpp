// Baselines of ternion eval: they hold the rows of ternion logits, distances from them are those of formulas over these rows, and a file
// that is damaged or does not fit is refused.
#include "program.hpp"

#include <cmath>
#include <xxhash.h>

namespace
{

using cli::contains;
using cli::expect_error;
using cli::run;

constexpr size_t n_vocab = 4096, header_bytes = 512, row_bytes = n_vocab * sizeof(float) + 8;
constexpr int32_t bos = 4094;
const std::string story = TN_SOURCE_DIR "/tests/data/eval/story.txt";

template <typename T> T number_at(const std::string &bytes, size_t offset)
{
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

uint64_t hash_of(const std::string &bytes, uint64_t seed = 0) { return XXH64(bytes.data(), bytes.size(), seed); }

std::vector<int32_t> tokens_of_story()
{
    const std::string text = cli::read_file(story);
    const cli::Run tokenize = {{"tokenize", "--ids"}, text.substr(0, text.size() - 1), {}};
    std::istringstream ids(cli::run(tokenize).out);
    std::vector<int32_t> tokens;
    for (int32_t id; ids >> id;) tokens.push_back(id);
    return tokens;
}

// Rows of all positions of a window, by ternion logits.
std::vector<float> logits_of(const std::vector<int32_t> &window, const std::string &head)
{
    cli::Folder folder;
    std::string ids;
    for (int32_t token : window) ids += std::to_string(token) + " ";
    cli::write_file(folder / "ids", ids);
    EXPECT_EQ(run({"logits", "--tokens", folder / "ids", "-o", folder / "rows", "--head", head}).status, 0);
    const std::string bytes = cli::read_file(folder / "rows");
    std::vector<float> rows(bytes.size() / sizeof(float));
    std::memcpy(rows.data(), bytes.data(), bytes.size());
    return rows;
}

std::vector<int32_t> window_of(const std::vector<int32_t> &tokens, size_t number, size_t context)
{
    const auto from = tokens.begin() + static_cast<std::ptrdiff_t>(number * context);
    std::vector<int32_t> window(from, from + static_cast<std::ptrdiff_t>(context));
    window[0] = bos;
    return window;
}

class Baseline : public testing::Test
{
  protected:
    void SetUp() override { ASSERT_EQ(run({"eval", "-q", "-f", story, "-c", "64", "--save-baseline", base}).status, 0); }
    cli::Result compare(std::vector<std::string> more = {})
    {
        more.insert(more.begin(), {"eval", "-q", "-f", story, "--baseline", base});
        return run(more);
    }
    // The file with other bytes at a place of its header, and the hash that then fits.
    template <typename T> void set_header(size_t offset, T value)
    {
        std::string bytes = cli::read_file(base);
        std::memcpy(bytes.data() + offset, &value, sizeof value);
        const uint64_t hash = hash_of(bytes.substr(0, header_bytes - 8));
        std::memcpy(bytes.data() + header_bytes - 8, &hash, sizeof hash);
        cli::write_file(base, bytes);
    }
    cli::Folder folder;
    const std::string base = folder / "base";
};

TEST_F(Baseline, HoldsTheRowsOfTernionLogits)
{
    const std::string bytes = cli::read_file(base);
    const std::vector<int32_t> tokens = tokens_of_story();
    const size_t n_windows = tokens.size() / 64, n_rows = 31;
    ASSERT_EQ(bytes.size(), header_bytes + n_windows * n_rows * row_bytes);
    EXPECT_EQ(folder.count(), 1u) << "no temporary file stays";
    EXPECT_EQ(bytes.substr(0, 8), "TNLOGITS");
    const std::vector<uint32_t> sizes = {1, 512, n_vocab, 64, 0, static_cast<uint32_t>(n_windows), n_rows, 1};
    for (size_t i = 0; i < sizes.size(); i++) EXPECT_EQ(number_at<uint32_t>(bytes, 8 + 4 * i), sizes[i]) << i;
    EXPECT_EQ(number_at<uint64_t>(bytes, 40), tokens.size());
    EXPECT_EQ(number_at<uint64_t>(bytes, 48), XXH64(tokens.data(), tokens.size() * sizeof tokens[0], 0));
    const std::string model = cli::read_file(cli::default_model());
    EXPECT_EQ(number_at<uint64_t>(bytes, 56), hash_of(model));
    EXPECT_EQ(number_at<uint64_t>(bytes, 64), model.size());
    EXPECT_EQ(number_at<uint64_t>(bytes, 72), 5776640u);
    EXPECT_STREQ(bytes.c_str() + 80, "ternion-tales-6m");
    EXPECT_STREQ(bytes.c_str() + 144, "I2_S");
    EXPECT_EQ(number_at<uint64_t>(bytes, header_bytes - 8), hash_of(bytes.substr(0, header_bytes - 8)));
    for (size_t w = 0; w < n_windows; w++) {
        const std::vector<float> rows = logits_of(window_of(tokens, w, 64), "keep");
        for (size_t r = 0; r < n_rows; r++) {
            const size_t number = w * n_rows + r, offset = header_bytes + number * row_bytes;
            ASSERT_EQ(std::memcmp(bytes.data() + offset, rows.data() + (32 + r) * n_vocab, n_vocab * sizeof(float)), 0) << w << ", " << r;
            ASSERT_EQ(number_at<uint64_t>(bytes, offset + row_bytes - 8), hash_of(bytes.substr(offset, row_bytes - 8), number));
        }
    }
}

TEST_F(Baseline, ItsOwnModelIsExactlyNoDistanceAway)
{
    const cli::Json json = cli::parse_json(compare({"--json", "-np", "2", "-b", "77"}).out);
    const json_t *statistics = json_object_get(json.get(), "statistics");
    for (const char *name : {"mean_kld", "mean_kld_error", "max_kld", "min_kld", "ln_ppl_ratio", "ln_ppl_ratio_error", "ppl_diff",
                             "ppl_diff_error", "rms_dp", "max_dp", "min_dp", "same_top_error"})
        EXPECT_EQ(cli::number_of(statistics, name), 0.0) << name;
    EXPECT_EQ(cli::number_of(statistics, "same_top"), 1.0);
    EXPECT_EQ(cli::number_of(statistics, "ppl_ratio"), 1.0);
    const json_t *of = json_object_get(json.get(), "baseline");
    EXPECT_EQ(cli::text_of(of, "model"), "ternion-tales-6m");
    EXPECT_EQ(cli::text_of(of, "xxh64").size(), 16u);
}

std::vector<long double> softmax_logs(const float *row)
{
    const long double max = static_cast<long double>(*std::max_element(row, row + n_vocab));
    long double sum = 0;
    std::vector<long double> logs;
    for (size_t i = 0; i < n_vocab; i++) sum += std::exp(static_cast<long double>(row[i]) - max);
    for (size_t i = 0; i < n_vocab; i++) logs.push_back(static_cast<long double>(row[i]) - max - std::log(sum));
    return logs;
}

TEST_F(Baseline, DistancesAreThoseOfTheRows)
{
    const std::vector<int32_t> tokens = tokens_of_story();
    long double kld = 0, kld_max = 0, nll = 0, nll_base = 0, dp = 0;
    size_t n = 0, n_same = 0;
    for (size_t w = 0; w < tokens.size() / 64; w++) {
        const std::vector<float> rows = logits_of(window_of(tokens, w, 64), "q8_0"),
                                 base_rows = logits_of(window_of(tokens, w, 64), "keep");
        for (size_t r = 32; r < 63; r++, n++) {
            const auto q = softmax_logs(rows.data() + r * n_vocab), b = softmax_logs(base_rows.data() + r * n_vocab);
            const auto target = static_cast<size_t>(tokens[w * 64 + r + 1]);
            long double of_row = 0;
            for (size_t i = 0; i < n_vocab; i++) of_row += std::exp(b[i]) * (b[i] - q[i]);
            kld += of_row;
            kld_max = std::max(kld_max, of_row);
            nll -= q[target];
            nll_base -= b[target];
            dp += std::exp(q[target]) - std::exp(b[target]);
            n_same += std::max_element(q.begin(), q.end()) - q.begin() == std::max_element(b.begin(), b.end()) - b.begin();
        }
    }
    const cli::Json json = cli::parse_json(compare({"--json", "--head", "q8_0"}).out);
    const json_t *got = json_object_get(json.get(), "statistics");
    const auto count = static_cast<long double>(n);
    EXPECT_EQ(cli::integer_of(got, "n_scored"), static_cast<long long>(n));
    EXPECT_NEAR(cli::number_of(got, "mean_kld"), static_cast<double>(kld / count), 1e-13);
    EXPECT_GT(cli::number_of(got, "mean_kld"), 1e-5);
    EXPECT_NEAR(cli::number_of(got, "max_kld"), static_cast<double>(kld_max), 1e-12);
    EXPECT_NEAR(cli::number_of(got, "ppl"), static_cast<double>(std::exp(nll / count)), 1e-9);
    EXPECT_NEAR(cli::number_of(got, "ppl_base"), static_cast<double>(std::exp(nll_base / count)), 1e-9);
    EXPECT_NEAR(cli::number_of(got, "mean_dp"), static_cast<double>(dp / count), 1e-13);
    EXPECT_NEAR(cli::number_of(got, "same_top"), static_cast<double>(n_same) / static_cast<double>(n), 1e-11);
}

std::string line_of(const char *fmt, double a, double b = 0)
{
    char text[200];
    std::snprintf(text, sizeof text, fmt, a, b);
    return text;
}

// Spelling and widths are llama-perplexity's; each number is that of --json.
TEST_F(Baseline, TheBlocksAreLlamaPerplexitys)
{
    const std::string out = compare({"--head", "q8_0"}).out;
    const cli::Json json = cli::parse_json(compare({"--json", "--head", "q8_0"}).out);
    const auto n = [&](const char *name) { return cli::number_of(json_object_get(json.get(), "statistics"), name); };
    const auto percent = [&](const char *name) { return 100 * n(name); };
    std::string wanted = "\n====== Perplexity statistics ======\n";
    wanted += line_of("Mean PPL(Q)                   : %10.6f ± %10.6f\n", n("ppl"), n("ppl_error"));
    wanted += line_of("Mean PPL(base)                : %10.6f ± %10.6f\n", n("ppl_base"), n("ppl_base_error"));
    wanted += line_of("Cor(ln(PPL(Q)), ln(PPL(base))): %6.2f%%\n", percent("cor_ln_ppl"));
    wanted += line_of("Mean ln(PPL(Q)/PPL(base))     : %10.6f ± %10.6f\n", n("ln_ppl_ratio"), n("ln_ppl_ratio_error"));
    wanted += line_of("Mean PPL(Q)/PPL(base)         : %10.6f ± %10.6f\n", n("ppl_ratio"), n("ppl_ratio_error"));
    wanted += line_of("Mean PPL(Q)-PPL(base)         : %10.6f ± %10.6f\n", n("ppl_diff"), n("ppl_diff_error"));
    wanted += "\n====== KL divergence statistics ======\n";
    wanted += line_of("Mean    KLD: %10.6f ± %10.6f\n", n("mean_kld"), n("mean_kld_error"));
    const std::vector<std::pair<std::string, const char *>> klds = {
        {"Maximum", "max_kld"}, {"99.9%  ", "kld_p999"},   {"99.0%  ", "kld_p99"}, {"95.0%  ", "kld_p95"},
        {"90.0%  ", "kld_p90"}, {"Median ", "kld_median"}, {"10.0%  ", "kld_p10"}, {" 5.0%  ", "kld_p05"},
        {" 1.0%  ", "kld_p01"}, {" 0.1%  ", "kld_p001"},   {"Minimum", "min_kld"}};
    for (const auto &[label, name] : klds) wanted += label + line_of(" KLD: %10.6f\n", n(name));
    wanted += "\n====== Token probability statistics ======\n";
    wanted += line_of("Mean    Δp: %6.3f ± %5.3f %%\n", percent("mean_dp"), percent("mean_dp_error"));
    const std::vector<std::pair<std::string, const char *>> dps = {
        {"Maximum", "max_dp"}, {"99.9%  ", "dp_p999"},   {"99.0%  ", "dp_p99"}, {"95.0%  ", "dp_p95"}, {"90.0%  ", "dp_p90"},
        {"75.0%  ", "dp_p75"}, {"Median ", "dp_median"}, {"25.0%  ", "dp_p25"}, {"10.0%  ", "dp_p10"}, {" 5.0%  ", "dp_p05"},
        {" 1.0%  ", "dp_p01"}, {" 0.1%  ", "dp_p001"},   {"Minimum", "min_dp"}};
    for (const auto &[label, name] : dps) wanted += label + line_of(" Δp: %6.3f%%\n", percent(name));
    wanted += line_of("RMS Δp    : %6.3f ± %5.3f %%\n", percent("rms_dp"), percent("rms_dp_error"));
    wanted += line_of("Same top p: %6.3f ± %5.3f %%\n", percent("same_top"), percent("same_top_error"));
    const size_t blocks = out.find("\n====== Perplexity");
    ASSERT_NE(blocks, std::string::npos) << out;
    EXPECT_EQ(out.substr(blocks), wanted);

    const std::string head =
        "\nchunk             PPL               ln(PPL(Q)/PPL(base))          KL Divergence              Δp RMS            Same top p\n";
    EXPECT_EQ(out.rfind(head, 0), 0u) << out;
    EXPECT_EQ(cli::count_lines(out.substr(0, blocks)), 2 + tokens_of_story().size() / 64);
    const std::string last = line_of("   6    %9.4f ± %9.4f", n("ppl"), n("ppl_error")) +
                             line_of("    %10.5f ± %10.5f", n("ln_ppl_ratio"), n("ln_ppl_ratio_error")) +
                             line_of("    %10.5f ± %10.5f", n("mean_kld"), n("mean_kld_error")) +
                             line_of("    %6.3f ± %6.3f %%", percent("rms_dp"), percent("rms_dp_error")) +
                             line_of("    %6.3f ± %6.3f %%\n", percent("same_top"), percent("same_top_error"));
    EXPECT_TRUE(contains(out, "\n" + last + "\n===")) << out << last;
}

TEST_F(Baseline, FewerWindowsCanBeCompared)
{
    const cli::Json json = cli::parse_json(compare({"--json", "--chunks", "2"}).out);
    EXPECT_EQ(cli::integer_of(json.get(), "n_chunks"), 2);
    EXPECT_EQ(cli::number_of(json_object_get(json.get(), "statistics"), "max_kld"), 0.0);
    ASSERT_EQ(run({"eval", "-q", "-f", story, "-c", "64", "--chunks", "2", "--save-baseline", base}).status, 0);
    EXPECT_EQ(cli::integer_of(cli::parse_json(compare({"--json"}).out).get(), "n_chunks"), 2) << "the baseline's";
    expect_error(compare({"--chunks", "3"}), 1, "has 2 windows, but 3 are asked for: lower --chunks");
}

TEST_F(Baseline, StridesAreTheBaselinesToo)
{
    ASSERT_EQ(run({"eval", "-q", "-f", story, "-c", "48", "--stride", "16", "--save-baseline", base}).status, 0);
    const cli::Json json = cli::parse_json(compare({"--json", "--kl-divergence"}).out);
    EXPECT_EQ(cli::integer_of(json.get(), "stride"), 16);
    EXPECT_EQ(cli::number_of(json_object_get(json.get(), "statistics"), "max_kld"), 0.0);
}

TEST_F(Baseline, OneThatDoesNotFitIsRefused)
{
    expect_error(compare({"-c", "32"}), 1, "was made with -c 64 --stride 0, not with -c 32 --stride 0");
    expect_error(compare({"--stride", "8"}), 1, "not with -c 64 --stride 8");
    cli::write_file(folder / "other", cli::read_file(story) + "And more.\n");
    expect_error(run({"eval", "-q", "-f", folder / "other", "--baseline", base}), 1, "is of another text or tokenizer");
    std::string changed = cli::read_file(story);
    changed.replace(changed.find("three sons"), 10, "seven sons");
    cli::write_file(folder / "other", changed);
    expect_error(run({"eval", "-q", "-f", folder / "other", "--baseline", base}), 1, "is of another text or tokenizer");
    set_header<uint32_t>(36, 0);
    expect_error(compare(), 1, "begin without BOS, unlike those of this one");
    expect_error(run({"eval", "-q", "-f", story, "--baseline", folder / "none"}), 1, "No such file");
    expect_error(run({"eval", "-q", "-f", story, "--baseline", folder / ""}), 1, "is a directory");
}

TEST_F(Baseline, OtherRowsInAWindowAreDamage)
{
    const auto n_windows = number_at<uint32_t>(cli::read_file(base), 28), n_rows = number_at<uint32_t>(cli::read_file(base), 32);
    set_header<uint32_t>(28, n_windows * n_rows);
    set_header<uint32_t>(32, 1); // the file's length fits
    const cli::Result result = compare();
    expect_error(result, 1, "is damaged: its header has windows of ");
    EXPECT_FALSE(contains(result.err, "BOS")) << result.err;
}

TEST_F(Baseline, ALogitThatIsNoNumberIsTheFiles)
{
    std::string bytes = cli::read_file(base);
    const float nan = std::nanf("");
    std::memcpy(&bytes[header_bytes + 2 * row_bytes + 12 * sizeof nan], &nan, sizeof nan);
    const uint64_t hash = hash_of(bytes.substr(header_bytes + 2 * row_bytes, row_bytes - 8), 2);
    std::memcpy(&bytes[header_bytes + 3 * row_bytes - 8], &hash, sizeof hash);
    cli::write_file(base, bytes);
    expect_error(compare({"--json"}), 1, "base: row 2 has a logit that is no finite number, of token 12");
}

// A next step that were typed must not write over somebody's file.
TEST_F(Baseline, AFileOfAnotherKindIsNotToBeReplaced)
{
    for (const char *bytes : {"_logits_abcdefg", "something else"}) {
        cli::write_file(base, bytes);
        const cli::Result result = compare();
        EXPECT_EQ(result.status, 1);
        EXPECT_TRUE(contains(result.err, "--save-baseline NEW_FILE")) << result.err;
        EXPECT_FALSE(contains(result.err, "--save-baseline " + base)) << result.err;
    }
}

TEST_F(Baseline, AnotherVocabularyIsRefused)
{
    // A file of its own that is whole: one row of 8 logits in one window.
    std::string bytes = cli::read_file(base).substr(0, header_bytes);
    cli::write_file(base, bytes + std::string(40, '\0'));
    set_header<uint32_t>(16, 8);
    set_header<uint32_t>(28, 1);
    set_header<uint32_t>(32, 1);
    expect_error(compare(), 1, "is of a vocabulary of 8 tokens, but the model has 4096");
}

TEST_F(Baseline, ADamagedOneIsRefused)
{
    const std::string whole = cli::read_file(base);
    for (size_t length : {size_t{0}, size_t{7}, size_t{8}, size_t{100}, size_t{511}, size_t{512}, whole.size() / 2, whole.size() - 1}) {
        cli::write_file(base, whole.substr(0, length));
        expect_error(compare(), 1, length < 8 ? "is not a baseline of ternion" : "is cut off");
    }
    cli::write_file(base, whole + "x");
    expect_error(compare(), 1, "is too long");
    for (size_t offset : {size_t{8}, size_t{16}, size_t{50}, size_t{300}, size_t{511}}) {
        std::string bytes = whole;
        bytes[offset] = static_cast<char>(bytes[offset] ^ 1);
        cli::write_file(base, bytes);
        expect_error(compare(), 1, offset == 8 ? "version 0 of the format" : "is damaged: its header does not fit its hash");
    }
    cli::write_file(base, "_logits_" + whole.substr(8));
    expect_error(compare(), 1, "is a file of llama-perplexity");
}

TEST_F(Baseline, ADamagedRowIsNamed)
{
    const std::string whole = cli::read_file(base);
    for (size_t row : {size_t{0}, size_t{40}, size_t{185}}) {
        for (size_t offset : {size_t{0}, row_bytes - 1}) {
            std::string bytes = whole;
            char &byte = bytes[header_bytes + row * row_bytes + offset];
            byte = static_cast<char>(byte ^ 0x40);
            cli::write_file(base, bytes);
            const cli::Result result = compare({"--json"});
            expect_error(result, 1, "is damaged: row " + std::to_string(row) + " does not fit its hash");
        }
    }
    // Two whole rows in each other's place.
    std::string bytes = whole;
    for (size_t i = 0; i < row_bytes; i++) std::swap(bytes[header_bytes + i], bytes[header_bytes + row_bytes + i]);
    cli::write_file(base, bytes);
    expect_error(compare({"--json"}), 1, "row 0 does not fit its hash");
}

// With hashes that fit, as one who wants to do harm would write it.
TEST_F(Baseline, SizesThatNothingHasAreRefused)
{
    const std::string whole = cli::read_file(base);
    const std::vector<std::pair<size_t, uint32_t>> wrong = {{12, 0}, {16, 0},          {16, 0xffffffff}, {20, 0},
                                                            {20, 3}, {20, 0xffffffff}, {24, 65},         {24, 0xffffffff},
                                                            {28, 0}, {28, 0xffffffff}, {32, 0},          {32, 0xffffffff}};
    for (const auto &[offset, value] : wrong) {
        cli::write_file(base, whole);
        set_header<uint32_t>(offset, value);
        SCOPED_TRACE(std::to_string(offset) + " " + std::to_string(value));
        const cli::Result result = compare();
        EXPECT_EQ(result.status, 1);
        EXPECT_TRUE(contains(result.err, "its header has sizes that nothing has") || contains(result.err, "is cut off: it has"))
            << result.err;
    }
    cli::write_file(base, whole);
    set_header<uint32_t>(28, 0xffffffff);
    set_header<uint32_t>(32, 0xffffffff);
    expect_error(compare(), 1, "its header has sizes that nothing has");
}

TEST_F(Baseline, ReplacesNothingThatIsRead)
{
    cli::Folder other;
    cli::write_file(other / "text", cli::read_file(story));
    ASSERT_EQ(symlink(cli::default_model().c_str(), (other / "model.gguf").c_str()), 0);
    ASSERT_EQ(symlink((other / "text").c_str(), (other / "link").c_str()), 0);
    expect_error(run({"eval", "-f", other / "text", "-c", "64", "--save-baseline", other / "link"}), 2, "is the text");
    expect_error(run({"eval", "-f", other / "text", "-c", "64", "--save-baseline", other / "model.gguf"}), 2, "is the model file");
    expect_error(run({"eval", "-f", other / "text", "--baseline", base, "--save-baseline", base}), 2, "is the file of --baseline");
    expect_error(run({"eval", "-f", other / "text", "-c", "64", "--save-baseline", "-"}), 2, "needs the name of a file");
    EXPECT_EQ(cli::read_file(other / "text"), cli::read_file(story));
}

TEST_F(Baseline, AWriteThatFailsLeavesTheFileAsItWas)
{
    const std::string before = cli::read_file(base);
    cli::Run limited = {{"eval", "-q", "-f", story, "-c", "64", "--save-baseline", base}, "", {}};
    limited.file_size_max = 200000;
    expect_error(cli::run(limited), 1, "no space is left below the size that a file may have");
    EXPECT_TRUE(cli::read_file(base) == before);
    EXPECT_EQ(folder.count(), 1u);
    const cli::Result full = run({"eval", "-q", "-f", story, "-c", "64", "--save-baseline", "/dev/full"});
    EXPECT_EQ(full.status, 1);
    EXPECT_TRUE(contains(full.err, "no space is left")) << full.err;
}

TEST_F(Baseline, CtrlCLeavesNoFileAndSaysWhatIsThere)
{
    cli::Folder other, results;
    std::string text;
    for (int i = 0; i < 500; i++) text += cli::read_file(story);
    cli::write_file(results / "text", text);
    const pid_t child = fork();
    if (child == 0) {
        dup2(open((results / "out").c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
        cli::become_program({{"eval", "-q", "-f", results / "text", "-c", "64", "-np", "1", "--save-baseline", other / "new"}, "", {}});
    }
    for (int i = 0; i < 3000 && other.count() == 0; i++) usleep(10000);
    EXPECT_EQ(other.count(), 1u) << "the temporary file";
    usleep(300000);
    kill(child, SIGINT);
    EXPECT_EQ(cli::exit_status(child), 130);
    EXPECT_EQ(other.count(), 0u);
    const std::string out = cli::read_file(results / "out");
    EXPECT_TRUE(out.empty() || out.rfind("[1]", 0) == 0) << out;
    EXPECT_FALSE(contains(out, "Final")) << out;
}

TEST_F(Baseline, ItsSizeIsSaidBefore)
{
    const cli::Result result = run({"eval", "-f", story, "-c", "64", "--save-baseline", folder / "new"});
    EXPECT_TRUE(contains(result.err, "2.91 MiB for 186 rows of 4096 logits (")) << result.err;
    EXPECT_TRUE(contains(result.err, " are free)")) << result.err;
}

} // namespace
