// The program with a terminal.
#ifndef TN_TEST_CLI_ON_TERMINAL_HPP
#define TN_TEST_CLI_ON_TERMINAL_HPP

#include "program.hpp"

#include <pty.h>

namespace cli
{

// Runs the program with a terminal as standard input, output and error; returns all that it showed.
inline Result run_on_terminal(const Run &run)
{
    int master = -1, slave = -1;
    EXPECT_EQ(openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
    pid_t child = fork();
    if (child == 0) {
        for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(slave, fd);
        close(master);
        close(slave);
        become_program(run);
    }
    close(slave);
    Result result = {0, "", ""};
    char bytes[4096];
    for (ssize_t n; (n = read(master, bytes, sizeof bytes)) > 0;) result.out.append(bytes, static_cast<size_t>(n));
    close(master);
    result.status = exit_status(child);
    return result;
}

} // namespace cli

#endif
