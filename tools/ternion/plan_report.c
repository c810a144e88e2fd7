// Devices, choice, alternatives and changes, for people and for programs.
#include "plan_report.h"

#include "json_out.h"
#include "units.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const goals[] = {
    [TN_GOAL_DEFAULT] = "", [TN_GOAL_LATENCY] = "latency", [TN_GOAL_THROUGHPUT] = "throughput", [TN_GOAL_MEMORY] = "memory"};
static const char *const kinds[] = {[TN_PLACEMENT_ONE] = "one", [TN_PLACEMENT_REPLICAS] = "replicas", [TN_PLACEMENT_PIPELINE] = "pipeline"};

// The word before a placement: one device needs none.
static const char *kind_word(tn_placement_kind kind)
{
    return kind == TN_PLACEMENT_REPLICAS ? "replicas " : kind == TN_PLACEMENT_PIPELINE ? "pipeline " : "";
}

// The heading of a group stands before its first line alone.
static const char *heading(const char *name, uint32_t i) { return i == 0 ? name : ""; }

static void format_age(uint64_t at_s, char *text, size_t capacity)
{
    const time_t now = time(NULL);
    const double age = now > 0 && (uint64_t)now > at_s ? (double)((uint64_t)now - at_s) : 0;
    if (now > 0 && (uint64_t)now < at_s)
        snprintf(text, capacity, "in the future, by this clock");
    else if (age < 120)
        snprintf(text, capacity, "just now");
    else if (age < 2 * 3600)
        snprintf(text, capacity, "%.0f minutes ago", age / 60);
    else if (age < 48 * 3600)
        snprintf(text, capacity, "%.0f hours ago", age / 3600);
    else
        snprintf(text, capacity, "%.0f days ago", age / 86400);
}

// Beyond this a percentage says nothing of the device.
static const double error_of_noise = 0.5;

static void print_device(const tn_cli_plan *plan, const tn_cli_plan_device *device, uint32_t i)
{
    const tn_placement_device *f = &device->figures;
    char memory[24], age[40], error[80] = "", node[24] = "", bandwidth[32] = "", many[48] = "";
    tn_cli_format_bytes(f->memory_bytes, memory, sizeof memory);
    if (f->numa_node >= 0) snprintf(node, sizeof node, "  node %d", (int)f->numa_node);
    printf("%-9s %-8s %s%s\n", heading("devices", i), device->name, device->description, node);
    if (f->measured_at_s == 0) {
        printf("%-9s %-8s n/a t/s  may use %s  never measured: ternion devices --calibrate\n", "", "", memory);
        return;
    }
    format_age(f->measured_at_s, age, sizeof age);
    if (f->error > error_of_noise)
        snprintf(error, sizeof error, " while its times varied: ternion devices --calibrate when nothing else runs");
    else if (f->error >= 0)
        snprintf(error, sizeof error, ", predicts within %.0f %%", 100 * f->error);
    if (f->memory_bytes_per_s > 0) snprintf(bandwidth, sizeof bandwidth, "  reads %.1f GB/s", f->memory_bytes_per_s * 1e-9);
    if (plan->n_seqs > 1) snprintf(many, sizeof many, "  %.1f t/s of %u", f->tokens_per_s, (unsigned)plan->n_seqs);
    printf("%-9s %-8s %.1f t/s of 1%s%s  may use %s  measured %s%s\n", "", "", f->tokens_per_s_one, many, bandwidth, memory, age, error);
}

static void format_figures(const tn_placement_option *f, char *text, size_t capacity)
{
    char bytes[24], bubble[64] = "", sharing[48] = "";
    tn_cli_format_bytes(f->bytes, bytes, sizeof bytes);
    if (f->kind == TN_PLACEMENT_PIPELINE)
        snprintf(bubble, sizeof bubble, ", bubble %.0f %%, %u step%s in flight", 100 * f->bubble, (unsigned)f->n_lanes,
                 f->n_lanes == 1 ? "" : "s");
    if (f->sharing_loss >= 0.005) snprintf(sharing, sizeof sharing, ", %.0f %% lost to shared memory", 100 * f->sharing_loss);
    snprintf(text, capacity, "%.1f t/s, a token in %.2f ms, %s%s%s", f->tokens_per_s, f->step_ms, bytes, bubble, sharing);
}

