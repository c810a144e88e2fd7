// The ternion program: chooses the verb, reads its flags, runs it.
#include "build_info.h"
#include "cli.h"
#include "completion.h"
#include "help.h"
#include "json_out.h"
#include "man.h"
#include "output.h"
#include "report.h"
#include "suggest.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const tn_cli_verb tn_cli_verb_table[TN_VERB_COUNT_] = {
#define TN_VERB(id, name, function, positionals, fewest, most, summary, notes, examples)                                                   \
    [TN_VERB_##id] = {name, function, positionals, fewest, most, summary, notes, examples},
#include "verbs.inc"
#undef TN_VERB
};

static int find_verb(const char *name)
{
    for (int v = 0; v < TN_VERB_COUNT_; v++) {
        if (strcmp(name, tn_cli_verb_table[v].name) == 0) return v;
    }
    return -1;
}

static int unknown_verb(const char *name)
{
    if (name[0] == '-') {
        const char *owner = tn_cli_verb_of_flag(name, TN_VERB_COUNT_);
        if (owner) return tn_cli_usage("a verb comes before %s, as in 'ternion %s %s'", name, owner, name);
    }
    const char *near = tn_cli_suggest_verb(name);
    if (near) return tn_cli_usage("there is no verb '%s': did you mean 'ternion %s'?", name, near);
    return tn_cli_usage("there is no verb '%s'", name);
}

static int run_verb(tn_cli *cli, int argc, char **argv)
{
    cli->err = tn_cli_term_of(STDERR_FILENO, "auto"); // for what is wrong with the flags themselves
    int rc = tn_cli_options_parse(&cli->options, cli->verb, argc, argv);
    if (rc) return rc;
    if (tn_cli_given(&cli->options, TN_OPT_HELP)) {
        tn_cli_print_verb_help(cli->verb);
        return TN_CLI_OK;
    }
    cli->quiet = tn_cli_given(&cli->options, TN_OPT_QUIET);
    cli->json = tn_cli_given(&cli->options, TN_OPT_JSON);
    cli->verbosity = cli->options.values[TN_OPT_VERBOSE].count;
    cli->out = tn_cli_term_of(STDOUT_FILENO, tn_cli_text(&cli->options, TN_OPT_COLOR));
    cli->err = tn_cli_term_of(STDERR_FILENO, tn_cli_text(&cli->options, TN_OPT_COLOR));
    cli->progress.term = &cli->err;
    cli->progress.quiet = cli->quiet;
    if (tn_cli_given(&cli->options, TN_OPT_LIST_DEVICES)) return tn_cli_devices(cli);
    return tn_cli_verb_table[cli->verb].run(cli);
}

// The texts that are made at the build for others to install: completions and manual pages. -1: another argument.
static int print_installed_text(int argc, char **argv)
{
    static const char completion[] = "--completion-";
    if (strncmp(argv[1], completion, strlen(completion)) == 0) {
        const char *shell = argv[1] + strlen(completion);
        return tn_cli_print_completion(shell) ? TN_CLI_OK
                                              : tn_cli_usage("there is no completion for '%s': bash, zsh and fish have one", shell);
    }
    if (strcmp(argv[1], "--man") != 0) return -1;
    if (argc > 2 && find_verb(argv[2]) < 0) return unknown_verb(argv[2]);
    if (argc > 2)
        tn_cli_print_verb_man((tn_cli_verb_id)find_verb(argv[2]));
    else
        tn_cli_print_top_man();
    return TN_CLI_OK;
}

static int dispatch(tn_cli *cli, int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "--help";
    int verb = find_verb(first);
    if (strcmp(first, "--version") == 0 || strcmp(first, "version") == 0) {
        printf("ternion %s (%s)\n", tn_version(), TN_BUILD_COMMIT);
        return TN_CLI_OK;
    }
    if (strcmp(first, "--list-devices") == 0) verb = TN_VERB_DEVICES;
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0) {
        if (argc > 2 && find_verb(argv[2]) < 0) return unknown_verb(argv[2]);
        if (argc > 2) {
            tn_cli_print_verb_help((tn_cli_verb_id)find_verb(argv[2]));
            return TN_CLI_OK;
        }
        tn_cli_print_top_help();
        return argc > 1 ? TN_CLI_OK : TN_CLI_WRONG_USAGE;
    }
    if (verb < 0) {
        int rc = print_installed_text(argc, argv);
        return rc >= 0 ? rc : unknown_verb(first);
    }
    cli->verb = (tn_cli_verb_id)verb;
    tn_cli_report_begin(cli);
    return run_verb(cli, argc - 1, argv + 1);
}

// A standard stream that was closed stays unusable, so that no file is opened in its place.
static void keep_standard_streams(void)
{
    static const int wrong_way[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", wrong_way[fd]) != fd) return;
    }
}

int main(int argc, char **argv)
{
    keep_standard_streams();
    tn_cli_json_begin();
    signal(SIGXFSZ, SIG_IGN); // a file that grows too large is a failed write, which cleans up
    tn_cli cli;
    memset(&cli, 0, sizeof cli);
    int rc = dispatch(&cli, argc, argv);
    tn_cli_progress_clear(&cli.progress);
    tn_cli_report_begin(NULL);
    tn_cli_options_deinit(&cli.options);
    if (rc == TN_CLI_OK) return tn_cli_close_stdout();
    fflush(stdout);
    return rc;
}
