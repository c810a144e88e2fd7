// What a terminal shows, and what Ctrl-C does.
#include "on_terminal.hpp"

#include <poll.h>

namespace
{

using cli::contains;
using cli::run_on_terminal;

TEST(Terminal, WithoutAPromptAStoryIsBegunAndShown)
{
    cli::Result result = run_on_terminal({{"run", "-n", "12", "-s", "1", "-q"}, "", {}});
    EXPECT_EQ(result.status, 0) << result.out;
    EXPECT_EQ(result.out.rfind("Once upon a time", 0), 0u) << result.out;
    EXPECT_EQ(result.out.substr(result.out.size() - 2), "\r\n") << "the shell's prompt begins in a new line";
    const std::string rest = cli::run({"run", "-p", "Once upon a time", "-n", "12", "-s", "1", "-q"}).out;
    EXPECT_EQ(result.out, "Once upon a time" + rest + "\r\n");
}

TEST(Terminal, ADumbOneKeepsTheSummaryOffTheAnswerToo)
{
    cli::Result result = run_on_terminal({{"run", "-n", "3", "-s", "1"}, "", {{"TERM", "dumb"}}});
    EXPECT_TRUE(contains(result.out, "\nprompt ")) << result.out;
}

TEST(Terminal, HeaderAndSummaryAreColouredUnlessForbidden)
{
    const std::vector<std::string> arguments = {"run", "-n", "3", "-s", "1"};
    EXPECT_TRUE(contains(run_on_terminal({arguments, "", {}}).out, "\033[2m"));
    EXPECT_FALSE(contains(run_on_terminal({arguments, "", {{"NO_COLOR", "1"}}}).out, "\033[2m"));
    EXPECT_FALSE(contains(run_on_terminal({arguments, "", {{"TERM", "dumb"}}}).out, "\033"));
    std::vector<std::string> off = arguments;
    off.insert(off.end(), {"--color", "off"});
    EXPECT_FALSE(contains(run_on_terminal({off, "", {}}).out, "\033[2m"));
    std::vector<std::string> on = arguments;
    on.insert(on.end(), {"--color", "on"});
    EXPECT_TRUE(contains(run_on_terminal({on, "", {{"NO_COLOR", "1"}}}).out, "\033[2m"));
}

TEST(Terminal, ToolsThatNeedATextSayThatThereIsNone)
{
    EXPECT_TRUE(contains(run_on_terminal({{"tokenize"}, "", {}}).out, "there is no text"));
    EXPECT_TRUE(contains(run_on_terminal({{"logits", "--hash"}, "", {}}).out, "there is no text"));
}

// Reads from `fd` until `part` has come or nothing comes for a long time.
std::string read_until(int fd, const std::string &part)
{
    std::string all;
    char byte;
    pollfd wait = {fd, POLLIN, 0};
    while (!contains(all, part) && poll(&wait, 1, 60000) > 0 && read(fd, &byte, 1) == 1) all += byte;
    return all;
}

TEST(Terminal, CtrlCEndsTheAnswerCleanly)
{
    int out[2], err[2];
    ASSERT_EQ(pipe(out), 0);
    ASSERT_EQ(pipe(err), 0);
    // The pipe is full, so that the program waits with its first token for as long as this test wants.
    ASSERT_GE(fcntl(out[1], F_SETPIPE_SZ, 4096), 0);
    const std::string filler(static_cast<size_t>(fcntl(out[1], F_GETPIPE_SZ)), '.');
    ASSERT_EQ(write(out[1], filler.data(), filler.size()), static_cast<ssize_t>(filler.size()));
    pid_t child = fork();
    if (child == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        for (int fd : {out[0], out[1], err[0], err[1]}) close(fd);
        cli::become_program({{"run", "-p", "The king", "-n", "400", "-s", "1", "--ignore-eos", "-v"}, "", {}});
    }
    close(out[1]);
    close(err[1]);
    std::string messages = read_until(err[0], "sampling ");
    kill(child, SIGINT);
    std::string text;
    char bytes[4096];
    for (ssize_t n; (n = read(out[0], bytes, sizeof bytes)) > 0;) text.append(bytes, static_cast<size_t>(n));
    messages += read_until(err[0], "peak ");
    EXPECT_EQ(cli::exit_status(child), 130);
    EXPECT_TRUE(contains(messages, "| interrupted |")) << messages;
    EXPECT_LT(text.size(), filler.size() + 100) << "the answer went on";
    close(out[0]);
    close(err[0]);
}

TEST(Terminal, AnIgnoredCtrlCStaysIgnored)
{
    signal(SIGINT, SIG_IGN);
    int err[2];
    ASSERT_EQ(pipe(err), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        cli::become_program({{"run", "-p", "The king", "-n", "200", "-s", "1", "--ignore-eos", "-v"}, "", {}});
    }
    signal(SIGINT, SIG_DFL);
    close(err[1]);
    read_until(err[0], "sampling ");
    kill(child, SIGINT);
    EXPECT_TRUE(contains(read_until(err[0], "peak "), "reply 200 tokens"));
    EXPECT_EQ(cli::exit_status(child), 0);
    close(err[0]);
}

TEST(Terminal, CtrlCWhileATextIsReadEndsTheProgram)
{
    int in[2];
    ASSERT_EQ(pipe(in), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(in[0], STDIN_FILENO);
        close(in[1]);
        cli::become_program({{"run", "-q"}, "", {}});
    }
    close(in[0]);
    kill(child, SIGINT);
    EXPECT_EQ(cli::exit_status(child), 128 + SIGINT);
    close(in[1]);
}

} // namespace
