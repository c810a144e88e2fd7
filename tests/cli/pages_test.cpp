// Manual pages and completions: complete, valid for the programs that read them, and right in real shells.
#include "program.hpp"

#include <regex.h>
#include <set>
#include <stdexcept>

namespace
{

using cli::contains;
using cli::run;

std::vector<std::string> verbs()
{
    std::vector<std::string> all;
    std::istringstream lines(run({"--help"}).out);
    bool inside = false;
    for (std::string line; std::getline(lines, line) && !(inside && line.empty());) {
        if (inside) all.push_back(line.substr(2, line.find(' ', 2) - 2));
        inside |= line == "Verbs:";
    }
    return all;
}

// Whether a POSIX extended expression is found in `text`; groups: what its parts stand for.
bool finds(const std::string &pattern, const std::string &text, std::vector<std::string> *groups = nullptr)
{
    regex_t expression;
    regmatch_t parts[5];
    if (regcomp(&expression, pattern.c_str(), REG_EXTENDED) != 0) throw std::invalid_argument(pattern);
    const bool found = regexec(&expression, text.c_str(), 5, parts, 0) == 0;
    for (const regmatch_t &part : parts) {
        if (!found || !groups) break;
        groups->push_back(part.rm_so < 0 ? "" : text.substr(static_cast<size_t>(part.rm_so), static_cast<size_t>(part.rm_eo - part.rm_so)));
    }
    regfree(&expression);
    return found;
}

// Flags as the help of a verb shows them, each with its argument ("" where it takes none).
std::vector<std::pair<std::vector<std::string>, std::string>> flags_of(const std::string &verb)
{
    std::vector<std::pair<std::vector<std::string>, std::string>> all;
    std::istringstream lines(run({verb, "--help"}).out);
    for (std::string line; std::getline(lines, line);) {
        std::vector<std::string> parts, names;
        if (!finds("^  (-[^ ]+(, -[^ ]+)*)( [^ ]+)?($|  )", line, &parts)) continue;
        std::istringstream list(parts[1]);
        for (std::string name; std::getline(list, name, ',');) names.push_back(name.substr(name.find('-')));
        all.emplace_back(names, parts[3].empty() ? "" : parts[3].substr(1));
    }
    return all;
}

bool has_program(const std::string &name) { return std::system(("command -v " + name + " >/dev/null 2>&1").c_str()) == 0; }

// What a command prints, with its messages.
std::string output_of(const std::string &command, int *status = nullptr)
{
    FILE *pipe = popen(("{ " + command + "\n} 2>&1").c_str(), "r");
    std::string all;
    char bytes[4096];
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, pipe)) > 0;) all.append(bytes, n);
    const int rc = pclose(pipe);
    if (status) *status = rc;
    return all;
}

std::string plain_name(const std::string &flag) // as roff writes it
{
    std::string plain;
    for (const char c : flag) plain += c == '-' ? std::string("\\-") : std::string(1, c);
    return plain;
}

TEST(Pages, NameEveryFlagOfTheirVerb)
{
    const std::vector<std::string> all = verbs();
    ASSERT_GE(all.size(), 8u);
    const std::string bash = run({"--completion-bash"}).out, zsh = run({"--completion-zsh"}).out, fish = run({"--completion-fish"}).out;
    for (const std::string &verb : all) {
        const std::string page = run({"--man", verb}).out;
        EXPECT_TRUE(contains(page, ".SH NAME\nternion\\-" + verb + " \\- ")) << page;
        EXPECT_TRUE(contains(run({"--man"}).out, ".BR ternion\\-" + verb + " (1)"));
        const auto flags = flags_of(verb);
        ASSERT_GE(flags.size(), 4u) << verb;
        const size_t bash_at = bash.find("\n    " + verb + ")\n"), bash_end = bash.find(";;\n    ", bash.find("flags=\"", bash_at));
        const size_t zsh_at = zsh.find("\n    " + verb + ")\n"), zsh_end = zsh.find("        ;;\n", zsh_at);
        ASSERT_NE(bash_at, std::string::npos) << verb;
        ASSERT_NE(zsh_at, std::string::npos) << verb;
        const std::string bash_part = bash.substr(bash.find("flags=\"", bash_at), bash_end - bash_at),
                          zsh_part = zsh.substr(zsh_at, zsh_end - zsh_at);
        for (const auto &[names, argument] : flags) {
            for (const std::string &flag : names) {
                EXPECT_TRUE(contains(page, "\\fB" + plain_name(flag) + "\\fR")) << verb << " " << flag;
                EXPECT_TRUE(finds("[ \"]" + flag + "[ \"]", bash_part)) << verb << " " << flag;
                EXPECT_TRUE(finds("[{, (']" + flag + "[}, )']", zsh_part)) << verb << " " << flag;
                const std::string bare = flag.substr(flag.find_first_not_of('-'));
                EXPECT_TRUE(finds("__fish_seen_subcommand_from " + verb + "'[^\n]* -[los] " + bare + " ", fish)) << verb << " " << flag;
            }
        }
    }
    EXPECT_TRUE(contains(run({"--man", "run"}).out, "\\fB\\-fa\\fR, \\fB\\-\\-flash\\-attn\\fR")) << "what is refused is explained";
    EXPECT_FALSE(contains(bash, "--flash-attn"));
}

TEST(Pages, WrongNamesAreRefused)
{
    cli::expect_error(run({"--man", "fly"}), 2, "there is no verb 'fly'");
    cli::expect_error(run({"--completion-csh"}), 2, "no completion for 'csh': bash, zsh and fish have one");
}

