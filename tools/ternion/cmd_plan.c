// ternion plan: which devices a model would run on, how fast, and why.
#include "place_flags.h"
#include "place_named.h"
#include "plan_report.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

// All --what-if as one text.
static int join_assumptions(tn_cli_plan *plan)
{
    const tn_cli_value *value = &plan->cli->options.values[TN_OPT_WHAT_IF];
    size_t len = 0;
    for (size_t i = 0; i < value->n; i++) {
        len += (size_t)snprintf(plan->assume + len, sizeof plan->assume - len, "%s%s", i ? "," : "", value->list[i]);
        if (len >= sizeof plan->assume) return tn_cli_usage("--what-if: that is too much at once: assume less");
    }
    if (value->n && len == 0) return tn_cli_usage("--what-if: assume something, gpu0.mem=4G for example");
    plan->params.assume = len ? plan->assume : NULL;
    return 0;
}

static int read_context(tn_cli_plan *plan)
{
    const int64_t n = tn_cli_int(&plan->cli->options, TN_OPT_PLAN_CTX);
    const uint32_t n_all = plan->engine.info.n_ctx_train;
    if (n > n_all) return tn_cli_usage("-c %lld: the model has %u positions", (long long)n, (unsigned)n_all);
    plan->n_ctx = plan->params.n_ctx = n > 0 ? (uint32_t)n : n_all;
    return 0;
}

static int make_plan(tn_cli_plan *plan, tn_cli_place_flags *flags)
{
    tn_cli *cli = plan->cli;
    int rc = tn_cli_engine_find_model(cli, &plan->engine);
    if (rc == 0) rc = tn_cli_engine_open_model(cli, &plan->engine, TN_MODEL_LOAD_ALL);
    if (rc == 0) rc = tn_cli_engine_open_host(cli, &plan->engine, tn_cli_int(&cli->options, TN_OPT_THREADS));
    if (rc == 0) rc = tn_cli_place_read(cli, &plan->engine, flags);
    plan->params = flags->params;
    if (rc == 0) rc = join_assumptions(plan);
    if (rc == 0) rc = tn_cli_place_check_named(cli, plan->engine.host, &plan->params);
    if (rc == 0) rc = read_context(plan);
    if (rc) return rc;
    plan->n_seqs = plan->params.n_seqs = (uint32_t)tn_cli_int(&cli->options, TN_OPT_PLAN_BATCH);
    plan->goal = plan->params.goal;
    if (plan->goal == TN_GOAL_DEFAULT) plan->goal = plan->n_seqs > 1 ? TN_GOAL_THROUGHPUT : TN_GOAL_LATENCY;
    plan->params.explain = true;
    plan->params.calibrate_ms = (uint32_t)tn_cli_int(&cli->options, TN_OPT_CALIBRATE_MS);
    rc = tn_cli_plan_ask(plan);
    if (rc == 0 && plan->n_options && !plan->engine.pack_cache[0])
        tn_cli_warn("what was measured is not kept, since no folder is used for it (--pack-cache): the next start measures again");
    return rc ? rc : tn_cli_plan_ask_changes(plan);
}

int tn_cli_plan_verb(tn_cli *cli)
{
    tn_cli_place_flags flags = {0};
    tn_cli_plan *plan = calloc(1, sizeof *plan);
    if (!plan) return tn_cli_out_of_memory();
    plan->cli = cli;
    int rc = make_plan(plan, &flags);
    if (rc == 0 && cli->json)
        rc = tn_cli_plan_print_json(plan);
    else if (rc == 0)
        tn_cli_plan_print(plan);
    tn_cli_place_deinit(&flags);
    tn_cli_engine_close(&plan->engine);
    free(plan);
    return rc;
}
