// Sessions whose model is split over devices at will, with decodes of several lanes in flight, against one device that decodes each history
// of tokens alone: the same bits.
#pragma once

#include "support/run_model.hpp"

#include <array>
#include <cstring>
#include <vector>

extern "C" {
#include "runtime/placement_internal.h"
#include "runtime/session_internal.h"
}

namespace tn_test
{

using Tokens = std::vector<int32_t>;

// The model of all tests here, and what one CPU device makes of a history: the logits behind its last token.
class LanesOracle
{
  public:
    static LanesOracle &get()
    {
        static LanesOracle oracle;
        return oracle;
    }
    const std::vector<float> &logits_behind(const Tokens &history)
    {
        std::vector<float> &logits = known_[history];
        if (!logits.empty()) return logits;
        size_t same = 0; // as the history before
        while (same < last_.size() && same + 1 < history.size() && last_[same] == history[same]) same++;
        EXPECT_EQ(tn_session_seq_truncate(session_, 0, static_cast<uint32_t>(same)), TN_OK) << tn_error_last()->message;
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(history.size() - same);
        batch.tokens = history.data() + same;
        EXPECT_EQ(tn_session_decode(session_, &batch), TN_OK) << tn_error_last()->message;
        last_ = history;
        const float *row = tn_session_logits(session_, 0);
        logits.assign(row, row + n_vocab());
        return logits;
    }
    tn_model *model() const { return model_; }
    uint32_t n_units() const
    {
        tn_model_info info;
        tn_model_get_info(model_, &info);
        return info.n_layers + 2;
    }
    uint32_t n_vocab() const
    {
        tn_session_info info;
        tn_session_get_info(session_, &info);
        return info.n_vocab;
    }

  private:
    LanesOracle()
    {
        EXPECT_EQ(tn_model_open(default_model().c_str(), nullptr, &model_), TN_OK) << tn_error_last()->message;
        EXPECT_EQ(tn_host_open(nullptr, &host_), TN_OK);
        EXPECT_EQ(tn_session_create(model_, host_, nullptr, &session_), TN_OK) << tn_error_last()->message;
    }
    ~LanesOracle()
    {
        tn_session_destroy(session_);
        tn_host_close(host_);
        tn_model_close(model_);
    }
    tn_model *model_ = nullptr;
    tn_host *host_ = nullptr;
    tn_session *session_ = nullptr;
    std::map<Tokens, std::vector<float>> known_;
    Tokens last_;
};

// The model of all tests here with its units where they are told to be. A device is named because what chooses among several measures them
// first.
inline tn_placement *place(tn_host *host, const std::vector<uint32_t> &units)
{
    tn_placement *placement = nullptr;
    tn_placement_params params = TN_PLACEMENT_PARAMS_INIT;
    params.devices = "cpu0";
    EXPECT_EQ(tn_placement_create(LanesOracle::get().model(), host, &params, &placement), TN_OK) << tn_error_last()->message;
    if (placement) std::copy(units.begin(), units.end(), placement->devices);
    return placement;
}

// A session with its sequences' histories. Failures are fatal test failures where they leave nothing to go on with.
class LanesSession
{
  public:
    enum { N_SEQS = 6, N_UBATCH = 16 };

    // units: the device of the embedding, of each layer and of the head.
    LanesSession(tn_host *host, const std::vector<uint32_t> &units, uint32_t n_lanes) : histories(N_SEQS)
    {
        placement_ = place(host, units);
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.placement = placement_;
        params.n_ctx = 320;
        params.n_seqs_max = N_SEQS;
        params.n_ubatch = N_UBATCH;
        params.n_lanes = n_lanes;
        params.no_recovery = true; // failures are wanted
        EXPECT_EQ(tn_session_create(LanesOracle::get().model(), host, &params, &session), TN_OK) << tn_error_last()->message;
    }
    ~LanesSession()
    {
        tn_session_destroy(session);
        tn_placement_destroy(placement_);
    }
    LanesSession(const LanesSession &) = delete;
    LanesSession &operator=(const LanesSession &) = delete;

