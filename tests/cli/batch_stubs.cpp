// Standard error of the tests of batch lines: messages are kept.
#include "batch_lines.hpp"

#include <cstdarg>

extern "C" {
#include "output.h"
#include "report.h"
}

std::vector<std::string> batch_lines::said;

static void keep(const char *fmt, va_list arguments)
{
    char message[2000];
    std::vsnprintf(message, sizeof message, fmt, arguments);
    batch_lines::said.push_back(message);
}

extern "C" {

extern const tn_cli_verb tn_cli_verb_table[TN_VERB_COUNT_];
const tn_cli_verb tn_cli_verb_table[TN_VERB_COUNT_] = {};

void tn_cli_warn(const char *fmt, ...)
{
    va_list arguments;
    va_start(arguments, fmt);
    keep(fmt, arguments);
    va_end(arguments);
}

int tn_cli_fail(const char *, const char *fmt, ...)
{
    va_list arguments;
    va_start(arguments, fmt);
    keep(fmt, arguments);
    va_end(arguments);
    return TN_CLI_FAILED;
}

int tn_cli_usage(const char *fmt, ...)
{
    va_list arguments;
    va_start(arguments, fmt);
    keep(fmt, arguments);
    va_end(arguments);
    return TN_CLI_WRONG_USAGE;
}

int tn_cli_fail_status(const char *)
{
    batch_lines::said.push_back(tn_error_last()->message);
    return TN_CLI_FAILED;
}

int tn_cli_out_of_memory(void) { return tn_cli_fail(nullptr, "no memory is left"); }

int tn_cli_print(const char *, size_t) { return TN_CLI_FAILED; }
}
