// Fits tables of costs to measured times: least squares with no negative times.
#include "scheduler/cost_table.h"

#include <string.h>

enum { UNKNOWNS_MAX = 8, ROUNDS = 12 }; // parts that are fitted together; times that samples are weighed anew

// A sample that is off by more than this has less weight in the next round: what else ran on the machine may have disturbed it.
static const double error_trusted = 0.02;

// Normal equations of the relative errors, by the parts that samples have. Columns are scaled to length 1.
typedef struct equations {
    uint32_t n, parts[UNKNOWNS_MAX];
    double scale[UNKNOWNS_MAX];
    double matrix[UNKNOWNS_MAX][UNKNOWNS_MAX], right[UNKNOWNS_MAX];
} equations;

static double square_root(double x)
{
    double root = x < 1.0 ? 1.0 : x;
    for (uint32_t i = 0; i < 2048; i++) { // Newton's method, downwards
        const double next = 0.5 * (root + x / root);
        if (!(next < root)) break;
        root = next;
    }
    return root;
}

static void find_unknowns(equations *eq, uint32_t parts, const tn_cost_sample *samples, uint32_t n_samples, uint32_t step)
{
    for (uint32_t p = 0; p < TN_COST_PARTS && eq->n < UNKNOWNS_MAX; p++) {
        double length = 0.0;
        for (uint32_t i = 0; i < n_samples; i++) {
            const double weighted = samples[i].amounts[p] / samples[i].ns;
            if (samples[i].step == step) length += weighted * weighted;
        }
        if (!(parts >> p & 1u) || length <= 0.0) continue;
        eq->parts[eq->n] = p;
        eq->scale[eq->n++] = square_root(length);
    }
}

static void add_sample(equations *eq, const tn_cost_table *rest, const tn_cost_sample *sample, double weight)
{
    const double left = (sample->ns - tn_cost_at_step(rest, sample->amounts, sample->step)) / sample->ns; // for the parts that are fitted
    double row[UNKNOWNS_MAX];
    for (uint32_t i = 0; i < eq->n; i++) row[i] = sample->amounts[eq->parts[i]] / sample->ns / eq->scale[i];
    for (uint32_t i = 0; i < eq->n; i++) {
        for (uint32_t j = 0; j < eq->n; j++) eq->matrix[i][j] += weight * row[i] * row[j];
        eq->right[i] += weight * row[i] * left;
    }
}

// Solves for the unknowns whose bits are in `set`, the others 0, by Cholesky's decomposition. False where they cannot be told apart, or one
// were negative.
static bool solve(const equations *eq, uint32_t set, double x[UNKNOWNS_MAX])
{
    uint32_t at[UNKNOWNS_MAX] = {0}, n = 0;
    double l[UNKNOWNS_MAX][UNKNOWNS_MAX] = {{0}}, y[UNKNOWNS_MAX];
    for (uint32_t i = 0; i < eq->n; i++) {
        x[i] = 0.0;
        if (set >> i & 1u) at[n++] = i;
    }
    for (uint32_t i = 0; i < n; i++) {
        y[i] = eq->right[at[i]];
        for (uint32_t j = 0; j <= i; j++) {
            double sum = eq->matrix[at[i]][at[j]];
            for (uint32_t k = 0; k < j; k++) sum -= l[i][k] * l[j][k];
            if (i == j && sum < 1e-9) return false;
            l[i][j] = i == j ? square_root(sum) : sum / l[j][j];
            if (j < i) y[i] -= l[i][j] * y[j];
        }
        y[i] /= l[i][i];
    }
    for (uint32_t i = n; i-- > 0;) {
        double sum = y[i];
        for (uint32_t k = i + 1; k < n; k++) sum -= l[k][i] * x[at[k]];
        x[at[i]] = sum / l[i][i];
        if (x[at[i]] < 0.0) return false;
    }
    return true;
}

// How much of the squares of the right side is explained: x'(2 right - matrix x).
static double explained(const equations *eq, const double x[UNKNOWNS_MAX])
{
    double sum = 0.0;
    for (uint32_t i = 0; i < eq->n; i++) {
        double product = 0.0;
        for (uint32_t j = 0; j < eq->n; j++) product += eq->matrix[i][j] * x[j];
        sum += x[i] * (2.0 * eq->right[i] - product);
    }
    return sum;
}

// Tries every set of unknowns that are not 0: there are few, and so the best one is sure to be found.
static void solve_best(const equations *eq, double best[UNKNOWNS_MAX])
{
    double x[UNKNOWNS_MAX], most = 0.0;
    memset(best, 0, UNKNOWNS_MAX * sizeof *best);
    for (uint32_t set = 1; set < 1u << eq->n; set++) {
        if (!solve(eq, set, x)) continue;
        const double gain = explained(eq, x);
        if (gain <= most) continue;
        most = gain;
        memcpy(best, x, sizeof x);
    }
}