    // Appends to one sequence by tn_session_decode; what is left of it after a failure can be appended again.
    tn_status decode(uint32_t seq, const Tokens &tokens, const tn_progress &progress = {})
    {
        const std::vector<uint32_t> seqs(tokens.size(), seq);
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(tokens.size());
        batch.tokens = tokens.data();
        batch.seqs = seqs.data();
        batch.progress = progress;
        const uint32_t before = tn_session_seq_length(session, seq);
        const tn_status status = tn_session_decode(session, &batch);
        const uint32_t n = tn_session_seq_length(session, seq) - before;
        EXPECT_TRUE(n == tokens.size() || (status != TN_OK && n < tokens.size() && n % N_UBATCH == 0)) << n;
        histories[seq].insert(histories[seq].end(), tokens.begin(), tokens.begin() + n);
        return status;
    }
    void copy(uint32_t to, uint32_t from, uint32_t length)
    {
        ASSERT_EQ(tn_session_seq_copy(session, to, from, length), TN_OK) << tn_error_last()->message;
        histories[to].assign(histories[from].begin(), histories[from].begin() + length);
    }
    void truncate(uint32_t seq, uint32_t length)
    {
        ASSERT_EQ(tn_session_seq_truncate(session, seq, length), TN_OK) << tn_error_last()->message;
        histories[seq].resize(length);
    }
    // A token for each of the sequences, in flight.
    tn_status start(uint32_t lane, const std::vector<uint32_t> &seqs, const Tokens &tokens)
    {
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(tokens.size());
        batch.tokens = tokens.data();
        batch.seqs = seqs.data();
        const tn_status status = tn_session_start(
            session, lane, &batch, [](void *user) { __atomic_add_fetch(static_cast<uint32_t *>(user), 1, __ATOMIC_RELAXED); }, &n_done);
        if (status == TN_OK) in_flight_.at(lane) = {seqs, tokens};
        return status;
    }
    // What failed has changed nothing.
    tn_status finish(uint32_t lane)
    {
        const auto [seqs, tokens] = in_flight_.at(lane);
        const tn_status status = tn_session_finish(session, lane);
        for (size_t i = 0; i < seqs.size() && status == TN_OK; i++) histories[seqs[i]].push_back(tokens[i]);
        for (uint32_t seq : seqs) EXPECT_EQ(tn_session_seq_length(session, seq), histories[seq].size());
        for (size_t i = 0; i < seqs.size() && status == TN_OK; i++)
            expect_row(tn_session_lane_logits(session, lane, static_cast<uint32_t>(i)), seqs[i]);
        return status;
    }
    // The last row of seq's.
    void expect_row(const float *row, uint32_t seq) const
    {
        const std::vector<float> &want = LanesOracle::get().logits_behind(histories[seq]);
        ASSERT_NE(row, nullptr);
        EXPECT_EQ(memcmp(row, want.data(), want.size() * sizeof(float)), 0) << "sequence " << seq << " at " << histories[seq].size();
    }

    tn_session *session = nullptr;
    std::vector<Tokens> histories;
    uint32_t n_done = 0;

  private:
    tn_placement *placement_ = nullptr;
    std::array<std::pair<std::vector<uint32_t>, Tokens>, 64> in_flight_;
};

inline Tokens some_tokens(uint32_t seed, uint32_t n)
{
    Tokens tokens;
    for (uint32_t i = 0; i < n; i++) tokens.push_back(static_cast<int32_t>((seed * 977u + i * 7919u) % 4000u));
    return tokens;
}

// Prompts of several steps, then rounds in which all lanes are in flight; sequences share pages, are copied, truncated and begun meanwhile.
// Steps that fail are tried again: `n_failed` of them did.
inline void run_lanes(LanesSession &s, uint32_t n_prompt, uint32_t n_rounds, uint32_t *n_failed)
{
    const uint32_t n_lanes = tn_session_n_lanes(s.session);
    const Tokens prompt = some_tokens(1, n_prompt);
    while (s.histories[0].size() < n_prompt) {
        const Tokens left(prompt.begin() + static_cast<long>(s.histories[0].size()), prompt.end());
        const tn_status status = s.decode(0, left);
        if (status != TN_OK) ++*n_failed;
        ASSERT_TRUE(status == TN_OK || *n_failed < 100);
    }
    s.expect_row(tn_session_logits(s.session, 0), 0);
    s.copy(1, 0, n_prompt); // its page is shared: who writes first goes on in a copy
    s.copy(2, 0, n_prompt - 5);
    s.copy(4, 0, n_prompt);
    while (s.decode(3, some_tokens(2, 5)) != TN_OK) ++*n_failed;
    for (uint32_t round = 0; round < n_rounds; round++) {
        // Sequence 4 stays as it is until the end, to be copied while others are in flight; 5 comes and goes.
        std::vector<uint32_t> running = {0, 1, 2, 3};
        if (!s.histories[5].empty()) running.push_back(5);
        if (round + 1 == n_rounds) running.push_back(4);
        std::vector<std::vector<uint32_t>> seqs(n_lanes);
        for (uint32_t seq : running) seqs[(seq + round) % n_lanes].push_back(seq);
        std::vector<Tokens> tokens(n_lanes);
        for (uint32_t lane = 0; lane < n_lanes; lane++) {
            for (uint32_t seq : seqs[lane]) tokens[lane].push_back(some_tokens(100 + 7 * seq + round, 1)[0]);
        }
        std::vector<uint32_t> waiting;
        for (uint32_t i = 0; i < n_lanes; i++) {
            const uint32_t lane = (i + round) % n_lanes;
            if (seqs[lane].empty()) continue;
            ASSERT_EQ(s.start(lane, seqs[lane], tokens[lane]), TN_OK) << tn_error_last()->message;
            waiting.push_back(lane);
            EXPECT_EQ(tn_session_seq_truncate(s.session, seqs[lane][0], 0), TN_INVALID_ARGUMENT);
        }
        if (round % 3 == 0 && round + 1 < n_rounds) s.copy(5, 4, n_prompt - round);
        while (!waiting.empty()) {
            const size_t i = (round + waiting.size()) % waiting.size();
            const uint32_t lane = waiting[i];
            waiting.erase(waiting.begin() + static_cast<long>(i));
            if (s.finish(lane) == TN_OK) continue;
            ASSERT_LT(++*n_failed, 100u);
            ASSERT_EQ(s.start(lane, seqs[lane], tokens[lane]), TN_OK) << tn_error_last()->message;
            waiting.push_back(lane);
        }
        if (round % 3 == 2) s.truncate(5, 0);
    }
}

} // namespace tn_test