static void print_choice(const tn_cli_plan *plan)
{
    char where[1024], figures[200];
    const tn_cli_plan_option *choice = &plan->options[0];
    if (plan->n_options == 0) {
        tn_placement_print(plan->engine.placement, where, sizeof where);
        printf("%-9s %s\n%-9s predicted n/a: no device was measured, so the first is taken\n", "choice", where, "");
        return;
    }
    format_figures(&choice->figures, figures, sizeof figures);
    printf("%-9s %s%s\n%-9s predicted %s\n", "choice", kind_word(choice->figures.kind), choice->where, "", figures);
    if (plan->n_devices == 1)
        printf("%-9s %s is the only device that can be used: there is nothing to choose\n", "", plan->devices[0].name);
}

static void print_rejected(const tn_cli_plan *plan)
{
    char figures[200];
    for (uint32_t i = 1; i < plan->n_options; i++) {
        const tn_cli_plan_option *option = &plan->options[i];
        format_figures(&option->figures, figures, sizeof figures);
        printf("%-9s %s%s\n%-9s %s%s%s\n", heading("rejected", i - 1), kind_word(option->figures.kind), option->where, "",
               option->figures.tokens_per_s > 0 ? figures : "", option->figures.tokens_per_s > 0 ? ": " : "", option->reason);
    }
}

static void print_changes(const tn_cli_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_changes; i++) {
        const tn_cli_plan_change *change = &plan->changes[i];
        const tn_placement_option *f = &change->choice.figures;
        printf("%-9s %s%s%s%s%s: ", heading("changes", i), change->why, change->why[0] ? "; " : "", "with ",
               change->assume[0] ? "--what-if " : change->flag, change->assume);
        if (!change->possible)
            printf("nothing fits\n");
        else if (change->is_same)
            printf("the choice stays, %.1f t/s\n", f->tokens_per_s);
        else
            printf("%s%s, %.1f t/s\n", kind_word(f->kind), change->choice.where, f->tokens_per_s);
    }
}

// Nodes as devices are not looked at unasked: a host has its CPU devices from its start on.
static void print_nodes(const tn_cli_plan *plan)
{
    tn_host_info host;
    uint32_t n_cpus = 0;
    tn_host_get_info(plan->engine.host, &host);
    for (uint32_t i = 0; i < plan->n_devices; i++) n_cpus += strncmp(plan->devices[i].name, "cpu", 3) == 0;
    if (host.n_numa_nodes < 2 || n_cpus != 1 || plan->params.devices) return;
    printf("%-9s with TN_CPU_DEVICES=numa in the environment: each of the %u NUMA nodes could be a device, with a copy of the model or "
           "layers\n",
           heading("changes", plan->n_changes), (unsigned)host.n_numa_nodes);
}

void tn_cli_plan_print(const tn_cli_plan *plan)
{
    char size[24];
    const tn_model_info *info = &plan->engine.info;
    tn_cli_format_bytes(info->file_bytes, size, sizeof size);
    printf("%-9s %s  %s  %s\n", "model", info->name, info->type, size);
    printf("%-9s %u sequence%s of %u positions, for %s%s%s\n", "asked", (unsigned)plan->n_seqs, plan->n_seqs == 1 ? "" : "s",
           (unsigned)plan->n_ctx, goals[plan->goal], plan->assume[0] ? ", as if " : "", plan->assume);
    for (uint32_t i = 0; i < plan->n_devices; i++) print_device(plan, &plan->devices[i], i);
    print_choice(plan);
    print_rejected(plan);
    print_changes(plan);
    print_nodes(plan);
}

