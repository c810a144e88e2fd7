// Tokens in, logits out: a model on devices with a KV cache for one or more sequences.
#ifndef TERNION_SESSION_H
#define TERNION_SESSION_H

#include "ternion/placement.h"

#ifdef __cplusplus
extern "C" {
#endif

// One thread at a time.
typedef struct tn_session tn_session;

// One stored row of an op, as numerics tests and --trace want it: `row` has n values, -0 stored as +0.
typedef struct tn_trace {
    void (*row)(void *user, uint32_t seq, uint32_t position, const char *op, const float *row, size_t n); // NULL: no trace
    void *user;
} tn_trace;

typedef struct tn_session_params {
    uint32_t struct_size;
    const tn_placement *placement; // borrowed until the session is destroyed; NULL: everything on the first device
    uint32_t n_ctx;                // positions per sequence; 0: the model's context length
    uint32_t n_ubatch;             // tokens per step on a device; 0: 512, or fewer where a device takes fewer (tn_session_info says)
    uint32_t n_seqs_max;           // sequences at a time; 0: 1
    uint32_t n_logits_max;         // rows of logits per tn_session_decode; 0: n_seqs_max
    tn_trace trace;                // slows everything down
    tn_log log;
    tn_progress progress; // packing of weights, compiling of shaders
    bool profile;         // add up where time goes, for tn_session_profile: some microseconds a step
    // Type of the output head where the file's is F32, F16 or BF16: "q8_0" or "q6_k" quantise it as it is packed; NULL or "keep": as in the
    // file. A tied embedding is quantised with it. The logits are then those of a file that was converted with such a head, bit for bit,
    // and not those of this file.
    const char *head;
    // Folder in which packed weights are kept, so that later sessions of the same model map them; made where it is missing. NULL: they are
    // not kept. Whatever happens to the folder or in it, the session is made; a damaged file is warned of and written again.
    const char *pack_cache;
    uint64_t pack_cache_bytes_min; // smaller weights are not kept; 0: 64 MiB
    uint64_t pack_cache_bytes_max; // of all files in the folder: the least recently used go; 0: no limit
    // A copy of 8 bits beside an output head of F32, F16 or BF16, by which batches that say n_top compute only the rows of the head that
    // can be among the best; exactly, so with the same tokens. NULL or "off": there is none; "on"; "auto": for heads of 1 MiB and
    // more, and it is left unused where it spares too little. It takes 0.56 bytes a value of the head (tn_session_get_two_stage).
    const char *two_stage;
    // Memory of the KV cache, rounded down to whole pages of 128 positions and shared by all sequences: a step for which no page is left
    // fails with LIMIT. 0: n_seqs_max sequences of n_ctx positions (tn_session_kv_bytes).
    uint64_t kv_bytes;
    bool may_shrink_ubatch; // n_ubatch is a wish: fewer where a device takes fewer of this model
    // Steps that may be in flight at a time, so that the devices of a model that is split over several work side by side: of a batch of
    // more than n_ubatch tokens, or of sequences that a batcher has in several lanes. Each takes memory for a step's values at the borders
    // between devices and for its rows of logits. At most 64; 0: one more than the placement has segments, or 1 where it has one; 1 with a
    // trace.
    uint32_t n_lanes;
    uint32_t replica; // of the placement: which copy of the model this session is
    // NULL or "exact": logits have the same bits on every device. "fast": devices may round an output head of F32, F16 or BF16 otherwise,
    // by fused multiply-adds and tensor cores, and logits differ in their last bits from device to device and step to step; all else is
    // exact. It is a permission: CPUs and Vulkan devices compute as ever.
    const char *numerics;
    // A device that is lost, or has too little memory, is an error. Otherwise the session goes on on others, with the same logits: of the
    // placement's list those that are left, else all that can be used, at last the CPU. It computes its sequences again from their
    // tokens; the log says so, as a warning.
    bool no_recovery;
} tn_session_params;
#define TN_SESSION_PARAMS_INIT TN_PARAMS_INIT(tn_session_params)

// Tokens to append, each at the next position of its sequence.
typedef struct tn_batch {
    uint32_t struct_size;
    uint32_t n_tokens;
    const int32_t *tokens; // [n_tokens]
    const uint32_t *seqs;  // [n_tokens], below n_seqs_max; NULL: all in sequence 0
    const uint8_t *logits; // [n_tokens], non-zero where a row of logits is wanted; NULL: for the last token of each sequence
    tn_progress progress;  // long prompts
    // How many of the best logits of a token's row will be looked at, best as samplers rank them, among ids below n_top_ids (0: all);
    // tn_sampler_n_top says it. The session may then store -INFINITY for ids that are not among them; all other values are exact. 0: the
    // whole row; NULL: all rows whole.
    const uint32_t *n_top; // [n_tokens]
    uint32_t n_top_ids;
} tn_batch;
#define TN_BATCH_INIT TN_PARAMS_INIT(tn_batch)

// What became of tn_session_params.pack_cache.
typedef enum tn_pack_cache_use {
    TN_PACK_CACHE_NONE,    // not asked for, too small, or the model was changed within the last two seconds
    TN_PACK_CACHE_MAPPED,  // an earlier session's packed weights are in use (of one device at least)
    TN_PACK_CACHE_WRITTEN, // the next session can map them
    TN_PACK_CACHE_FAILED,  // they could not be written; the log says why
} tn_pack_cache_use;

typedef struct tn_session_info {
    uint64_t weights_bytes, kv_bytes, scratch_bytes; // over all devices
    uint32_t n_ctx, n_ubatch, n_seqs_max, n_logits_max, n_vocab;
    uint32_t n_lanes; // tn_session_params.n_lanes as it came out
} tn_session_info;

// What tokens cost, by the sizes of the model and of its packed weights: how much memory a step reads at least, and how many products it
// makes. Weights that a session skips by the values of activations are counted as if it did not.
typedef struct tn_session_costs {
    uint32_t struct_size;
    // Read once a step, however many tokens it has.
    uint64_t ternary_bytes; // packed ternary weights with their scales
    uint64_t head_bytes;    // the output head, in steps that compute logits; without a copy for two stages
    uint64_t other_bytes;   // gains of norms
    // Read for each token.
    uint64_t token_bytes;       // its rows of the embedding and of the RoPE table
    uint64_t kv_position_bytes; // for each position that it sees, its own too: keys and values of all layers
    // Products of int8 values, an addition with each.
    uint64_t ternary_products;   // a token
    uint64_t head_products;      // a row of logits; 0 where the head is multiplied as floating-point values
    uint64_t attention_products; // int16: for each token and position that it sees
    // Names of the layouts in use, by commas: "t2_16".
    char ternary_layout[64], head_layout[64];
} tn_session_costs;
#define TN_SESSION_COSTS_INIT TN_PARAMS_INIT(tn_session_costs)

// What the copy that tn_session_params.two_stage asks for takes, and what it did since the session was created.
typedef struct tn_two_stage_info {
    uint32_t struct_size;
    uint64_t bytes;   // of tn_session_info.weights_bytes; 0: there is no copy
    uint64_t n_rows;  // rows of logits that were computed in two stages
    uint64_t n_kept;  // logits that the second stage computed for them, of n_vocab a row
    uint64_t n_whole; // rows that said n_top and were computed whole: many at a time, many of the best wanted, or too little was spared
} tn_two_stage_info;
#define TN_TWO_STAGE_INFO_INIT TN_PARAMS_INIT(tn_two_stage_info)

// Packs the weights and reserves all memory: tn_session_decode allocates nothing, but on Vulkan devices, where the first step of each kind
// (of one token, of up to 8, of more, with copies of pages) is recorded then.  `params` NULL: defaults. Returns
// owned. Borrows `model` and `host` until destroyed.  Errors: INVALID_ARGUMENT, UNSUPPORTED (an op that a device lacks), OUT_OF_MEMORY,
// BAD_FILE, IO, CANCELLED.
TN_NODISCARD TN_API tn_status tn_session_create(const tn_model *model, tn_host *host, const tn_session_params *params,
                                                tn_session **out_session);
TN_API void tn_session_destroy(tn_session *session);
TN_API tn_pack_cache_use tn_session_pack_cache(const tn_session *session);
TN_API void tn_session_get_info(const tn_session *session, tn_session_info *out_info);
// Fills the fields that the caller's version of the struct has; its struct_size must be set.  Errors: INVALID_ARGUMENT.
TN_NODISCARD TN_API tn_status tn_session_get_costs(const tn_session *session, tn_session_costs *out_costs);
// The same way.
TN_NODISCARD TN_API tn_status tn_session_get_two_stage(const tn_session *session, tn_two_stage_info *out_info);

// Appends the tokens to their sequences and computes the wanted logits. Bits do not depend on how tokens are cut into calls or steps, on
// the other sequences, on threads, ISA or devices.  On error before any step nothing was appended; a failing step leaves the lengths as
// before it. Errors: INVALID_ARGUMENT (token or sequence out of range, more rows wanted than n_logits_max), LIMIT (a sequence would pass
// n_ctx), CANCELLED, IO, DEVICE_LOST and OUT_OF_MEMORY (of a device, where no other can take over or params.no_recovery is set), POISON (at
// least one sequence was poisoned; see tn_session_seq_status; rows of the other sequences are valid).
TN_NODISCARD TN_API tn_status tn_session_decode(tn_session *session, const tn_batch *batch);
// Row `index` of the last decode's wanted logits, in batch order: n_vocab values, valid until the next decode; see tn_batch.n_top. NULL
// where there is none.
TN_API const float *tn_session_logits(const tn_session *session, uint32_t index);
// TN_OK, or TN_POISON for a sequence in which a value left the exact mode's range (tn_error_last says where); tn_session_seq_truncate to 0
// heals it.
TN_API tn_status tn_session_seq_status(const tn_session *session, uint32_t seq);
TN_API uint32_t tn_session_seq_length(const tn_session *session, uint32_t seq);
// Forgets all positions of `seq` from `length` on.  Errors: INVALID_ARGUMENT.
TN_NODISCARD TN_API tn_status tn_session_seq_truncate(tn_session *session, uint32_t seq, uint32_t length);
// Makes the empty sequence `to` the first `length` positions of `from`. Their pages are shared; a page is copied when one of them writes
// into it.  Errors: INVALID_ARGUMENT (`to` is not empty, `from` is shorter), POISON (`from` is poisoned).
TN_NODISCARD TN_API tn_status tn_session_seq_copy(tn_session *session, uint32_t to, uint32_t from, uint32_t length);
// The memory of a KV cache for `n_seqs` sequences of `n_ctx` positions each, all pages their own.  Errors: INVALID_ARGUMENT (the model was
// opened without its graph, or no memory is that large).
TN_NODISCARD TN_API tn_status tn_session_kv_bytes(const tn_model *model, uint32_t n_ctx, uint32_t n_seqs, uint64_t *out_bytes);

// Where the time of a session's steps went since it was created or tn_session_profile_reset.
typedef struct tn_session_profile_totals {
    uint32_t struct_size;
    uint64_t n_steps;
    uint64_t n_barriers, barrier_wait_ns; // places where the threads of a device met, and what one of them waited there
    uint64_t step_ns;                     // all: computing, waiting, and handing work to the devices
    // Of steps that leave out what squared ReLU makes 0 (tn_host_params.cpu_skip), over layers and steps: neurons, and those that are 0 for
    // all tokens of their step because their gate is not above 0, or because their code before down is 0.
    uint64_t n_gates, n_gates_zero, n_codes, n_codes_zero;
} tn_session_profile_totals;
#define TN_SESSION_PROFILE_TOTALS_INIT TN_PARAMS_INIT(tn_session_profile_totals)

// One op of the model.
typedef struct tn_session_profile_entry {
    const char *op;        // "matmul_ternary"
    const char *name;      // of its weight, "blk.3.ffn_up.weight"; "" where it has none
    int32_t layer;         // -1: the embedding; the number of layers: the head
    uint64_t ns;           // over all steps
    uint64_t weight_bytes; // that a step reads, counted dense; of look-ups in tables none
    const char *layout;    // of the weight; "" where it has none
} tn_session_profile_entry;

// Fills the totals and tells each op in order; strings are borrowed from the session and the model. `told` may be NULL.
// Errors: INVALID_ARGUMENT (the session was created without `profile`).
TN_NODISCARD TN_API tn_status tn_session_profile(const tn_session *session, tn_session_profile_totals *out_totals,
                                                 void (*told)(void *user, const tn_session_profile_entry *entry), void *user);
TN_API void tn_session_profile_reset(tn_session *session);

#ifdef __cplusplus
}
#endif
#endif
