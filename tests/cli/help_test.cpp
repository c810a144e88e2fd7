// Help texts come from one table and cover every verb.
#include "program.hpp"
#include "support/isa_levels.hpp"

namespace
{

const std::vector<std::string> verbs = {"run",     "chat",  "batch", "show",    "tokenize", "devices", "plan",
                                        "convert", "synth", "bench", "compare", "eval",     "logits"};

TEST(Help, TheTopHelpNamesEveryVerb)
{
    cli::Result result = cli::run({"--help"});
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.err, "");
    for (const std::string &verb : verbs) EXPECT_TRUE(cli::contains(result.out, "\n  " + verb + " ")) << verb;
}

TEST(Help, WhatVariablesMeanStandsInOneColumn)
{
    const std::string help = cli::run({"--help"}).out;
    std::istringstream lines(help.substr(help.find("\nEnvironment:\n") + 14));
    size_t n = 0, column = 0;
    for (std::string line; std::getline(lines, line) && line.rfind("  ", 0) == 0; n++) {
        const size_t meaning = line.find_first_not_of(' ', line.find(' ', 2));
        if (n == 0) column = meaning;
        EXPECT_EQ(meaning, column) << line;
    }
    EXPECT_GE(n, 8u) << help;
}

TEST(Help, EveryVerbHasItsOwnHelpInThreeSpellings)
{
    for (const std::string &verb : verbs) {
        cli::Result result = cli::run({verb, "--help"});
        EXPECT_EQ(result.status, 0);
        EXPECT_EQ(result.err, "");
        EXPECT_EQ(result.out.rfind("usage: ternion " + verb, 0), 0u) << result.out;
        EXPECT_TRUE(cli::contains(result.out, "Examples:"));
        EXPECT_EQ(cli::run({verb, "-h"}).out, result.out);
        EXPECT_EQ(cli::run({"help", verb}).out, result.out);
    }
}

TEST(Help, ComesEvenWhereAnArgumentIsMissing)
{
    EXPECT_EQ(cli::run({"convert", "--help"}).status, 0);
    EXPECT_EQ(cli::run({"logits", "-h"}).status, 0);
}

TEST(Help, NamesEveryLevelOfKernels)
{
    const std::string top = cli::run({"--help"}).out, run = cli::run({"run", "--help"}).out;
    for (unsigned isa = 0; isa < TN_ISA_COUNT_; isa++) {
        const std::string name = tn_isa_name(static_cast<tn_isa>(isa));
        EXPECT_TRUE(cli::contains(top, name)) << name;
        EXPECT_TRUE(cli::contains(run, name)) << name;
    }
}

TEST(Help, LinesAreShortAndEndWithoutBlanks)
{
    for (const std::string &verb : verbs) {
        std::istringstream lines(cli::run({verb, "--help"}).out);
        for (std::string line; std::getline(lines, line);) {
            EXPECT_LE(line.size(), 130u) << line;
            EXPECT_FALSE(!line.empty() && line.back() == ' ') << line;
        }
    }
}

TEST(Help, ShowsFlagsAsUsersOfLlamaCppKnowThem)
{
    std::string help = cli::run({"run", "--help"}).out;
    for (const char *flag : {"-m, --model FILE",
                             "-p, --prompt TEXT",
                             "-f, --file FILE",
                             "-n, --predict, --n-predict N",
                             "-c, --ctx-size N",
                             "-b, --batch-size N",
                             "-ub, --ubatch-size N",
                             "-t, --threads N",
                             "-s, --seed N",
                             "--temp, --temperature X",
                             "--top-k N",
                             "--top-p X",
                             "--min-p X",
                             "--repeat-penalty X",
                             "--repeat-last-n N",
                             "--presence-penalty X",
                             "--frequency-penalty X",
                             "-l, --logit-bias ID+B",
                             "--stop TEXT",
                             "-r, --reverse-prompt TEXT",
                             "--ignore-eos",
                             "-e, --escape",
                             "--no-escape",
                             "--special",
                             "-dev, --device LIST",
                             "-ngl, --gpu-layers",
                             "--cpu-isa NAME",
                             "--no-bind",
                             "-q, --quiet",
                             "-v, --verbose",
                             "--json",
                             "--color",
                             "-h, --help",
                             "--list-devices"}) {
        EXPECT_TRUE(cli::contains(help, flag)) << flag;
    }
    EXPECT_TRUE(cli::contains(help, "(default: 0.8)"));
    EXPECT_FALSE(cli::contains(help, "--threads-batch")) << "flags that are refused are not advertised";
}

TEST(Help, OfAVerbComesInTheOtherOrderTooAndNotOfAnUnknownOne)
{
    EXPECT_EQ(cli::run({"--help", "run"}).out, cli::run({"run", "--help"}).out);
    cli::expect_error(cli::run({"help", "foo"}), 2, "there is no verb 'foo'");
    cli::expect_error(cli::run({"help", "rum"}), 2, "did you mean 'ternion run'?");
    EXPECT_TRUE(cli::contains(cli::run({"tokenize", "--help"}).out, "  --ids "));
}

TEST(Help, WithoutAnythingTheProgramShowsItAndFails)
{
    cli::Result result = cli::run(std::vector<std::string>{});
    EXPECT_EQ(result.status, 2);
    EXPECT_TRUE(cli::contains(result.out, "usage: ternion"));
}

TEST(Help, TheVersionIsOneLine)
{
    cli::Result result = cli::run({"--version"});
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.out.rfind("ternion 0.", 0), 0u);
    EXPECT_EQ(cli::count_lines(result.out), 1u);
}

TEST(Help, ToAFullDiskFails)
{
    cli::Run run = {{"--help"}, "", {}};
    run.out_path = "/dev/full";
    EXPECT_EQ(cli::run(run).status, 1);
}

} // namespace
