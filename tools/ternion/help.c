// Prints the help of the program and of each verb on standard output.
#include "help.h"

#include "verbs.h"

#include <stdio.h>
#include <string.h>

const char *const tn_cli_groups[] = {"Model", "Text", "Reply", "Sampling", "Tests", "Measuring", "Execution", "Output", NULL};

const tn_cli_variable tn_cli_environment[] = {
    {"TERNION_MODEL", "model file where -m is not given"},
    {"TERNION_CACHE", "on, off or a folder: --pack-cache where it is not given"},
    {"TERNION_CACHE_MAX", "GiB that packed weights may fill, 16 where it is not set; the least recently used go"},
    {"TN_CPU_MASK",
     "highest level of CPU kernels: scalar, sse41, avx2, avxvnni, avx512bw, avx512vnni, avx512vbmi; on ARM scalar, neon, dotprod, i8mm"},
    {"TN_CPU_PACKING", "how the CPU keeps ternary weights: t2_16, t5_16 or auto"},
    {"TN_CPU_SKIP", "whether the CPU leaves out what squared ReLU makes 0: auto, on or off"},
    {"TN_CPU_DEVICES", "number of CPU devices that share the cores; numa: one for each NUMA node"},
    {"TN_VULKAN", "off: as if there were no Vulkan devices"},
    {"TN_VULKAN_KERNELS", "form of the kernels of Vulkan devices: auto, dot, mul or mul_texel"},
    {"TN_CUDA", "off: as if there were no CUDA devices"},
    {"TN_CUDA_LIBRARY", "library of NVIDIA's driver: libcuda.so.1 where it is not set"},
    {"NO_COLOR", "no colours"},
    {NULL, NULL},
};

const tn_cli_variable tn_cli_top_options[] = {
    {"VERB --help", "the flags of a verb"},
    {"--list-devices", "the same as ternion devices"},
    {"--version", "the version"},
    {"--completion-bash", "a completion script; also --completion-zsh, --completion-fish"},
    {"--man [VERB]", "a manual page, in roff"},
    {NULL, NULL},
};

const char tn_cli_top_examples[] = "ternion run                                   tell a story with the model that comes with ternion\n"
                                   "ternion run -m model.gguf -p \"Once upon\" -n 64\n"
                                   "ternion chat -m model.gguf\n"
                                   "ternion batch -i requests.jsonl -o results.jsonl\n"
                                   "ternion show model.gguf\n"
                                   "ternion bench -m model.gguf";

#define COLUMN 36 // where the explanations begin
#define WIDTH  110

#define VARIABLE_COLUMN 18 // holds the longest name of the environment

// Prints `text` from the current column on, broken at blanks; following lines begin at COLUMN.
static void print_wrapped(const char *text, int at)
{
    for (bool first = true; *text; first = false) {
        int n = (int)strcspn(text, " ");
        if (!first && at + 1 + n > WIDTH) {
            printf("\n%*s", COLUMN, "");
            at = COLUMN;
        } else if (!first) {
            putchar(' ');
            at++;
        }
        printf("%.*s", n, text);
        at += n;
        text += n;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void print_option(const tn_cli_option *option, tn_cli_verb_id verb)
{
    const char *initial = tn_cli_option_default(option, verb);
    char left[160] = "  ", name[64], text[400];
    for (size_t i = 0; i < TN_CLI_NAMES_MAX && option->names[i]; i++) {
        tn_cli_option_name(option, i, name, sizeof name);
        snprintf(left + strlen(left), sizeof left - strlen(left), "%s%s", i ? ", " : "", name);
    }
    if (option->argument[0]) snprintf(left + strlen(left), sizeof left - strlen(left), " %s", option->argument);
    snprintf(text, sizeof text, "%s", option->help);
    if (initial) snprintf(text + strlen(text), sizeof text - strlen(text), " (default: %s)", initial);
    printf("%-*s", COLUMN - 2, left);
    if (strlen(left) > COLUMN - 2)
        printf("\n%*s", COLUMN, "");
    else
        printf("  ");
    print_wrapped(text, COLUMN);
}

static void print_lines(const char *lines)
{
    while (*lines) {
        int n = (int)strcspn(lines, "\n");
        printf("  %.*s\n", n, lines);
        lines += n + (lines[n] == '\n');
    }
}

static void print_group(tn_cli_verb_id verb, const char *group)
{
    printf("\n%s:\n", group);
    for (int row = 0; row < TN_OPT_COUNT_; row++) {
        const tn_cli_option *option = &tn_cli_option_table[row];
        bool shown = (option->verbs & 1u << verb) && option->kind != TN_CLI_REFUSED;
        if (shown && strcmp(option->group, group) == 0) print_option(option, verb);
    }
}

void tn_cli_print_verb_help(tn_cli_verb_id verb)
{
    const tn_cli_verb *v = &tn_cli_verb_table[verb];
    printf("usage: ternion %s %s%s[flags]\n\n%s\n", v->name, v->positionals, v->positionals[0] ? " " : "", v->summary);
    if (v->notes[0]) {
        printf("\n");
        print_lines(v->notes);
    }
    for (const char *const *group = tn_cli_groups; *group; group++) {
        bool used = false;
        for (int row = 0; row < TN_OPT_COUNT_; row++) {
            used |= (tn_cli_option_table[row].verbs & 1u << verb) && strcmp(tn_cli_option_table[row].group, *group) == 0;
        }
        if (used) print_group(verb, *group);
    }
    printf("\nExamples:\n");
    print_lines(v->examples);
}

void tn_cli_print_top_help(void)
{
    printf("usage: ternion VERB [flags]\n\n"
           "Runs ternary (1.58-bit) language models, with the same bits on every device.\n\nVerbs:\n");
    for (int v = 0; v < TN_VERB_COUNT_; v++) printf("  %-10s %s\n", tn_cli_verb_table[v].name, tn_cli_verb_table[v].summary);
    printf("\n");
    for (const tn_cli_variable *o = tn_cli_top_options; o->name; o++) printf("  ternion %-18s %s\n", o->name, o->meaning);
    printf("\nExamples:\n");
    print_lines(tn_cli_top_examples);
    printf("\nEnvironment:\n");
    for (const tn_cli_variable *v = tn_cli_environment; v->name; v++) printf("  %-*s %s\n", VARIABLE_COLUMN, v->name, v->meaning);
    printf("\nExit status: 0 done, 1 failed, 2 wrong usage, 130 ended by Ctrl-C.\n");
}
