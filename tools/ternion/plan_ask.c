// The choice, and the choices that other figures would lead to: each is a placement that is made and thrown away.
#include "plan_ask.h"

#include "report.h"
#include "units.h"

#include <stdio.h>
#include <string.h>

// Devices that are not used are imagined up to so many times as fast.
static const double speed_max = 16;
enum { BISECTIONS = 10, BATCH_MAX = 64 };

static void take_device(void *user, const tn_placement_device *device)
{
    tn_cli_plan *plan = user;
    if (plan->n_devices == TN_CLI_PLAN_DEVICES_MAX) return;
    tn_cli_plan_device *d = &plan->devices[plan->n_devices++];
    snprintf(d->name, sizeof d->name, "%s", device->name);
    snprintf(d->description, sizeof d->description, "%s", device->description);
    d->figures = *device;
}

static void copy_option(tn_cli_plan_option *o, const tn_placement_option *option)
{
    snprintf(o->where, sizeof o->where, "%s", option->where);
    snprintf(o->reason, sizeof o->reason, "%s", option->reason);
    o->figures = *option;
}

static void take_option(void *user, const tn_placement_option *option)
{
    tn_cli_plan *plan = user;
    if (plan->n_options < TN_CLI_PLAN_OPTIONS_MAX) copy_option(&plan->options[plan->n_options++], option);
}

static void take_chosen(void *user, const tn_placement_option *option)
{
    if (option->chosen) copy_option(user, option);
}

