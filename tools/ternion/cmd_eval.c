// ternion eval: how good a model is, on a text or on tasks.
#include "eval_tasks.h"
#include "eval_text.h"
#include "report.h"

#include <string.h>

// The flags of tasks in the order of tn_cli_eval_kind.
static const tn_cli_option_id task_flags[] = {TN_OPT_EVAL_HELLASWAG, TN_OPT_EVAL_WINOGRANDE, TN_OPT_EVAL_MULTIPLE_CHOICE};
enum { N_KINDS = sizeof task_flags / sizeof *task_flags };

// Flags that say what is done with a text; tasks have none.
static int check_no_text(const tn_cli_options *options)
{
    static const tn_cli_option_id flags[] = {TN_OPT_PROMPT,      TN_OPT_FILE,      TN_OPT_EVAL_CTX,      TN_OPT_EVAL_STRIDE,
                                             TN_OPT_EVAL_CHUNKS, TN_OPT_EVAL_SAVE, TN_OPT_EVAL_BASELINE, TN_OPT_EVAL_KL};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        char name[40];
        if (!tn_cli_given(options, flags[i])) continue;
        tn_cli_option_name(&tn_cli_option_table[flags[i]], 0, name, sizeof name);
        return tn_cli_usage("%s is for texts, and tasks come from a file of their own: leave it out", name);
    }
    return 0;
}

static int work(tn_cli *cli, tn_cli_engine *engine)
{
    const tn_cli_options *options = &cli->options;
    int kind = -1, rc = tn_cli_engine_find_model(cli, engine);
    for (int i = 0; i < N_KINDS && rc == 0; i++) {
        if (!tn_cli_given(options, task_flags[i])) continue;
        if (kind >= 0) rc = tn_cli_usage("two kinds of tasks: give one of --hellaswag, --winogrande and --multiple-choice");
        kind = i;
    }
    if (rc) return rc;
    if (kind >= 0) {
        rc = check_no_text(options);
        return rc ? rc : tn_cli_eval_tasks(cli, engine, (tn_cli_eval_kind)kind, tn_cli_text(options, task_flags[kind]));
    }
    if (tn_cli_given(options, TN_OPT_EVAL_TASKS)) return tn_cli_usage("--tasks needs --hellaswag, --winogrande or --multiple-choice");
    if (tn_cli_given(options, TN_OPT_EVAL_KL) && !tn_cli_given(options, TN_OPT_EVAL_BASELINE))
        return tn_cli_usage("--kl-divergence needs a baseline to compare with: --baseline FILE");
    return tn_cli_eval_text(cli, engine);
}

int tn_cli_eval(tn_cli *cli)
{
    tn_cli_engine engine;
    memset(&engine, 0, sizeof engine);
    const int rc = work(cli, &engine);
    tn_cli_engine_close(&engine);
    return rc;
}
