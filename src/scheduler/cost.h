// What a unit of a model costs on a device: tables of measured times, prediction by them, and how real runs improve them. Pure.
//
// A table says, for steps of 1, 4, 16, 64 and 256 tokens, what each part of a step takes: a layer however small it is, an element of its
// ternary matrices, and so on. Times of units are sums of parts; those of a segment are its units' and one submit's.
#ifndef TN_SCHEDULER_COST_H
#define TN_SCHEDULER_COST_H

#include "base/str.h"
#include "graph/op.h"

enum { TN_COST_STEPS = 5, TN_COST_HEADS = 4 };
extern const uint32_t tn_cost_step_sizes[TN_COST_STEPS]; // ascending, from 1

// Types of dense matrices by how devices multiply them.
typedef enum tn_cost_head { TN_COST_HEAD_Q8_0, TN_COST_HEAD_Q6_K, TN_COST_HEAD_OTHER, TN_COST_HEAD_FLOAT } tn_cost_head;
tn_cost_head tn_cost_head_of(tn_dtype dtype);
const char *tn_cost_head_name(tn_cost_head head); // "q8_0", "q6_k", "quantised", "float"

// Nanoseconds of a whole step, for each of what is named. Near: where the weights that the device has stay in its last cache; far: where
// each step reads them from memory.
typedef enum tn_cost_part {
    TN_COST_SUBMIT,         // a submit, whatever it runs
    TN_COST_LAYER,          // a layer, however small
    TN_COST_TERNARY_NEAR,   // an element of a ternary matrix
    TN_COST_TERNARY_FAR,    //
    TN_COST_VALUES,         // an element a token of what a layer's other ops store
    TN_COST_ATTENTION_MANY, // a position, in chunks of 128, times the width of all heads, where every token has a sequence of its own
    TN_COST_ATTENTION_ONE,  // and where all are of one sequence
    TN_COST_EMBED,          // the embedding, however small
    TN_COST_EMBED_VALUES,   // an element of a row of it
    TN_COST_HEADS_FIRST,    // by tn_cost_head: the head however small, an element of its matrix near, and far
    TN_COST_PARTS = TN_COST_HEADS_FIRST + 3 * TN_COST_HEADS,
} tn_cost_part;

// Parts that are measured, and corrected, together.
enum { TN_COST_GROUP_LAYER, TN_COST_GROUP_EMBED, TN_COST_GROUP_HEADS_FIRST, TN_COST_GROUPS = TN_COST_GROUP_HEADS_FIRST + TN_COST_HEADS };

// Matrices whose weights are read from memory, as far as no cache holds them: ternary ones, and heads by tn_cost_head.
enum { TN_COST_READER_TERNARY, TN_COST_READER_HEADS_FIRST, TN_COST_READERS = TN_COST_READER_HEADS_FIRST + TN_COST_HEADS };

typedef struct tn_cost_link {
    double latency_ns, bytes_per_s; // 0 bytes/s: not known
} tn_cost_link;

typedef struct tn_cost_table {
    double ns[TN_COST_PARTS][TN_COST_STEPS];
    double correction[TN_COST_GROUPS][TN_COST_STEPS]; // by what real runs showed: factors, 1 where none did
    double error[TN_COST_GROUPS][TN_COST_STEPS];      // |predicted / measured - 1| of shapes that were not fitted; -1: not known
    // What far weights take, as factors of 1 or more, while the host's other devices read the same memory at the same time.
    double together[TN_COST_READERS][TN_COST_STEPS];
    uint32_t n_together;       // devices that read at once when these were measured; 0: they were not, and are 1
    double memory_bytes_per_s; // reading weights beyond the caches; 0: not known
    tn_cost_link to_device, to_host;
    uint64_t cache_bytes;   // of the last cache; 0: not known, and weights are taken to be far
    uint64_t measured_at_s; // of the calendar, since 1970
    uint32_t n_observed;    // real steps that corrected it
} tn_cost_table;

typedef enum tn_cost_unit { TN_COST_UNIT_EMBED, TN_COST_UNIT_LAYER, TN_COST_UNIT_HEAD } tn_cost_unit;

// What a unit of a model does, however it is placed.
typedef struct tn_cost_work {
    tn_cost_unit unit;
    bool has_relu2;          // its gates are squared ReLUs: devices may leave products out of steps of few tokens, which is not predicted
    tn_dtype head_type;      // of the embedding or the head
    uint64_t n_ternary;      // elements of ternary matrices
    uint64_t n_dense;        // of the head's matrix
    uint64_t n_values;       // elements a token that ops other than products and attention store
    uint64_t n_attention;    // heads x head_dim
    uint64_t weight_bytes;   // about: ternary weights at 2 bits, dense ones as in the file
    uint64_t resident_bytes; // weights that a step reads on the device, these and those of other units: whether they stay in a cache
} tn_cost_work;

