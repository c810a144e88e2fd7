// Prints completion scripts. Offered are verbs, flags, words of choices, shapes of synth, and files where a file is wanted; flags that are
// only refused are not offered.
#include "completion.h"

#include "ternion/synth.h"
#include "verbs.h"

#include <stdio.h>
#include <string.h>

// ---- what the tables say ----

static bool is_offered(const tn_cli_option *option, int verb)
{
    return (option->verbs & 1u << verb) != 0 && option->kind != TN_CLI_REFUSED;
}

static bool has_words(const tn_cli_option *option) { return option->kind == TN_CLI_CHOICE || option->kind == TN_CLI_INT_OR_CHOICE; }
static bool takes_file(const tn_cli_option *option) { return strcmp(option->argument, "FILE") == 0; }
static bool takes_shape(const tn_cli_verb *verb) { return strncmp(verb->positionals, "SHAPE", 5) == 0; }

// Prints the words of "a|b|c" with blanks between them; N stands for a number and is no word.
static void print_words(const char *choices)
{
    const char *separator = "";
    for (const char *c = choices; *c; c += strcspn(c, "|"), c += *c == '|') {
        const int n = (int)strcspn(c, "|");
        if (n == 1 && *c == 'N') continue;
        printf("%s%.*s", separator, n, c);
        separator = " ";
    }
}

static void print_shapes(void)
{
    const char *name;
    for (size_t i = 0; (name = tn_synth_shape_name(i)) != NULL; i++) printf("%s%s", i ? " " : "", name);
}

static void print_verbs(void)
{
    for (int v = 0; v < TN_VERB_COUNT_; v++) printf("%s%s", v ? " " : "", tn_cli_verb_table[v].name);
}

// Prints the names as users type them, with `separator` between them.
static void print_names(const tn_cli_option *option, const char *separator)
{
    char name[64];
    for (size_t i = 0; i < TN_CLI_NAMES_MAX && option->names[i]; i++) {
        tn_cli_option_name(option, i, name, sizeof name);
        printf("%s%s", i ? separator : "", name);
    }
}

// Prints text inside single quotes of a shell, with a backslash before each of `specials`.
static void print_quoted(const char *text, const char *specials, const char *quote)
{
    for (; *text; text++) {
        if (strchr(specials, *text)) putchar('\\');
        if (*text == '\'') {
            fputs(quote, stdout);
        } else {
            putchar(*text);
        }
    }
}

// ---- bash ----

// The pattern of a case: every spelling of a flag.
static void print_bash_pattern(const tn_cli_option *option)
{
    for (size_t i = 0; i < TN_CLI_NAMES_MAX && option->names[i]; i++) {
        printf("%s-%s", i ? " | " : "", option->names[i]);
        if (strlen(option->names[i]) > 1) printf(" | --%s", option->names[i]);
    }
}

static void print_bash_verb(int verb)
{
    const tn_cli_verb *v = &tn_cli_verb_table[verb];
    printf("    %s)\n        case $prev in\n", v->name);
    for (int row = 0; row < TN_OPT_COUNT_; row++) {
        const tn_cli_option *option = &tn_cli_option_table[row];
        if (!is_offered(option, verb) || !option->argument[0]) continue;
        printf("        ");
        print_bash_pattern(option);
        printf(") ");
        if (has_words(option)) {
            printf("_ternion_words \"");
            print_words(option->argument);
            printf("\"; return ;;\n");
        } else {
            printf("%sreturn ;;\n", takes_file(option) ? "_ternion_files; " : "");
        }
    }
    printf("        esac\n        flags=\"");
    const char *separator = "";
    for (int row = 0; row < TN_OPT_COUNT_; row++) {
        if (!is_offered(&tn_cli_option_table[row], verb)) continue;
        printf("%s", separator);
        print_names(&tn_cli_option_table[row], " ");
        separator = " ";
    }
    printf("\"\n");
    if (takes_shape(v)) {
        printf("        ((COMP_CWORD == 2)) && words=\"");
        print_shapes();
        printf("\"\n");
    }
    if (v->positionals_max > 0) printf("        files=1\n");
    printf("        ;;\n");
}

static void print_bash(void)
{
    printf("# bash completion of ternion, made by ternion --completion-bash\n"
           "_ternion_words() { mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\"); }\n"
           "_ternion_files() { compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); }\n"
           "_ternion() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} flags=\"\" words=\"\" files=\"\"\n"
           "    COMPREPLY=()\n"
           "    # --flag=value comes as three words\n"
           "    if [[ $cur == = ]]; then cur=\"\"; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
           "    if ((COMP_CWORD == 1)); then\n        _ternion_words \"");
    print_verbs();
    printf(" help --help --version --list-devices\"\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n    help) _ternion_words \"");
    print_verbs();
    printf("\"; return ;;\n");
    for (int v = 0; v < TN_VERB_COUNT_; v++) print_bash_verb(v);
    printf("    esac\n"
           "    if [[ $cur == -* ]]; then\n        _ternion_words \"$flags\"\n"
           "    elif [[ $words ]]; then\n        _ternion_words \"$words\"\n"
           "    elif [[ $files ]]; then\n        _ternion_files\n    fi\n"
           "}\ncomplete -F _ternion ternion\n");
}

