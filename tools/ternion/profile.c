// Profiles: adding up, and two ways to show them.
#include "profile.h"

#include "plain.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

// The weight's name without what differs from layer to layer: "blk.3.ffn_up.weight" is "ffn_up".
static void short_name(const char *name, char *out, size_t capacity)
{
    if (strncmp(name, "blk.", 4) == 0 && strchr(name + 4, '.')) name = strchr(name + 4, '.') + 1;
    size_t n = strlen(name);
    const size_t suffix = strlen(".weight");
    if (n > suffix && strcmp(name + n - suffix, ".weight") == 0) n -= suffix;
    snprintf(out, capacity, "%.*s", (int)(n < capacity ? n : capacity - 1), name);
}

static tn_cli_profile_op *op_of(tn_cli_profile *profile, const tn_session_profile_entry *entry)
{
    char name[64];
    short_name(entry->name, name, sizeof name);
    for (size_t i = 0; i < profile->n_ops; i++) {
        if (strcmp(profile->ops[i].op, entry->op) == 0 && strcmp(profile->ops[i].name, name) == 0) return &profile->ops[i];
    }
    if (profile->n_ops == profile->ops_capacity) {
        const size_t capacity = profile->ops_capacity ? 2 * profile->ops_capacity : 32;
        tn_cli_profile_op *ops = realloc(profile->ops, capacity * sizeof *ops);
        if (!ops) return NULL;
        profile->ops = ops;
        profile->ops_capacity = capacity;
    }
    tn_cli_profile_op *op = &profile->ops[profile->n_ops++];
    *op = (tn_cli_profile_op){.n_nodes = 0};
    snprintf(op->op, sizeof op->op, "%s", entry->op);
    snprintf(op->name, sizeof op->name, "%s", name);
    snprintf(op->layout, sizeof op->layout, "%s", entry->layout);
    return op;
}

static void add_entry(void *user, const tn_session_profile_entry *entry)
{
    tn_cli_profile *profile = user;
    tn_cli_profile_op *op = op_of(profile, entry);
    if (!op) {
        profile->failed = true;
        return;
    }
    op->ns += entry->ns;
    if (!profile->counted) {
        op->n_nodes++;
        op->weight_bytes += entry->weight_bytes;
    }
    const size_t layer = (size_t)((int64_t)entry->layer + 1);
    if (layer < profile->n_layers) profile->layer_ns[layer] += entry->ns;
}

int tn_cli_profile_add(tn_cli_profile *profile, const tn_session *session, uint32_t n_layers)
{
    tn_session_profile_totals totals = TN_SESSION_PROFILE_TOTALS_INIT;
    if (!profile->layer_ns) {
        profile->n_layers = (size_t)n_layers + 2;
        profile->layer_ns = calloc(profile->n_layers, sizeof *profile->layer_ns);
        if (!profile->layer_ns) return tn_cli_out_of_memory();
    }
    if (tn_session_profile(session, &totals, add_entry, profile) != TN_OK) return tn_cli_fail_status(NULL);
    profile->counted = true;
    profile->totals.n_steps += totals.n_steps;
    profile->totals.n_barriers += totals.n_barriers;
    profile->totals.barrier_wait_ns += totals.barrier_wait_ns;
    profile->totals.step_ns += totals.step_ns;
    profile->totals.n_gates += totals.n_gates;
    profile->totals.n_gates_zero += totals.n_gates_zero;
    profile->totals.n_codes += totals.n_codes;
    profile->totals.n_codes_zero += totals.n_codes_zero;
    return profile->failed ? tn_cli_out_of_memory() : 0;
}

void tn_cli_profile_deinit(tn_cli_profile *profile)
{
    free(profile->ops);
    free(profile->layer_ns);
    *profile = (tn_cli_profile){.n_ops = 0};
}

static double share(uint64_t ns, const tn_cli_profile *profile)
{
    return profile->totals.step_ns ? 100.0 * (double)ns / (double)profile->totals.step_ns : 0;
}

static void print_line(const char *op, const char *name, uint64_t ns, const tn_cli_profile *profile, double n_tokens, FILE *out)
{
    char text[4 * 64 + 4];
    fprintf(out, "%-15s %-22s %10.4f %6.1f", op, tn_cli_plain(name, strlen(name), text, sizeof text), (double)ns * 1e-6 / n_tokens,
            share(ns, profile));
}