typedef struct tn_cost_step {
    uint32_t n_tokens, n_logits;
    uint32_t n_seqs;      // that the tokens are of: between 1 (a prompt) and n_tokens (a reply of each)
    uint32_t n_positions; // that a token sees, on average
} tn_cost_step;

// A table with no times, no corrections, errors not known.
void tn_cost_table_init(tn_cost_table *table);

// ---- prediction ----

// The works of a graph's units: out[0] the embedding, out[1 + i] layer i, out[1 + n_layers] the head; resident_bytes are those of the whole
// model, for a device that has it all. Errors: INVALID_ARGUMENT (sizes beyond any model's).
tn_status tn_cost_works(const tn_graph *graph, tn_cost_work *out);
// Time of a unit within a submit; never less for more tokens, rows of logits or positions. Between the sizes of steps, and above them, a
// straight line. Steps of no tokens, and heads of steps without logits, take none.
double tn_cost_unit_ns(const tn_cost_table *table, const tn_cost_work *work, const tn_cost_step *step);
// What a submit takes beside its units.
double tn_cost_submit_ns(const tn_cost_table *table, const tn_cost_step *step);
// One submit of several units on one device.
double tn_cost_segment_ns(const tn_cost_table *table, const tn_cost_work *works, uint32_t n_works, const tn_cost_step *step);
// Carrying bytes from one device's memory to another's by way of the host's.
double tn_cost_hop_ns(const tn_cost_table *from, const tn_cost_table *to, uint64_t bytes);

// ---- fit ----

// A submit that was timed: what it was made of, as tn_cost_amounts has it, in a step of size index `step`.
typedef struct tn_cost_sample {
    double amounts[TN_COST_PARTS];
    uint32_t step;
    double ns;
} tn_cost_sample;

// Adds to amounts[] what a unit has of each part, in steps whose tokens are spread over sequences, and see positions, as the step's do.
void tn_cost_add_amounts(const tn_cost_work *work, const tn_cost_step *step, uint64_t cache_bytes, double amounts[TN_COST_PARTS]);
// Sets the parts of `parts` (bits 1 << part) from samples, for each step size that has at least as many of them as they have parts; the
// table's other parts are taken as they are.
// Times are not negative, and the sum of relative errors is about the least that there is, so that a disturbed sample among many does
// little. What no sample of a step size has is left to tn_cost_complete.
void tn_cost_fit(tn_cost_table *table, uint32_t parts, const tn_cost_sample *samples, uint32_t n_samples);
// Fills in what was not measured of `parts`: near as far and far as near, and step sizes without samples in proportion to their tokens.
void tn_cost_complete(tn_cost_table *table, uint32_t parts);
// A link from transfers of several sizes: a latency, and a time for each byte.
tn_cost_link tn_cost_fit_link(const uint64_t *bytes, const double *ns, uint32_t n);
// Keeps the larger one of the group's error there and that of a sample that was not fitted.
void tn_cost_note_error(tn_cost_table *table, uint32_t group, const tn_cost_sample *sample);

// ---- devices that share memory ----

// Submits that read far weights, one for each reader and step size: alone, and while other devices did the same. 0 ns: not measured.
typedef struct tn_cost_together {
    tn_cost_sample alone[TN_COST_READERS][TN_COST_STEPS];
    double together_ns[TN_COST_READERS][TN_COST_STEPS];
} tn_cost_together;

// Sets the table's factors, with `n_devices` that read at once: what a submit takes longer is put down to its far weights, as much of it as
// the table says that they are. A step takes at least what the smaller one before it does, and no more is added to it, since both read the
// same; that is all that is known of step sizes that were not measured.
void tn_cost_set_together(tn_cost_table *table, const tn_cost_together *measured, uint32_t n_devices);
// The table of a device beside which the others work: far weights take what the factors say.
tn_cost_table tn_cost_shared(const tn_cost_table *table);

// ---- refinement ----

// Takes a real submit's time into account: the corrections of the groups that it has move an eighth of the way, each as far as it has part
// in the time; between two step sizes both do. They stay within a factor of 4. Times that are not positive are ignored.
void tn_cost_observe(tn_cost_table *table, const tn_cost_work *works, uint32_t n_works, const tn_cost_step *step, double measured_ns);

// ---- text ----

// The table as lines of text, with `key` in it (one line: what the times are of) and a checksum. Numbers keep every bit. Errors:
// OUT_OF_MEMORY, INVALID_ARGUMENT (a key of several lines).
tn_status tn_cost_write(const tn_cost_table *table, const char *key, tn_text *out);
// Errors: BAD_FILE (damaged, or of another version), NOT_FOUND (of another key).
tn_status tn_cost_read(tn_str text, const char *key, tn_cost_table *out_table);

#endif