TEST(Pages, AreFaultlessRoff)
{
    if (!has_program("groff") && !has_program("mandoc")) GTEST_SKIP() << "neither groff nor mandoc is installed";
    cli::Folder folder;
    std::vector<std::string> all = verbs();
    all.push_back("");
    for (const std::string &verb : all) {
        const std::string page = folder / "page.1";
        cli::write_file(page, run(verb.empty() ? std::vector<std::string>{"--man"} : std::vector<std::string>{"--man", verb}).out);
        if (has_program("groff")) {
            EXPECT_EQ(output_of("groff -ww -man -Tutf8 -z " + page), "") << verb;
        }
        // A build outside of a git tree knows no date.
        if (has_program("mandoc")) {
            EXPECT_EQ(output_of("mandoc -Tlint -Wwarning " + page + " | grep -v 'missing date' || true"), "") << verb;
        }
    }
}

// ---- bash ----

class Completion : public testing::Test
{
  protected:
    cli::Folder folder;
    std::string script(const std::string &shell)
    {
        const std::string path = folder / ("completion." + shell);
        cli::write_file(path, run({"--completion-" + shell}).out);
        return path;
    }
    // What bash offers for a line whose last word is completed; `words` as bash splits them.
    std::string bash(const std::string &words)
    {
        return output_of("cd '" + (folder / "") + "' && bash -c 'source \"$0\"; COMP_WORDS=(" + words +
                         "); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _ternion; echo \"${COMPREPLY[@]}\"' '" + script("bash") + "'");
    }
};

TEST_F(Completion, BashOffersVerbsFlagsWordsAndFiles)
{
    if (!has_program("bash")) GTEST_SKIP() << "bash is not installed";
    cli::write_file(folder / "model.gguf", "");
    cli::write_file(folder / "mo del.gguf", "");
    EXPECT_EQ(bash("ternion ru"), "run\n");
    EXPECT_EQ(bash("ternion --ver"), "--version\n");
    EXPECT_EQ(bash("ternion help syn"), "synth\n");
    EXPECT_EQ(bash("ternion run --top"), "--top-k --top-p\n");
    EXPECT_EQ(bash("ternion show --top"), "\n");
    EXPECT_EQ(bash("ternion bench -o js"), "json jsonl\n");
    EXPECT_EQ(bash("ternion bench --output = js"), "json jsonl\n");
    EXPECT_EQ(bash("ternion run --color = \"\""), "on off auto\n");
    EXPECT_EQ(bash("ternion run --color ="), "on off auto\n");
    EXPECT_EQ(bash("ternion run -ngl a"), "auto all\n");
    EXPECT_EQ(bash("ternion run --gpu-layers al"), "all\n");
    EXPECT_EQ(bash("ternion run -m mod"), "model.gguf\n");
    EXPECT_EQ(bash("ternion run --model \"mo \""), "mo del.gguf\n");
    EXPECT_EQ(bash("ternion show mod"), "model.gguf\n");
    EXPECT_EQ(bash("ternion run -n \"\""), "\n");  // a number
    EXPECT_EQ(bash("ternion tokenize mod"), "\n"); // takes no file there
    EXPECT_EQ(bash("ternion synth falcon3-1"), "falcon3-1b falcon3-10b\n");
    EXPECT_EQ(bash("ternion synth 2b-4t mod"), "model.gguf\n");
    EXPECT_EQ(output_of("bash -c 'source \"$0\"; complete -p ternion' '" + script("bash") + "'"), "complete -F _ternion ternion\n");
}

TEST_F(Completion, ZshReadsItsScript)
{
    if (!has_program("zsh")) GTEST_SKIP() << "zsh is not installed";
    const std::string path = script("zsh");
    EXPECT_EQ(output_of("zsh -n " + path), "");
    // As a terminal's user: the line is completed where a tab is typed.
    const std::string drive = folder / "drive.zsh";
    cli::write_file(
        drive, "zmodload zsh/zpty\n"
               "zpty z 'TERM=dumb PS1=\"> \" zsh -f -i'\n"
               "zpty -w z \"autoload -Uz compinit; compinit -u -D; source $1; unsetopt zle_bracketed_paste; LISTMAX=1000; print rea''dy\"\n"
               "zpty -r -m z seen '*ready*' || exit 1\n"
               "zpty -w -n z $'ternion synth falcon3-3\\t/tmp/x --overw\\t\\n'\n"
               "zpty -r -m z seen '*falcon3-3b*--overwrite*' && print completed\n"
               "zpty -d z\n");
    EXPECT_TRUE(contains(output_of("timeout 60 zsh -f " + drive + " " + path), "completed"));
}

TEST_F(Completion, FishOffersVerbsFlagsWordsAndFiles)
{
    if (!has_program("fish")) GTEST_SKIP() << "fish is not installed";
    const std::string path = script("fish");
    int status = 1;
    EXPECT_EQ(output_of("fish -n " + path, &status), "");
    EXPECT_EQ(status, 0);
    cli::write_file(folder / "model.gguf", "");
    const auto offers = [&](const std::string &line) {
        return output_of("cd '" + (folder / "") + "' && HOME='" + (folder / "") + "' fish -c 'source " + path + "; complete -C \"" + line +
                         "\"' | cut -f 1");
    };
    EXPECT_EQ(offers("ternion ru"), "run\n");
    EXPECT_EQ(offers("ternion run --top-"), "--top-k\n--top-p\n");
    EXPECT_EQ(offers("ternion bench -o js"), "json\njsonl\n");
    EXPECT_EQ(offers("ternion run -m mod"), "model.gguf\n");
    EXPECT_EQ(offers("ternion synth llama3"), "llama3-8b\n");
    EXPECT_EQ(offers("ternion devices mod"), "");
}

} // namespace