static void print_layers(const tn_cli_profile *profile, double n_tokens, FILE *out)
{
    char name[32];
    for (size_t i = 0; i < profile->n_layers; i++) {
        snprintf(name, sizeof name, "%zu", i - 1);
        print_line("layer",
                   i == 0                       ? "embedding"
                   : i + 1 == profile->n_layers ? "head"
                                                : name,
                   profile->layer_ns[i], profile, n_tokens, out);
        fputc('\n', out);
    }
}

void tn_cli_profile_print(const tn_cli_profile *profile, const char *test, double n_tokens, bool layers, FILE *out)
{
    const tn_session_profile_totals *t = &profile->totals;
    const double steps = t->n_steps ? (double)t->n_steps : 1;
    uint64_t known_ns = t->barrier_wait_ns;
    if (n_tokens <= 0) n_tokens = 1;
    fprintf(out, "\nprofile of %s: %.4f ms a token, %.0f tokens in %.0f steps\n%-15s %-22s %10s %6s %8s  %s\n", test,
            (double)t->step_ns * 1e-6 / n_tokens, n_tokens, steps, "op", "weight", "ms/token", "%", "GB/s", "layout");
    for (size_t i = 0; i < profile->n_ops; i++) {
        const tn_cli_profile_op *op = &profile->ops[i];
        known_ns += op->ns;
        print_line(op->op, op->name, op->ns, profile, n_tokens, out);
        // Gains are so few that they stay in a cache, and of a token only one worker has them.
        if (strncmp(op->op, "matmul", 6) == 0 && op->ns)
            fprintf(out, " %8.2f  %s", (double)op->weight_bytes * steps / (double)op->ns, op->layout);
        fputc('\n', out);
    }
    print_line("barriers", "", t->barrier_wait_ns, profile, n_tokens, out);
    const double per_step = (double)t->n_barriers / steps;
    fprintf(out, "           %.0f a step, %.2f us each\n", per_step,
            t->n_barriers ? (double)t->barrier_wait_ns * 1e-3 / (double)t->n_barriers : 0);
    print_line("between steps", "", t->step_ns > known_ns ? t->step_ns - known_ns : 0, profile, n_tokens, out);
    fputc('\n', out);
    if (t->n_gates && t->n_codes)
        fprintf(out, "skipped: %.1f %% of the gates, %.1f %% of the codes before down are 0 for all tokens of a step\n",
                100.0 * (double)t->n_gates_zero / (double)t->n_gates, 100.0 * (double)t->n_codes_zero / (double)t->n_codes);
    if (layers) print_layers(profile, n_tokens, out);
}

json_t *tn_cli_profile_json(const tn_cli_profile *profile)
{
    const tn_session_profile_totals *t = &profile->totals;
    json_t *o = json_object(), *ops = json_array(), *layers = json_array();
    for (size_t i = 0; i < profile->n_ops; i++) {
        const tn_cli_profile_op *op = &profile->ops[i];
        json_t *item = json_object();
        json_object_set_new(item, "op", json_string(op->op));
        json_object_set_new(item, "weight", tn_cli_json_text(op->name, strlen(op->name)));
        json_object_set_new(item, "layout", json_string(op->layout));
        json_object_set_new(item, "n_nodes", json_integer(op->n_nodes));
        json_object_set_new(item, "ns", json_integer((json_int_t)op->ns));
        json_object_set_new(item, "weight_bytes", json_integer((json_int_t)op->weight_bytes));
        json_array_append_new(ops, item);
    }
    for (size_t i = 0; i < profile->n_layers; i++) json_array_append_new(layers, json_integer((json_int_t)profile->layer_ns[i]));
    json_object_set_new(o, "n_steps", json_integer((json_int_t)t->n_steps));
    json_object_set_new(o, "step_ns", json_integer((json_int_t)t->step_ns));
    json_object_set_new(o, "n_barriers", json_integer((json_int_t)t->n_barriers));
    json_object_set_new(o, "barrier_wait_ns", json_integer((json_int_t)t->barrier_wait_ns));
    json_object_set_new(o, "n_gates", json_integer((json_int_t)t->n_gates));
    json_object_set_new(o, "n_gates_zero", json_integer((json_int_t)t->n_gates_zero));
    json_object_set_new(o, "n_codes", json_integer((json_int_t)t->n_codes));
    json_object_set_new(o, "n_codes_zero", json_integer((json_int_t)t->n_codes_zero));
    json_object_set_new(o, "ops", ops);
    json_object_set_new(o, "layer_ns", layers);
    return o;
}