// A sample's weight by how far off the table is: sums of weighted squares become sums of absolute errors, which outliers move little.
static double weight_of(const tn_cost_table *table, const tn_cost_sample *sample)
{
    const double off = tn_cost_at_step(table, sample->amounts, sample->step) / sample->ns - 1.0, error = off < 0.0 ? -off : off;
    return error > error_trusted ? error_trusted / error : 1.0;
}

static void fit_step(tn_cost_table *table, const tn_cost_table *rest, uint32_t parts, const tn_cost_sample *samples, uint32_t n_samples,
                     uint32_t step)
{
    equations eq = {.n = 0};
    double best[UNKNOWNS_MAX];
    uint32_t n_here = 0;
    find_unknowns(&eq, parts, samples, n_samples, step);
    for (uint32_t i = 0; i < n_samples; i++) n_here += samples[i].step == step;
    if (n_here < eq.n) return; // too few to tell them apart
    for (uint32_t round = 0; round < ROUNDS; round++) {
        memset(eq.matrix, 0, sizeof eq.matrix);
        memset(eq.right, 0, sizeof eq.right);
        for (uint32_t i = 0; i < n_samples; i++) {
            if (samples[i].step == step) add_sample(&eq, rest, &samples[i], round ? weight_of(table, &samples[i]) : 1.0);
        }
        solve_best(&eq, best);
        for (uint32_t i = 0; i < eq.n; i++) table->ns[eq.parts[i]][step] = best[i] / eq.scale[i];
    }
}

void tn_cost_fit(tn_cost_table *table, uint32_t parts, const tn_cost_sample *samples, uint32_t n_samples)
{
    tn_cost_table rest = *table;
    for (uint32_t p = 0; p < TN_COST_PARTS; p++) {
        if (parts >> p & 1u) memset(rest.ns[p], 0, sizeof rest.ns[p]);
    }
    for (uint32_t k = 0; k < TN_COST_STEPS; k++) fit_step(table, &rest, parts, samples, n_samples, k);
}

// Gives the one of two parts that was not measured what the other was.
static void complete_pair(tn_cost_table *table, uint32_t a, uint32_t b, uint32_t step)
{
    double *x = &table->ns[a][step], *y = &table->ns[b][step];
    if (*x <= 0.0)
        *x = *y;
    else if (*y <= 0.0)
        *y = *x;
}

void tn_cost_complete(tn_cost_table *table, uint32_t parts)
{
    for (uint32_t k = 0; k < TN_COST_STEPS; k++) {
        double sum = 0.0;
        for (uint32_t p = 0; p < TN_COST_PARTS; p++) sum += parts >> p & 1u ? table->ns[p][k] : 0.0;
        for (uint32_t p = 0; p < TN_COST_PARTS && sum <= 0.0 && k > 0; p++) {
            const double ratio = (double)tn_cost_step_sizes[k] / tn_cost_step_sizes[k - 1];
            if (parts >> p & 1u) table->ns[p][k] = table->ns[p][k - 1] * ratio;
        }
        if (parts >> TN_COST_TERNARY_NEAR & 1u) complete_pair(table, TN_COST_TERNARY_NEAR, TN_COST_TERNARY_FAR, k);
        if (parts >> TN_COST_ATTENTION_MANY & 1u) complete_pair(table, TN_COST_ATTENTION_MANY, TN_COST_ATTENTION_ONE, k);
        for (uint32_t p = TN_COST_HEADS_FIRST; p < TN_COST_PARTS; p += 3) {
            if (parts >> p & 1u) complete_pair(table, p + 1, p + 2, k);
        }
    }
}

tn_cost_link tn_cost_fit_link(const uint64_t *bytes, const double *ns, uint32_t n)
{
    equations eq = {.n = 2};
    double best[UNKNOWNS_MAX];
    for (uint32_t i = 0; i < n; i++) {
        eq.scale[0] += 1.0 / (ns[i] * ns[i]);
        eq.scale[1] += (double)bytes[i] * (double)bytes[i] / (ns[i] * ns[i]);
    }
    for (uint32_t i = 0; i < 2; i++) eq.scale[i] = square_root(eq.scale[i]);
    for (uint32_t s = 0; s < n; s++) {
        const double row[2] = {1.0 / ns[s] / eq.scale[0], (double)bytes[s] / ns[s] / eq.scale[1]};
        for (uint32_t i = 0; i < 2; i++) {
            for (uint32_t j = 0; j < 2; j++) eq.matrix[i][j] += row[i] * row[j];
            eq.right[i] += row[i];
        }
    }
    solve_best(&eq, best);
    const double ns_per_byte = best[1] / eq.scale[1];
    return (tn_cost_link){.latency_ns = best[0] / eq.scale[0], .bytes_per_s = ns_per_byte > 0.0 ? 1e9 / ns_per_byte : 0.0};
}

void tn_cost_note_error(tn_cost_table *table, uint32_t group, const tn_cost_sample *sample)
{
    const double ratio = tn_cost_at_step(table, sample->amounts, sample->step) / sample->ns;
    const double error = ratio > 1.0 ? ratio - 1.0 : 1.0 - ratio;
    if (error > table->error[group][sample->step]) table->error[group][sample->step] = error;
}
