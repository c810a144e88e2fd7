// A run of ternion compare: what its parts share.
#ifndef TERNION_TOOL_COMPARE_H
#define TERNION_TOOL_COMPARE_H

#include "bench_feed.h"
#include "energy.h"
#include "json_out.h"
#include "limits.h"
#include "profile.h"
#include "prompt.h"
#include "roofline.h"
#include "ternion/eval.h"

// Tokens of each sequence of the tests b1, b2 and so on: enough steps for a mean, few enough for one page of the KV cache.
#define TN_CLI_COMPARE_BATCH_GEN 16u
// The same for the prompts from which replies are compared.
#define TN_CLI_COMPARE_GREEDY_PROMPT 32u

// One measurement's worth of work.
typedef struct tn_cli_compare_test {
    char name[24]; // "pp512", "tg128", "b8"
    tn_cli_bench_test shape;
} tn_cli_compare_test;

typedef struct tn_cli_compare_subject {
    char name[64];
    char level[32]; // of kernels that the CPU must have; "": any
    bool is_placement;
    tn_cli_options options; // the verb's, with what this subject says of devices; borrowed but for `own`
    tn_cli_options own;     // flags of --placements
    char *text;             // that flags borrow from; owned
    tn_cli_engine engine;   // the model is the run's
    tn_device_info device;  // where one has the whole model
    bool is_single, failed, differs;
    uint64_t rss_before_bytes; // of the program when the session was made
    tn_cli_bench_feed feed;
    tn_session_costs costs;
    tn_cli_limits limits;
    tn_cli_energy meter;
    uint64_t *samples_ns;     // [n_tests][n_repetitions]
    double *samples_joule;    // the same; negative: not known
    tn_cli_profile *profiles; // [n_tests]
    json_t *json;             // its object in what is printed; owned
} tn_cli_compare_subject;

// Replies of the likeliest tokens.
typedef struct tn_cli_compare_replies {
    int32_t *tokens;  // [n_greedy_prompts][n_greedy]
    uint64_t *hashes; // [n_greedy_prompts + 1][n_greedy] of the rows of logits that chose them; the last: the first prompt's, alone
} tn_cli_compare_replies;

typedef struct tn_cli_compare {
    tn_cli *cli;
    tn_cli_engine engine; // the model alone
    tn_cli_prompt text;
    uint32_t n_chunks, n_context;        // parts of the text, and tokens of each
    uint32_t n_greedy, n_greedy_prompts; // tokens of each reply; replies
    tn_cli_compare_subject *subjects;
    size_t n_subjects;
    tn_cli_compare_test *tests;
    size_t n_tests;
    uint32_t n_repetitions, n_positions_max, n_seqs_max, n_rows_max;
    uint64_t kv_bytes, rss_bytes;  // rss: of the program with the model open and nothing else
    tn_cli_compare_replies greedy; // of the reference
    char emulated[32];             // a device that emulates a GPU and was not named, so that it is left out; "": there is none
    bool interleaved;              // all sessions are open at a time
    json_t *machine;
    json_t *externals;     // rows of what other programs wrote
    size_t *baseline_rows; // [files of --baseline] the first row of each in `externals`
    size_t n_baselines_failed;
    bool interrupted; // by Ctrl-C: what is known is printed
} tn_cli_compare;

// Those that return int return 0, or the exit status after a message: of what ends the run. A subject that cannot go on is marked with
// tn_cli_compare_failed, and its row says why.

// ---- compare_subject.c, compare_open.c ----

// Rows for --backends and --placements, or for what this machine has.
int tn_cli_compare_subjects(tn_cli_compare *job);
void tn_cli_compare_subject_deinit(tn_cli_compare_subject *subject);
// Host, placement, and what they are: `device`, `placement`, `limits` and `energy` of the row.
int tn_cli_compare_prepare(tn_cli_compare *job, tn_cli_compare_subject *subject);
// Its session, with room for all that is measured.
int tn_cli_compare_start(tn_cli_compare *job, tn_cli_compare_subject *subject);
// Closes the session and what is below it.
void tn_cli_compare_stop(tn_cli_compare_subject *subject);
// After a call that returned `rc`, not 0: 0 where the subject failed and its row now says why, else what ends the run.
int tn_cli_compare_failed(tn_cli_compare_subject *subject, int rc);
// Marks the row without a message of the library.
void tn_cli_compare_fail(tn_cli_compare_subject *subject, const char *reason);

