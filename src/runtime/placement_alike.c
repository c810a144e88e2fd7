// Equal GPUs as equal devices: the search takes those for one kind whose times are the same, and would try all orders of them otherwise.
#include "runtime/placement_alike.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

// Measured times of one device vary by as much.
static const double tolerance = 0.05;

static bool is_near(double a, double b) { return fabs(a - b) < tolerance * (a > b ? a : b); }

// "cuda" of "cuda0".
static size_t kind_length(const char *name)
{
    size_t n = 0;
    while (name[n] && !isdigit((unsigned char)name[n])) n++;
    return n;
}

static bool is_one_kind(const tn_device_desc *a, const tn_device_desc *b)
{
    const size_t n = kind_length(a->name);
    if (n != kind_length(b->name) || strncmp(a->name, b->name, n) != 0 || strncmp(a->name, "cpu", 3) == 0) return false;
    if (strcmp(a->description, b->description) != 0 || strcmp(a->driver, b->driver) != 0 || strcmp(a->kernels, b->kernels) != 0)
        return false;
    return strcmp(a->isa, b->isa) == 0 && a->n_threads == b->n_threads && a->memory_bytes == b->memory_bytes;
}

static bool is_predicted_alike(const tn_placement_choice *choice, uint32_t a, uint32_t b)
{
    const uint32_t n_units = choice->graph->n_layers + 2, sizes[] = {1, choice->n_seqs};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const tn_cost_step step = tn_placement_step(choice, sizes[i]);
        const double ns = tn_cost_segment_ns(&choice->tables[a], choice->works, n_units, &step);
        if (!is_near(ns, tn_cost_segment_ns(&choice->tables[b], choice->works, n_units, &step))) return false;
    }
    return true;
}

static void take_times(const tn_cost_table *from, tn_cost_table *table)
{
    const uint64_t measured_at_s = table->measured_at_s;
    *table = *from;
    table->measured_at_s = measured_at_s;
}

static void take_least_memory(uint64_t *a, uint64_t *b)
{
    if (!is_near((double)*a, (double)*b)) return;
    if (*a < *b)
        *b = *a;
    else
        *a = *b;
}

void tn_placement_unify(const tn_device_desc *descs, const bool *is_set, tn_placement_choice *choice)
{
    uint64_t *memory = choice->memory_bytes;
    for (uint32_t first = 0; first < choice->n_devices; first++) {
        for (uint32_t round = 0; round < 2; round++) { // in the first the first one finds the least memory, in the second all take it
            for (uint32_t i = first + 1; i < choice->n_devices; i++) {
                if (!is_one_kind(&descs[choice->devices[first]], &descs[choice->devices[i]])) continue;
                if (!is_predicted_alike(choice, first, i)) continue;
                take_times(&choice->tables[first], &choice->tables[i]);
                if (!is_set[first] && !is_set[i]) take_least_memory(&memory[first], &memory[i]);
            }
        }
    }
}
