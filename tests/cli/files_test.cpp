// Missing, wrong and full: files that cannot be read or written, and the conversion of a checkpoint.
#include "program.hpp"

namespace
{

using cli::contains;
using cli::expect_error;
using cli::run;

std::string checkpoint()
{
    const char *data = std::getenv("TN_TEST_DATA");
    return (data ? std::string(data) : std::string(TN_SOURCE_DIR "/../shared/data")) + "/model";
}

TEST(Files, MissingOnesAreNamed)
{
    expect_error(run({"run", "-m", "/no/model.gguf", "-p", "a"}), 1, "/no/model.gguf");
    expect_error(run({"show", "/no/model.gguf"}), 1, "/no/model.gguf");
    expect_error(run({"run", "-f", "/no/prompt.txt"}), 1, "cannot read /no/prompt.txt");
    expect_error(run({"run", "-f", "/tmp", "-q"}), 1, "cannot read /tmp");
    expect_error(run({"logits", "--tokens", "/no/ids.txt", "--hash"}), 1, "cannot read /no/ids.txt");
    expect_error(run({"convert", "/no/folder", "/tmp/ternion-never-written.gguf", "-q"}), 1, "/no/folder");
    expect_error(run(cli::Run{{"run", "-p", "a"}, "", {{"TERNION_MODEL", "/no/other.gguf"}}}), 1, "/no/other.gguf");
}

TEST(Files, WhatIsNoModelIsRefused)
{
    cli::Folder folder;
    cli::write_file(folder / "text.gguf", "this is a text and no model at all, long enough for a header");
    cli::write_file(folder / "empty.gguf", "");
    cli::write_file(folder / "short.gguf", cli::read_file(cli::default_model()).substr(0, 100000));
    for (const char *name : {"text.gguf", "empty.gguf", "short.gguf"}) {
        expect_error(run({"run", "-q", "-m", folder / name, "-p", "a"}), 1, name);
        expect_error(run({"show", "-q", "-m", folder / name}), 1, name);
    }
}

TEST(Files, WhatIsNoModelGetsTheCommandThatHelps)
{
    cli::Folder folder;
    cli::write_file(folder / "empty.gguf", "");
    cli::write_file(folder / "model.safetensors", std::string("\x40\0\0\0\0\0\0\0{\"a\":1}", 15));
    cli::write_file(folder / "config.json", "{}");
    cli::write_file(folder / "short.gguf", cli::read_file(cli::default_model()).substr(0, 100000));
    EXPECT_TRUE(contains(run({"run", "-p", "a", "-m", folder / "empty.gguf"}).err, "Try: ternion run -m FILE.gguf"));
    EXPECT_TRUE(contains(run({"run", "-p", "a", "-m", folder / "short.gguf"}).err, "Try: sha256sum "));
    const std::string convert = "Try: ternion convert " + (folder / "");
    EXPECT_TRUE(contains(run({"show", folder / "model.safetensors"}).err, convert + " OUT.gguf"));
    EXPECT_TRUE(contains(run({"show", folder / ""}).err, convert + " OUT.gguf"));
    expect_error(run({"convert", folder / "config.json", folder / "out.gguf"}), 1, "is not a folder");
}

TEST(Files, APromptThatCannotFitIsNotReadToItsEnd)
{
    expect_error(run({"run", "-c", "4", "-f", "/dev/zero"}), 1,
                 "/dev/zero holds more than 256.00 KiB, the most that the context (-c) can use");
}

TEST(Files, LogitsReplaceNothingThatIsRead)
{
    cli::Folder folder;
    cli::write_file(folder / "ids", "1 2");
    cli::write_file(folder / "model.gguf", cli::read_file(cli::default_model()));
    ASSERT_EQ(symlink((folder / "ids").c_str(), (folder / "link").c_str()), 0);
    expect_error(run({"logits", "--tokens", folder / "ids", "-o", folder / "link"}), 2, "is the token file");
    expect_error(run({"logits", "-f", folder / "ids", "--trace", folder / "ids"}), 2, "is the prompt file");
    expect_error(run({"logits", "-p", "a", "-m", folder / "model.gguf", "-o", folder / "model.gguf"}), 2, "is the model file");
    expect_error(run({"logits", "-p", "a", "-o", folder / "new", "--trace", folder / "./new"}), 2, "are one file");
    EXPECT_EQ(cli::read_file(folder / "ids"), "1 2");
}

TEST(Files, AFullDiskIsReported)
{
    expect_error(run({"logits", "-p", "The king", "-o", "/dev/full"}), 1, "no space is left");
    EXPECT_TRUE(contains(run({"logits", "-p", "The king", "--trace", "/dev/full"}).err, "no space is left"));
    struct stat status;
    ASSERT_EQ(stat("/dev/full", &status), 0);
    EXPECT_TRUE(S_ISCHR(status.st_mode)) << "the device was replaced by a file";
    for (const char *flag : {"--json", "--no-escape"}) {
        cli::Run full = {{"run", "-p", "The king", "-n", "4", "-q", flag}, "", {}};
        full.out_path = "/dev/full";
        expect_error(cli::run(full), 1, "cannot write standard output: no space is left");
    }
    cli::Run table = {{"bench", "--no-limits", "-p", "4", "-n", "0", "-r", "1"}, "", {}};
    table.out_path = "/dev/full";
    expect_error(cli::run(table), 1, "cannot write standard output");
}

TEST(Files, AWriteThatFailsLeavesNothingBehind)
{
    cli::Folder folder;
    cli::Run limited = {{"logits", "-p", "The king said to his daughter", "-o", folder / "rows.f32"}, "", {}};
    limited.file_size_max = 20000; // a row has 16384 bytes
    expect_error(cli::run(limited), 1, "no space is left below the size that a file may have");
    EXPECT_EQ(folder.count(), 0u);
    cli::write_file(folder / "rows.f32", "before");
    EXPECT_EQ(cli::run(limited).status, 1);
    EXPECT_EQ(cli::read_file(folder / "rows.f32"), "before");
    EXPECT_EQ(folder.count(), 1u);
    expect_error(run({"logits", "-p", "a", "-o", "/no/folder/rows.f32"}), 1, "cannot write /no/folder/rows.f32");
}

TEST(Files, ConvertMakesTheDefaultModel)
{
    if (!cli::exists(checkpoint() + "/config.json")) GTEST_SKIP() << "no checkpoint in " << checkpoint();
    cli::Folder folder;
    const std::string out = folder / "out.gguf";
    cli::Result result = run({"convert", checkpoint(), out, "--json"});
    ASSERT_EQ(result.status, 0) << result.err;
    cli::Json json = cli::parse_json(result.out);
    EXPECT_EQ(cli::integer_of(json.get(), "size"), static_cast<long long>(cli::read_file(out).size()));
    EXPECT_TRUE(contains(result.err, "wrote " + out));
    EXPECT_EQ(folder.count(), 1u);
    EXPECT_EQ(run({"logits", "-m", out, "-p", "The king", "--hash"}).out, run({"logits", "-p", "The king", "--hash"}).out);
    cli::Result again = run({"convert", checkpoint(), out});
    expect_error(again, 1, "exists");
    EXPECT_TRUE(contains(again.err, "--overwrite"));
    EXPECT_EQ(run({"convert", checkpoint(), out, "--overwrite", "-q", "--type", "TQ2_0"}).status, 0);
    EXPECT_TRUE(contains(run({"show", out}).out, "TQ2_0"));
}

} // namespace
