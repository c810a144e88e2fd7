// ternion logits: rows, hash and trace agree with each other and with the library.
#include "program.hpp"
#include "support/isa_levels.hpp"

#include <ternion/ternion.h>
#include <xxhash.h>

namespace
{

using cli::run;

constexpr size_t n_vocab = 4096, n_layers = 6;
const std::string text = "The king said to his daughter, 'First, I hope she will have the wife in his wife's house.' The king turned pale";

std::string hex(uint64_t value)
{
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
    return digits;
}

std::string hash_of(const std::string &bytes) { return hex(XXH64(bytes.data(), bytes.size(), 0)); }

std::string ids_of(const std::string &of) { return run({"tokenize", "-p", of, "--ids"}).out; }

size_t count_ids(const std::string &ids)
{
    std::istringstream list(ids);
    size_t n = 0;
    for (int id; list >> id;) n++;
    return n;
}

TEST(Logits, RowsAreThoseOfTheLibrary)
{
    cli::Folder folder;
    ASSERT_EQ(run({"logits", "-p", text, "-o", folder / "rows.f32", "-ub", "5"}).status, 0);
    const std::string rows = cli::read_file(folder / "rows.f32");
    EXPECT_EQ(folder.count(), 1u) << "no temporary file stays";
    tn_model *model = nullptr;
    tn_host *host = nullptr;
    tn_session *session = nullptr;
    ASSERT_EQ(tn_model_open(cli::default_model().c_str(), nullptr, &model), TN_OK);
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
    ASSERT_EQ(tn_session_create(model, host, nullptr, &session), TN_OK);
    std::istringstream ids(ids_of(text));
    std::string expected;
    for (int32_t id; ids >> id;) {
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = 1;
        batch.tokens = &id;
        ASSERT_EQ(tn_session_decode(session, &batch), TN_OK);
        expected.append(reinterpret_cast<const char *>(tn_session_logits(session, 0)), n_vocab * sizeof(float));
    }
    EXPECT_TRUE(rows == expected);
    tn_session_destroy(session);
    tn_host_close(host);
    tn_model_close(model);
}

TEST(Logits, TheHashIsThatOfTheRowsWhateverTheChunksThreadsAndKernels)
{
    cli::Folder folder;
    cli::Result result = run({"logits", "-p", text, "-o", folder / "rows.f32", "--hash"});
    ASSERT_EQ(result.status, 0) << result.err;
    const std::string rows = cli::read_file(folder / "rows.f32"), expected = hash_of(rows) + "\n";
    EXPECT_EQ(rows.size(), count_ids(ids_of(text)) * n_vocab * sizeof(float));
    EXPECT_EQ(result.out, expected) << "16 digits alone on the line";
    for (const char *n : {"1", "3", "17"}) EXPECT_EQ(run({"logits", "-p", text, "--hash", "-ub", n}).out, expected) << n;
    EXPECT_EQ(run({"logits", "-p", text, "--hash", "-t", "1"}).out, expected);
    EXPECT_EQ(run({"logits", "-p", text, "--hash", "-t", "2"}).out, expected);
    for (const std::string &mask : tn_test::isa_levels()) EXPECT_EQ(run({"logits", "-p", text, "--hash", "--cpu-isa", mask}).out, expected);
    EXPECT_EQ(run(cli::Run{{"logits", "-p", text, "--hash", "--device", "cpu0,cpu1"}, "", {{"TN_CPU_DEVICES", "2"}}}).out, expected);
    EXPECT_EQ(run(cli::Run{{"logits", "-p", text, "-o", "-"}, "", {}}).out, rows);
    EXPECT_NE(run({"logits", "-p", text + ".", "--hash"}).out, expected);
}

TEST(Logits, TextIdsAndFilesAreTheSameInput)
{
    cli::Folder folder;
    const std::string ids = ids_of(text), expected = run({"logits", "-p", text, "--hash"}).out;
    cli::write_file(folder / "text", text);
    cli::write_file(folder / "ids", ids);
    std::string commas = "[" + ids.substr(0, ids.size() - 1) + "]";
    std::replace(commas.begin(), commas.end(), ' ', ',');
    EXPECT_EQ(run({"logits", "-f", folder / "text", "--hash"}).out, expected);
    EXPECT_EQ(run({"logits", "--tokens", folder / "ids", "--hash"}).out, expected);
    EXPECT_EQ(run(cli::Run{{"logits", "--tokens", "-", "--hash"}, commas, {}}).out, expected);
    EXPECT_EQ(run(cli::Run{{"logits", "--hash"}, text, {}}).out, expected);
    EXPECT_NE(run(cli::Run{{"logits", "--hash"}, text + "\n", {}}).out, expected) << "bytes count, the last newline too";
}

TEST(Logits, BadIdsAreRefused)
{
    cli::expect_error(run(cli::Run{{"logits", "--tokens", "-", "--hash"}, "1 2 x", {}}), 1, "byte 4 begins no token id");
    cli::expect_error(run(cli::Run{{"logits", "--tokens", "-", "--hash"}, "1 2 -3", {}}), 1, "byte 4 begins no token id");
    cli::expect_error(run(cli::Run{{"logits", "--tokens", "-", "--hash"}, "", {}}), 1, "there are no tokens");
    EXPECT_EQ(run(cli::Run{{"logits", "--tokens", "-", "--hash"}, "1 2 4096", {}}).status, 1);
    std::string many;
    for (int i = 0; i < 513; i++) many += "5 ";
    cli::expect_error(run(cli::Run{{"logits", "--tokens", "-", "--hash"}, many, {}}), 1, "513 tokens");
}

TEST(Logits, TheTraceHasALineForEachOpOfEachToken)
{
    cli::Folder folder;
    ASSERT_EQ(run({"logits", "-p", text, "--trace", folder / "trace", "-o", folder / "rows"}).status, 0);
    const std::string trace = cli::read_file(folder / "trace"), rows = cli::read_file(folder / "rows");
    std::vector<std::string> ops = {"embed"};
    for (size_t i = 0; i < n_layers; i++) {
        for (const char *op : {"q", "k", "v", "attn", "mid", "glu", "out"}) ops.push_back("L" + std::to_string(i) + "." + op);
    }
    ops.insert(ops.end(), {"norm", "logits"});
    std::istringstream lines(trace);
    const size_t n = count_ids(ids_of(text));
    for (size_t t = 0; t < n; t++) {
        for (const std::string &op : ops) {
            size_t token = 0;
            std::string name, digits;
            ASSERT_TRUE(lines >> token >> name >> digits);
            EXPECT_EQ(token, t);
            EXPECT_EQ(name, op);
            EXPECT_EQ(digits.size(), 16u);
            if (op == "logits") {
                EXPECT_EQ(digits, hash_of(rows.substr(t * n_vocab * sizeof(float), n_vocab * sizeof(float))));
            }
        }
    }
    EXPECT_EQ(cli::count_lines(trace), n * ops.size());
    for (const char *chunk : {"1", "4"}) EXPECT_EQ(run({"logits", "-p", text, "--trace", "-", "-ub", chunk}).out, trace) << chunk;
}

} // namespace
