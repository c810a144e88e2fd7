// Wrong flags, values and names: exit status 2, one line, a way out.
#include "program.hpp"

namespace
{

using cli::expect_error;

TEST(Usage, UnknownVerbsAreRefusedWithTheNearestOne)
{
    expect_error(cli::run({"rum"}), 2, "did you mean 'ternion run'?");
    expect_error(cli::run({"tokenise"}), 2, "did you mean 'ternion tokenize'?");
    expect_error(cli::run({"frobnicate"}), 2, "no verb 'frobnicate'");
    expect_error(cli::run({"-m", "x.gguf"}), 2, "a verb comes before -m");
}

TEST(Usage, UnknownFlagsAreRefusedWithTheNearestOne)
{
    expect_error(cli::run({"run", "--tmep", "1"}), 2, "unknown flag --tmep: did you mean --temp?");
    expect_error(cli::run({"run", "--ctx-sise=5"}), 2, "unknown flag --ctx-sise: did you mean --ctx-size?");
    expect_error(cli::run({"run", "--xyzzy"}), 2, "unknown flag --xyzzy");
    expect_error(cli::run({"run", "--overwrite"}), 2, "--overwrite is a flag of 'ternion batch'");
}

TEST(Usage, AbbreviationsAreNoFlags)
{
    expect_error(cli::run({"run", "--temperatur", "1"}), 2, "did you mean --temperature?");
    expect_error(cli::run({"run", "-thr", "1"}), 2, "unknown flag -thr");
}

TEST(Usage, NumbersAreWholeInRangeAndNothingFollowsThem)
{
    expect_error(cli::run({"run", "-n", "12x"}), 2, "-n: '12x' is not a whole number");
    expect_error(cli::run({"run", "-n12.5"}), 2, "-n: '12.5' is not a whole number");
    expect_error(cli::run({"run", "-n", ""}), 2, "-n: '' is not a whole number");
    expect_error(cli::run({"run", "--n-predict=-2"}), 2, "--n-predict: -2 is out of range");
    expect_error(cli::run({"run", "-c", "99999999999999999999"}), 2, "-c: 99999999999999999999 is out of range");
    expect_error(cli::run({"run", "--temp", "nan"}), 2, "--temp: 'nan' is not a number");
    expect_error(cli::run({"run", "--top-p", "1.5"}), 2, "--top-p: 1.5 is out of range");
    expect_error(cli::run({"run", "-ub", "0"}), 2, "-ub: 0 is out of range");
    expect_error(cli::run({"run", "-ngl", "some"}), 2, "-ngl: 'some' is not a whole number (words are auto|all)");
    expect_error(cli::run({"run", "-ngl", "N"}), 2, "-ngl: 'N' is not a whole number");
    expect_error(cli::run({"run", "-t", "-1"}), 2, "-t: -1 is out of range: 0 to 1024");
    expect_error(cli::run({"bench", "-t", "1025"}), 2, "-t: 1025 is out of range: 0 to 1024");
    expect_error(cli::run({"run", "-p", "a", "--repeat-penalty", "0"}), 2, "--repeat-penalty: it must be above 0");
    expect_error(cli::run({"bench", "-p", "8-4"}), 2, "-p: '8-4' is neither a number nor a range");
    expect_error(cli::run({"bench", "-p", "8,"}), 2, "-p: '' is neither a number nor a range");
    expect_error(cli::run({"bench", "-pg", "8"}), 2, "-pg: '8' is not of the form PP,TG");
}

TEST(Usage, FlagsThatSayTwiceWhatRunsWhereContradictEachOther)
{
    expect_error(cli::run({"run", "--goal", "latency", "-ngl", "3"}), 2, "--goal: -ngl says already what runs where");
    expect_error(cli::run({"run", "--goal", "memory", "-ts", "1,1"}), 2, "--goal: -ts says already");
    expect_error(cli::run({"logits", "-p", "a", "--hash", "--goal", "memory", "-ot", "output=cpu0"}), 2, "--goal: -ot says already");
    expect_error(cli::run({"run", "--goal", "energy"}), 2, "--goal: 'energy' is not one of latency|throughput|memory");
    expect_error(cli::run({"run", "-sm", "row"}), 2, "-sm: devices get whole layers");
    expect_error(cli::run({"run", "-mg", "1"}), 2, "-mg: no device is above the others");
    expect_error(cli::run({"run", "-p", "a", "-ts", "1,2"}), 1, "the split 1,2 has more numbers than the 1 devices");
    expect_error(cli::run({"run", "-p", "a", "-ts", "1;2"}), 1, "'1;2' is no split");
    expect_error(cli::run({"run", "-p", "a", "-ot", "blk"}), 1, "'blk' moves no tensors");
    expect_error(cli::run({"run", "-p", "a", "-ot", "blk\\.[0-9{1,2}=cpu0"}), 1, "is no regular expression");
    expect_error(cli::run({"run", "-p", "a", "--mem-limit", "cpu0"}), 1, "'cpu0' is no limit of memory");
    expect_error(cli::run({"run", "-p", "a", "--device", "cpu0", "--mem-limit", "cpu0=1M"}), 1, "but its limit is 1: place less there");
    expect_error(cli::run({"plan", "-ngl", "3"}), 2, "-ngl: plan says what would be chosen, and predicts nothing that is forced");
}

TEST(Usage, MissingAndSurplusValuesAreNamed)
{
    expect_error(cli::run({"run", "--temp"}), 2, "--temp needs a value");
    expect_error(cli::run({"run", "-qn"}), 2, "-n needs a value");
    expect_error(cli::run({"run", "--json=1"}), 2, "--json takes no value");
    expect_error(cli::run({"run", "-n=5"}), 2, "write -n 5");
    expect_error(cli::run({"tokenize", "-p=text"}), 2, "write -p text");
    expect_error(cli::run({"run", "--t", "3"}), 2, "unknown flag --t: did you mean -t?");
    expect_error(cli::run({"run", "a.gguf", "b.gguf"}), 2, "unexpected argument 'b.gguf'");
    expect_error(cli::run({"run", "-m", "a.gguf", "b.gguf", "-p", "x"}), 2, "two models");
    expect_error(cli::run({"convert", "folder"}), 2, "an argument is missing: HF_DIR OUT.gguf");
    expect_error(cli::run({"bench", "-o", "xml"}), 2, "-o: 'xml' is not one of md|csv|json|jsonl");
}

TEST(Usage, FlagsOfLlamaCppThatAreMissingSayWhatToDoInstead)
{
    expect_error(cli::run({"run", "-tb", "4"}), 2, "-tb: prompts and replies run on the same threads: use -t");
    expect_error(cli::run({"run", "-np", "2"}), 2, "use ternion batch for many");
    expect_error(cli::run({"run", "-cnv"}), 2, "does not chat");
    expect_error(cli::run({"run", "-hf", "user/repo"}), 2, "downloads nothing");
}

TEST(Usage, TextsThatContradictEachOtherAreRefused)
{
    expect_error(cli::run({"run", "-p", "a", "-f", "b"}), 2, "two texts");
    expect_error(cli::run({"logits", "-p", "a"}), 2, "nothing to write");
    expect_error(cli::run({"logits", "-p", "a", "--hash", "-o", "-"}), 2, "only one of");
    expect_error(cli::run({"logits", "-p", "a", "--tokens", "b", "--hash"}), 2, "two inputs");
    expect_error(cli::run({"tokenize", "-p", "1", "--detokenize", "--ids"}), 2, "leave one of them out");
    expect_error(cli::run({"convert", "folder", "-"}), 2, "not standard output");
    expect_error(cli::run({"run", "-p", "a", "extra"}), 1, "extra: there is no such file, and an argument without a flag is the model");
    expect_error(cli::run({"run", "-p", "a", "--stop", ""}), 2, "the text is empty");
    expect_error(cli::run({"run", "-p", "a", "-l", "5*3"}), 2, "'5*3' is not of the form");
    expect_error(cli::run({"run", "-p", "a", "-l", "999999+1"}), 2, "token 999999 is not one of the model's 4096");
    expect_error(cli::run({"bench", "-p", "0", "-n", "0"}), 2, "no test is left");
}

TEST(Usage, DevicesAndKernelsAreCheckedByName)
{
    expect_error(cli::run({"run", "-p", "a", "-q", "--device", "gpu7"}), 1, "gpu7");
    expect_error(cli::run({"run", "-p", "a", "-q", "--cpu-isa", "sse9"}), 1, "sse9");
    cli::Result few = cli::run(cli::Run{{"run", "-p", "a", "-q", "-t", "1"}, "", {{"TN_CPU_DEVICES", "2"}}});
    expect_error(few, 1, "threads");
    EXPECT_TRUE(cli::contains(few.err, "Try: ternion run -t 0")) << few.err;
}

TEST(Usage, MessagesStayOneLineAndDoNotDriveTheTerminal)
{
    expect_error(cli::run({"fo\no\033[31m"}), 2, "no verb 'fo\\no\\x1b[31m'");
    expect_error(cli::run({"run", "-m", "/no/\302\233\377\303\244", "-p", "a"}), 1, "/no/\\xc2\\x9b\\xff\303\244");
}

TEST(Usage, CommandsToTryQuoteTheirPaths)
{
    cli::Result result = cli::run({"run", "-f", "/no/it's here; $(x)"});
    expect_error(result, 1, "cannot read /no/it's here");
    EXPECT_TRUE(cli::contains(result.err, "Try: ls -l '/no/it'\\''s here; $(x)'\n")) << result.err;
}

TEST(Usage, FlagsMayFollowPositionalsAndADoubleDashEndsThem)
{
    cli::Result result = cli::run({"run", cli::default_model(), "-p", "a", "-n", "1", "-q"});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(cli::run({"run", "-p", "a", "-n1", "-q", "--", cli::default_model()}).status, 0);
    expect_error(cli::run({"run", "-p", "a", "--", "-n"}), 1, "-n: there is no such file");
}

} // namespace
