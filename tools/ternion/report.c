// Errors, warnings and notes on standard error.
#include "report.h"

#include "cli.h"
#include "interrupt.h"
#include "plain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// The process has one command line, so one context of messages.
static tn_cli *context;

void tn_cli_report_begin(tn_cli *cli) { context = cli; }

enum { MESSAGE_MAX = 1400, COMMAND_MAX = 700 };

static bool coloured(void) { return context && context->err.colour; }

static void print_line(const char *colour, const char *label, const char *message, const char *try_command)
{
    char text[4 * MESSAGE_MAX], command[4 * COMMAND_MAX];
    size_t n = strlen(message);
    if (n > 0 && (message[n - 1] == '.' || message[n - 1] == '\n')) n--;
    if (context) tn_cli_progress_clear(&context->progress);
    fprintf(stderr, "ternion: %s%s:%s %s", coloured() ? colour : "", label, coloured() ? "\033[0m" : "",
            tn_cli_plain(message, n, text, sizeof text));
    if (try_command) {
        fprintf(stderr, "%s Try: %s", n > 0 && message[n - 1] == '?' ? "" : ".",
                tn_cli_plain(try_command, strlen(try_command), command, sizeof command));
    }
    fputc('\n', stderr);
}

// "ternion run --help", the command for those who know no better one.
static void help_command(char *command, size_t capacity)
{
    snprintf(command, capacity, "ternion %s%s--help", context ? tn_cli_verb_name(context) : "", context ? " " : "");
}

int tn_cli_fail(const char *try_command, const char *fmt, ...)
{
    char message[MESSAGE_MAX], command[64];
    va_list arguments;
    va_start(arguments, fmt);
    vsnprintf(message, sizeof message, fmt, arguments);
    va_end(arguments);
    help_command(command, sizeof command);
    print_line("\033[31m", "error", message, try_command ? try_command : command);
    return TN_CLI_FAILED;
}

int tn_cli_fail_status(const char *try_command)
{
    const tn_error *error = tn_error_last();
    if (error->status == TN_CANCELLED && tn_cli_interrupted()) return tn_cli_stopped();
    return tn_cli_fail(try_command, "%s", error->message[0] ? error->message : tn_status_text(error->status));
}

int tn_cli_usage(const char *fmt, ...)
{
    char message[MESSAGE_MAX], command[64];
    va_list arguments;
    va_start(arguments, fmt);
    vsnprintf(message, sizeof message, fmt, arguments);
    va_end(arguments);
    help_command(command, sizeof command);
    print_line("\033[31m", "error", message, command);
    return TN_CLI_WRONG_USAGE;
}

int tn_cli_out_of_memory(void) { return tn_cli_fail(NULL, "no memory is left: close other programs, or use a smaller context or batch"); }

int tn_cli_stopped(void)
{
    print_line("\033[31m", "error", "interrupted", NULL);
    return TN_CLI_INTERRUPTED;
}

void tn_cli_warn(const char *fmt, ...)
{
    char message[MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, fmt);
    vsnprintf(message, sizeof message, fmt, arguments);
    va_end(arguments);
    print_line("\033[33m", "warning", message, NULL);
}

static void write_log(void *user, tn_log_level level, const char *message)
{
    (void)user;
    if (level == TN_LOG_ERROR || level == TN_LOG_WARN) {
        print_line("\033[33m", level == TN_LOG_WARN ? "warning" : "error", message, NULL);
    } else {
        print_line("\033[2m", level == TN_LOG_INFO ? "info" : "debug", message, NULL);
    }
}

tn_log tn_cli_log(void)
{
    unsigned verbosity = context ? context->verbosity : 0;
    return (tn_log){write_log, NULL, verbosity == 0 ? TN_LOG_WARN : verbosity == 1 ? TN_LOG_INFO : TN_LOG_DEBUG};
}

static void print_note(const char *fmt, va_list arguments)
{
    char message[2 * MESSAGE_MAX], text[8 * MESSAGE_MAX];
    if (context) tn_cli_progress_clear(&context->progress);
    vsnprintf(message, sizeof message, fmt, arguments);
    tn_cli_plain(message, strlen(message), text, sizeof text);
    fprintf(stderr, "%s%s%s\n", coloured() ? "\033[2m" : "", text, coloured() ? "\033[0m" : "");
}

void tn_cli_note(const char *fmt, ...)
{
    va_list arguments;
    if (context && context->quiet) return;
    va_start(arguments, fmt);
    print_note(fmt, arguments);
    va_end(arguments);
}

void tn_cli_tell(const char *fmt, ...)
{
    va_list arguments;
    va_start(arguments, fmt);
    print_note(fmt, arguments);
    va_end(arguments);
}