// ---- zsh ----

#define ZSH_QUOTE "'\\''"

static void print_zsh_option(const tn_cli_option *option)
{
    const bool repeats = option->kind == TN_CLI_LIST || option->kind == TN_CLI_NUMBERS || option->kind == TN_CLI_FLAG;
    printf("            %s", repeats ? "'*'" : "'(");
    if (!repeats) {
        print_names(option, " ");
        printf(")'");
    }
    if (option->names[1]) {
        printf("{");
        print_names(option, ",");
        printf("}'[");
    } else {
        print_names(option, "");
        printf("'[");
    }
    print_quoted(option->help, "[]:\\", ZSH_QUOTE);
    printf("]");
    if (option->argument[0]) {
        printf(":");
        print_quoted(option->argument, "[]:\\", ZSH_QUOTE);
        printf(":");
        if (has_words(option)) {
            printf("(");
            print_words(option->argument);
            printf(")");
        } else if (takes_file(option)) {
            printf("_files");
        }
    }
    printf("' \\\n");
}

static void print_zsh(void)
{
    printf("#compdef ternion\n# zsh completion of ternion, made by ternion --completion-zsh\n_ternion() {\n    local -a verbs=(\n");
    for (int v = 0; v < TN_VERB_COUNT_; v++) {
        printf("        '%s:", tn_cli_verb_table[v].name);
        print_quoted(tn_cli_verb_table[v].summary, ":\\", ZSH_QUOTE);
        printf("'\n");
    }
    printf("        'help:print the help of a verb'\n    )\n"
           "    if (( CURRENT == 2 )); then\n        _describe -t verbs verb verbs\n        return\n    fi\n"
           "    local verb=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $verb in\n"
           "    help) _describe -t verbs verb verbs ;;\n");
    for (int v = 0; v < TN_VERB_COUNT_; v++) {
        printf("    %s)\n        _arguments \\\n", tn_cli_verb_table[v].name);
        for (int row = 0; row < TN_OPT_COUNT_; row++) {
            if (is_offered(&tn_cli_option_table[row], v)) print_zsh_option(&tn_cli_option_table[row]);
        }
        if (takes_shape(&tn_cli_verb_table[v])) {
            printf("            '1:shape:(");
            print_shapes();
            printf(")' \\\n");
        }
        printf("            %s\n        ;;\n", tn_cli_verb_table[v].positionals_max > 0 ? "'*:file:_files'" : "&& return");
    }
    printf("    esac\n}\nif [[ $funcstack[1] == _ternion ]]; then\n    _ternion \"$@\"\nelse\n    compdef _ternion ternion\nfi\n");
}

// ---- fish ----

#define FISH_QUOTE "\\'"

static void print_fish_option(const tn_cli_option *option, const char *verb)
{
    char name[64];
    printf("complete -c ternion -n '__fish_seen_subcommand_from %s'", verb);
    for (size_t i = 0; i < TN_CLI_NAMES_MAX && option->names[i]; i++) {
        tn_cli_option_name(option, i, name, sizeof name);
        printf(" -%c %s", name[1] == '-' ? 'l' : name[2] ? 'o' : 's', option->names[i]);
    }
    if (has_words(option)) {
        printf(" -x -a '");
        print_words(option->argument);
        printf("'");
    } else if (option->argument[0]) {
        printf(takes_file(option) ? " -r -F" : " -x");
    }
    printf(" -d '");
    print_quoted(option->help, "\\", FISH_QUOTE);
    printf("'\n");
}

static void print_fish(void)
{
    printf("# fish completion of ternion, made by ternion --completion-fish\n"
           "complete -c ternion -n __fish_use_subcommand -f\n"
           "complete -c ternion -n __fish_use_subcommand -a help -d 'print the help of a verb'\n"
           "complete -c ternion -n '__fish_seen_subcommand_from help' -f -a '");
    print_verbs();
    printf("'\n");
    for (int v = 0; v < TN_VERB_COUNT_; v++) {
        const tn_cli_verb *verb = &tn_cli_verb_table[v];
        printf("complete -c ternion -n __fish_use_subcommand -a %s -d '", verb->name);
        print_quoted(verb->summary, "\\", FISH_QUOTE);
        printf("'\n");
        if (verb->positionals_max == 0) printf("complete -c ternion -n '__fish_seen_subcommand_from %s' -f\n", verb->name);
        if (takes_shape(verb)) {
            printf("complete -c ternion -n '__fish_seen_subcommand_from %s' -a '", verb->name);
            print_shapes();
            printf("'\n");
        }
        for (int row = 0; row < TN_OPT_COUNT_; row++) {
            if (is_offered(&tn_cli_option_table[row], v)) print_fish_option(&tn_cli_option_table[row], verb->name);
        }
    }
}

bool tn_cli_print_completion(const char *shell)
{
    static const struct {
        const char *shell;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(shells[i].shell, shell) != 0) continue;
        shells[i].print();
        return true;
    }
    return false;
}