// ---- JSON ----

static json_t *known_or_null(double value, bool known) { return known ? tn_cli_json_real(value) : json_null(); }

static json_t *device_json(const tn_cli_plan_device *device)
{
    const tn_placement_device *f = &device->figures;
    const bool known = f->measured_at_s != 0;
    return json_pack("{s:s, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "name", device->name, "description",
                     tn_cli_json_text(device->description, strlen(device->description)), "memory_bytes", (json_int_t)f->memory_bytes,
                     "tokens_per_second_one", known_or_null(f->tokens_per_s_one, known), "tokens_per_second",
                     known_or_null(f->tokens_per_s, known), "memory_bytes_per_s",
                     known_or_null(f->memory_bytes_per_s, f->memory_bytes_per_s > 0), "error", known_or_null(f->error, f->error >= 0),
                     "measured_at", known ? json_integer((json_int_t)f->measured_at_s) : json_null(), "numa_node",
                     f->numa_node >= 0 ? json_integer(f->numa_node) : json_null());
}

static json_t *option_json(const tn_cli_plan_option *option)
{
    const tn_placement_option *f = &option->figures;
    return json_pack("{s:s, s:s, s:b, s:b, s:o, s:o, s:o, s:i, s:I, s:o, s:s}", "kind", kinds[f->kind], "plan", option->where, "chosen",
                     (int)f->chosen, "fits", (int)f->fits, "tokens_per_second", tn_cli_json_real(f->tokens_per_s), "step_ms",
                     tn_cli_json_real(f->step_ms), "bubble", tn_cli_json_real(f->bubble), "n_lanes", (int)f->n_lanes, "bytes",
                     (json_int_t)f->bytes, "sharing_loss", tn_cli_json_real(f->sharing_loss), "reason", option->reason);
}

static json_t *change_json(const tn_cli_plan_change *change)
{
    const bool possible = change->possible;
    json_t *choice = possible ? option_json(&change->choice) : json_null();
    return json_pack("{s:o, s:o, s:s, s:b, s:o}", "what_if", change->assume[0] ? json_string(change->assume) : json_null(), "flag",
                     change->flag[0] ? json_string(change->flag) : json_null(), "why", change->why, "same", (int)change->is_same, "choice",
                     choice);
}

int tn_cli_plan_print_json(const tn_cli_plan *plan)
{
    char where[1024];
    json_t *devices = json_array(), *options = json_array(), *changes = json_array();
    bool whole = true;
    for (uint32_t i = 0; i < plan->n_devices; i++) whole &= json_array_append_new(devices, device_json(&plan->devices[i])) == 0;
    for (uint32_t i = 0; i < plan->n_options; i++) whole &= json_array_append_new(options, option_json(&plan->options[i])) == 0;
    for (uint32_t i = 0; i < plan->n_changes; i++) whole &= json_array_append_new(changes, change_json(&plan->changes[i])) == 0;
    if (!whole) { // rather nothing than a list that lacks some
        json_decref(devices);
        json_decref(options);
        json_decref(changes);
        return tn_cli_json_print(NULL);
    }
    tn_placement_print(plan->engine.placement, where, sizeof where);
    return tn_cli_json_print(json_pack("{s:o, s:I, s:I, s:s, s:o, s:s, s:o, s:o, s:o, s:f}", "model",
                                       tn_cli_json_model(plan->engine.path, &plan->engine.info), "n_seqs", (json_int_t)plan->n_seqs,
                                       "n_ctx", (json_int_t)plan->n_ctx, "goal", goals[plan->goal], "what_if",
                                       plan->assume[0] ? json_string(plan->assume) : json_null(), "plan", where, "devices", devices,
                                       "options", options, "changes", changes, "planning_ms", plan->planning_ms));
}
