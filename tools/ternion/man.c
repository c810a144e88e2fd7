// Prints manual pages in roff, from the tables that also give the help.
#include "man.h"

#include "build_info.h"
#include "help.h"
#include "ternion/base.h"
#include "verbs.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

// Prints `n` bytes so that roff shows them as they are. `line_start`: a dot or quote there would be a request.
static void print_text(const char *text, size_t n, bool line_start)
{
    for (size_t i = 0; i < n; i++) {
        switch (text[i]) {
        case '\\': fputs("\\e", stdout); break;
        case '-': fputs("\\-", stdout); break;
        case '`': fputs("\\(ga", stdout); break;
        case '^': fputs("\\(ha", stdout); break;
        case '~': fputs("\\(ti", stdout); break;
        case '.':
        case '\'':
            if (line_start && i == 0) fputs("\\&", stdout);
            if (text[i] == '.') {
                putchar('.');
            } else {
                fputs("\\(aq", stdout);
            }
            break;
        default: putchar(text[i]);
        }
    }
}

static void print_line(const char *text)
{
    print_text(text, strlen(text), true);
    putchar('\n');
}

// Lines of the tables, one after another as one paragraph.
static void print_lines(const char *lines)
{
    while (*lines) {
        const size_t n = strcspn(lines, "\n");
        print_text(lines, n, true);
        putchar('\n');
        lines += n + (lines[n] == '\n');
    }
}

static void print_title(const char *verb)
{
    printf(".\\\" Made by ternion \\-\\-man from its tables of verbs and options.\n.TH TERNION");
    if (verb) printf("\\-");
    for (const char *c = verb ? verb : ""; *c; c++) putchar(toupper((unsigned char)*c));
    printf(" 1 \"%s\" \"ternion %s\" \"User Commands\"\n", TN_BUILD_DATE, tn_version());
    printf(".SH NAME\nternion%s%s \\- ", verb ? "\\-" : "", verb ? verb : "");
}

static void print_names(const tn_cli_option *option)
{
    char name[64];
    for (size_t i = 0; i < TN_CLI_NAMES_MAX && option->names[i]; i++) {
        tn_cli_option_name(option, i, name, sizeof name);
        printf("%s\\fB", i ? ", " : "");
        print_text(name, strlen(name), false);
        printf("\\fR");
    }
    if (option->argument[0]) {
        printf(" \\fI");
        print_text(option->argument, strlen(option->argument), false);
        printf("\\fR");
    }
    putchar('\n');
}

static void print_option(const tn_cli_option *option, tn_cli_verb_id verb)
{
    const char *initial = tn_cli_option_default(option, verb);
    printf(".TP\n");
    print_names(option);
    print_text(option->help, strlen(option->help), true);
    if (initial) {
        printf(" (default: ");
        print_text(initial, strlen(initial), false);
        putchar(')');
    }
    putchar('\n');
}

// The options of a verb in one group; NULL: those of llama.cpp that are refused. False where there is none.
static bool print_group(tn_cli_verb_id verb, const char *group)
{
    bool any = false;
    for (int row = 0; row < TN_OPT_COUNT_; row++) {
        const tn_cli_option *option = &tn_cli_option_table[row];
        const bool refused = option->kind == TN_CLI_REFUSED;
        if (!(option->verbs & 1u << verb) || (group ? refused || strcmp(option->group, group) != 0 : !refused)) continue;
        if (!any && group) printf(".SS %s\n", group);
        if (!any && !group)
            printf(".SH \"FLAGS OF LLAMA.CPP THAT ARE REFUSED\"\nThese flags are known, and answered with what to do instead.\n");
        any = true;
        print_option(option, verb);
    }
    return any;
}

static void print_examples(const char *lines)
{
    printf(".SH EXAMPLES\n.nf\n");
    print_lines(lines);
    printf(".fi\n");
}

static void print_environment(void)
{
    printf(".SH ENVIRONMENT\n");
    for (const tn_cli_variable *v = tn_cli_environment; v->name; v++) {
        printf(".TP\n.B %s\n", v->name);
        print_line(v->meaning);
    }
}

static void print_exit_status(void)
{
    printf(".SH \"EXIT STATUS\"\n.TP\n.B 0\ndone\n.TP\n.B 1\nfailed; standard error has one line with the cause and a command to "
           "try\n.TP\n.B 2\n"
           "wrong usage\n.TP\n.B 130\nended by Ctrl\\-C\n");
}

void tn_cli_print_verb_man(tn_cli_verb_id verb)
{
    const tn_cli_verb *v = &tn_cli_verb_table[verb];
    print_title(v->name);
    print_line(v->summary);
    printf(".SH SYNOPSIS\n.B ternion %s\n", v->name);
    if (v->positionals[0]) {
        printf(".I ");
        print_line(v->positionals);
    }
    printf("[\\fIflags\\fR]\n.SH DESCRIPTION\n");
    print_lines(v->notes[0] ? v->notes : v->summary);
    printf(".SH OPTIONS\n");
    for (const char *const *group = tn_cli_groups; *group; group++) print_group(verb, *group);
    print_group(verb, NULL);
    print_environment();
    print_exit_status();
    print_examples(v->examples);
    printf(".SH \"SEE ALSO\"\n.BR ternion (1)\n");
}

void tn_cli_print_top_man(void)
{
    print_title(NULL);
    printf("run ternary (1.58\\-bit) language models\n.SH SYNOPSIS\n.B ternion\n.I VERB\n[\\fIflags\\fR]\n.SH DESCRIPTION\n"
           "Runs ternary (1.58\\-bit) language models, with the same bits on every device.\nWithout\n.B \\-m\n"
           "the model that comes with ternion is used.\n.SH VERBS\n");
    for (int v = 0; v < TN_VERB_COUNT_; v++) {
        printf(".TP\n.BR ternion\\-%s (1)\n", tn_cli_verb_table[v].name);
        print_line(tn_cli_verb_table[v].summary);
    }
    printf(".SH OPTIONS\n");
    for (const tn_cli_variable *o = tn_cli_top_options; o->name; o++) {
        printf(".TP\n.B ");
        print_line(o->name);
        print_line(o->meaning);
    }
    print_environment();
    print_exit_status();
    print_examples(tn_cli_top_examples);
    printf(".SH \"SEE ALSO\"\n");
    for (int v = 0; v < TN_VERB_COUNT_; v++)
        printf(".BR ternion\\-%s (1)%s\n", tn_cli_verb_table[v].name, v + 1 < TN_VERB_COUNT_ ? "," : "");
}