// ---- compare_text.c, compare_accuracy.c, compare_greedy.c, compare_replies.c, compare_baseline.c ----

// What the text is cut into; before any session is made.
int tn_cli_compare_read_text(tn_cli_compare *job);
// The tokens [n_context] of a part; a text begins with the model's token for it where it has one.
void tn_cli_compare_take_chunk(const tn_cli_compare *job, uint32_t chunk, int32_t *tokens);
// Appends tokens to sequence 0, with the logits of all. `wanted` [n]: all 1.
int tn_cli_compare_decode(tn_cli_compare *job, tn_cli_compare_subject *subject, const int32_t *tokens, uint32_t n, const uint8_t *wanted);
// Whether the logits at this position of a part are scored: the second half is, for which there is enough before it.
static inline bool tn_cli_compare_is_scored(const tn_cli_compare *job, uint32_t position)
{
    return position >= job->n_context / 2 && position + 1 < job->n_context;
}
json_t *tn_cli_compare_accuracy_json(const tn_eval_stats *stats, uint64_t hash, bool has_base, bool differs);
// The subject through the text, beside the reference where it is not itself the reference.
int tn_cli_compare_accuracy(tn_cli_compare *job, tn_cli_compare_subject *reference, tn_cli_compare_subject *subject);
// Where a prompt for replies begins in the text: at even distances.
static inline size_t tn_cli_compare_prompt_begin(const tn_cli_compare *job, uint32_t prompt)
{
    return (job->text.n_tokens - TN_CLI_COMPARE_GREEDY_PROMPT) * prompt / job->n_greedy_prompts;
}
// Replies of all prompts side by side, then of the first one alone, into `out`, in the place of what it had: those of a
// reference that failed.
int tn_cli_compare_greedy(tn_cli_compare *job, tn_cli_compare_subject *subject, tn_cli_compare_replies *out);
void tn_cli_compare_replies_deinit(tn_cli_compare_replies *replies);

// Refuses files of --baseline that are of no known kind.
int tn_cli_compare_check_baselines(const tn_cli_compare *job);
// Rows of the files of --baseline, but for the accuracy; before anything is measured, so that a wrong file costs nothing. The text must
// have been read.
int tn_cli_compare_read_baselines(tn_cli_compare *job);
// Their accuracy. A row that cannot be compared has failed.
int tn_cli_compare_baselines(tn_cli_compare *job, tn_cli_compare_subject *reference);

// ---- compare_speed.c, compare_figures.c ----

int tn_cli_compare_plan_tests(tn_cli_compare *job);
// Measures all tests of those of `list` that did not fail, each repetition of all of them in turn.
int tn_cli_compare_speed(tn_cli_compare *job, tn_cli_compare_subject *const *list, size_t n);
// `speed`, `ops` and `memory` of the row.
int tn_cli_compare_put_figures(tn_cli_compare *job, tn_cli_compare_subject *subject);

// ---- compare_machine.c ----

// {"cpu", "n_cores", ...}: what can be known before anything is measured. NULL without memory.
json_t *tn_cli_compare_machine(const tn_host *host);
// Adds what was found after all.
void tn_cli_compare_machine_after(json_t *machine);
// VmRSS or VmHWM of this program; 0: unknown.
uint64_t tn_cli_compare_memory(const char *field);
// Lets VmHWM begin anew; false where the system does not.
bool tn_cli_compare_memory_reset(void);

// ---- compare_table.c ----

// The object as people read it.
int tn_cli_compare_print_table(const json_t *comparison);

#endif