int tn_cli_plan_ask(tn_cli_plan *plan)
{
    tn_placement *placement;
    tn_status status = tn_placement_create(plan->engine.model, plan->engine.host, &plan->params, &placement);
    tn_cli_progress_end(&plan->cli->progress);
    if (status != TN_OK) return tn_cli_fail_status(status == TN_OUT_OF_MEMORY ? "ternion plan --ctx 512" : "ternion devices");
    plan->engine.placement = placement;
    tn_placement_explain(placement, take_device, take_option, plan);
    const uint64_t begun_ns = tn_cli_now_ns(); // what was measured is known now
    status = tn_placement_create(plan->engine.model, plan->engine.host, &plan->params, &placement);
    plan->planning_ms = (double)(tn_cli_now_ns() - begun_ns) * 1e-6;
    tn_placement_destroy(placement);
    return status == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

bool tn_cli_plan_uses(const char *where, const char *device)
{
    const size_t n = strlen(device);
    for (const char *at = where; (at = strstr(at, device)); at += n) {
        const bool begins = at == where || at[-1] == ' ';
        if (begins && (at[n] == ':' || at[n] == ' ' || at[n] == '\0')) return true;
    }
    return false;
}

// Whether two choices are of the same kind and devices; shares and borders may differ.
static bool is_alike(const tn_cli_plan *plan, const tn_cli_plan_option *a, const tn_cli_plan_option *b)
{
    if (a->figures.kind != b->figures.kind) return false;
    for (uint32_t i = 0; i < plan->n_devices; i++) {
        const char *name = plan->devices[i].name;
        if (tn_cli_plan_uses(a->where, name) != tn_cli_plan_uses(b->where, name)) return false;
    }
    return true;
}

// Asks with the change's assumption beside the user's own, for n_seqs and a goal. Returns 0 or the exit status after a message.
static int ask(const tn_cli_plan *plan, uint32_t n_seqs, tn_goal goal, tn_cli_plan_change *change)
{
    char assume[sizeof plan->assume + sizeof change->assume + 2];
    tn_placement *placement;
    tn_placement_params params = plan->params;
    snprintf(assume, sizeof assume, "%s%s%s", plan->assume, plan->assume[0] && change->assume[0] ? "," : "", change->assume);
    params.assume = assume[0] ? assume : NULL;
    params.n_seqs = n_seqs;
    params.goal = goal;
    const tn_status status = tn_placement_create(plan->engine.model, plan->engine.host, &params, &placement);
    change->possible = status == TN_OK;
    if (status == TN_OUT_OF_MEMORY || status == TN_INVALID_ARGUMENT || status == TN_UNSUPPORTED) return 0; // nothing is left that could
    if (status != TN_OK) return tn_cli_fail_status(NULL);
    tn_placement_explain(placement, NULL, take_chosen, &change->choice);
    tn_placement_destroy(placement);
    change->is_same = is_alike(plan, &change->choice, &plan->options[0]);
    return 0;
}

static tn_cli_plan_change *next_change(tn_cli_plan *plan)
{
    if (plan->n_changes == TN_CLI_PLAN_CHANGES_MAX) plan->n_changes--; // the last one gives way
    tn_cli_plan_change *change = &plan->changes[plan->n_changes++];
    *change = (tn_cli_plan_change){.possible = false};
    return change;
}

// The device that a placement on one alone begins with; names may have colons. NULL: it is not among those that were told.
static const tn_cli_plan_device *only_device(const tn_cli_plan *plan, const char *where)
{
    for (uint32_t i = 0; i < plan->n_devices; i++) {
        const size_t n = strlen(plan->devices[i].name);
        if (strncmp(where, plan->devices[i].name, n) == 0 && where[n] == ':' && where[n + 1] == ' ') return &plan->devices[i];
    }
    return NULL;
}

// A device that does not hold the model alone: as if it did.
static int ask_memory(tn_cli_plan *plan, const tn_cli_plan_option *option)
{
    char lacking[24];
    const tn_cli_plan_device *device = only_device(plan, option->where);
    if (!device) return 0;
    const char *name = device->name;
    const uint64_t memory = device->figures.memory_bytes;
    tn_cli_plan_change *change = next_change(plan);
    tn_cli_format_bytes(option->figures.bytes - memory, lacking, sizeof lacking);
    snprintf(change->assume, sizeof change->assume, "%s.mem=%llu", name, (unsigned long long)option->figures.bytes);
    snprintf(change->why, sizeof change->why, "%s lacks %s to hold the model", name, lacking);
    return ask(plan, plan->n_seqs, plan->goal, change);
}

// A device that is used: as if it were not there.
static int ask_without(tn_cli_plan *plan, const char *name)
{
    tn_cli_plan_change *change = next_change(plan);
    snprintf(change->assume, sizeof change->assume, "%s=off", name);
    return ask(plan, plan->n_seqs, plan->goal, change);
}

// A device that is not used: how much faster it had to be. Nothing is noted where no speed helps.
static int ask_speed(tn_cli_plan *plan, const char *name)
{
    double low = 1, high = speed_max;
    tn_cli_plan_change *change = next_change(plan), found = {.possible = false};
    int rc = 0;
    for (int i = 0; i <= BISECTIONS && rc == 0; i++) {
        const double speed = i == 0 ? high : (low + high) / 2;
        *change = (tn_cli_plan_change){.possible = false};
        snprintf(change->assume, sizeof change->assume, "%s.speed=%.3g", name, speed);
        rc = ask(plan, plan->n_seqs, plan->goal, change);
        const bool used = change->possible && tn_cli_plan_uses(change->choice.where, name);
        if (!used && i == 0) break;
        if (used) found = *change;
        *(used ? &high : &low) = speed;
    }
    *change = found;
    snprintf(change->why, sizeof change->why, "%s would take part if it were faster", name);
    if (!found.possible) plan->n_changes--;
    return rc;
}

// Other numbers of sequences, the next one up and the next one down that lead to something else.
static int ask_batches(tn_cli_plan *plan)
{
    int rc = 0;
    for (int up = 0; up < 2 && rc == 0; up++) {
        bool found = false;
        uint32_t n = plan->n_seqs;
        while (rc == 0 && !found && (up ? n < BATCH_MAX : n > 1)) {
            n = up ? 2 * n : n / 2;
            tn_cli_plan_change *change = next_change(plan);
            snprintf(change->flag, sizeof change->flag, "--batch %u", (unsigned)n);
            rc = ask(plan, n, plan->params.goal, change);
            found = !change->possible || !change->is_same;
            if (!found) plan->n_changes--;
        }
    }
    return rc;
}

static int ask_goals(tn_cli_plan *plan)
{
    static const char *const words[] = {[TN_GOAL_LATENCY] = "latency", [TN_GOAL_THROUGHPUT] = "throughput", [TN_GOAL_MEMORY] = "memory"};
    int rc = 0;
    for (int goal = TN_GOAL_LATENCY; goal <= TN_GOAL_MEMORY && rc == 0; goal++) {
        if ((tn_goal)goal == plan->goal) continue;
        tn_cli_plan_change *change = next_change(plan);
        snprintf(change->flag, sizeof change->flag, "--goal %s", words[goal]);
        rc = ask(plan, plan->n_seqs, (tn_goal)goal, change);
        if (change->is_same) plan->n_changes--;
    }
    return rc;
}

int tn_cli_plan_ask_changes(tn_cli_plan *plan)
{
    uint32_t n_used = 0;
    int rc = 0;
    if (plan->n_options == 0) return 0;
    for (uint32_t i = 0; i < plan->n_devices; i++) n_used += tn_cli_plan_uses(plan->options[0].where, plan->devices[i].name);
    for (uint32_t i = 1; i < plan->n_options && rc == 0; i++) {
        const tn_placement_option *option = &plan->options[i].figures;
        if (option->kind == TN_PLACEMENT_ONE && !option->fits && option->tokens_per_s > 0) rc = ask_memory(plan, &plan->options[i]);
    }
    for (uint32_t i = 0; i < plan->n_devices && rc == 0 && plan->n_devices > 1; i++) {
        const tn_cli_plan_device *device = &plan->devices[i];
        const bool used = tn_cli_plan_uses(plan->options[0].where, device->name);
        if (device->figures.measured_at_s == 0) continue;
        if (used && n_used > 1) rc = ask_without(plan, device->name);
        if (!used) rc = ask_speed(plan, device->name);
    }
    if (rc == 0 && plan->n_devices > 1) rc = ask_batches(plan);
    return rc || plan->n_devices < 2 ? rc : ask_goals(plan);
}
