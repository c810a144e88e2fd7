// Drives batchers with random requests, and compares every result with what its request comes to alone (stress_oracle.hpp).
#ifndef TN_TESTS_RUNTIME_STRESS_DRIVER_HPP
#define TN_TESTS_RUNTIME_STRESS_DRIVER_HPP

#include "runtime/stress_oracle.hpp"

#include <deque>
#include <set>

namespace tn_test
{

struct World;

// A request that was taken.
struct Live {
    World *world = nullptr;
    size_t spec = 0;
    uint64_t id = 0;
    bool ended = false, told = false, wants_events = false, is_cancelled = false;
    bool cancels_itself = false; // by a callback
    struct Events {
        std::vector<int32_t> tokens;
        std::string text;
        tn_finish finish = TN_FINISH_NONE;
    };
    std::vector<Events> events; // [n_samples]
};

// What happened in all worlds, so that a test of everything does not test nothing.
struct Seen {
    uint64_t n_requests = 0, n_cancelled = 0, n_preempted = 0, n_reused = 0, n_copied = 0, n_full = 0, n_poisoned = 0, n_forbidden = 0;
    uint64_t n_failed_steps = 0, n_shared_worlds = 0; // of those where more than one session computed
    uint64_t finishes[TN_FINISH_CONTEXT + 1] = {};
};

struct World {
    Exam *exam = nullptr;
    tn_batcher *batcher = nullptr;
    std::deque<Live> lives;
    size_t n_ended = 0;
    uint64_t n_generated = 0, n_preempted = 0, n_reused = 0;
    Seen *seen = nullptr;
};

inline void check_top(const tn_token_logprob *top, uint32_t n_top, const std::vector<Scored> &want)
{
    for (uint32_t i = 0; i < n_top; i++) {
        if (i >= want.size()) continue; // more are wanted than there are
        ASSERT_EQ(top[i].token, want[i].token) << "alternative " << i;
        ASSERT_NEAR(top[i].logprob, want[i].logprob, 1e-5);
    }
}

inline void check_logprobs(const Live &live, const tn_sample &sample, const Answer &want, uint32_t n_top)
{
    if (!live.world->exam->specs.all[live.spec].logprobs) {
        ASSERT_EQ(sample.logprobs, nullptr);
        ASSERT_EQ(sample.top, nullptr);
        ASSERT_EQ(sample.text_ends, nullptr);
        return;
    }
    double sum = 0;
    for (uint32_t i = 0; i < sample.n_tokens; i++) {
        ASSERT_EQ(sample.logprobs[i].token, sample.tokens[i]);
        ASSERT_NEAR(sample.logprobs[i].logprob, want.logprobs[i], 1e-5);
        sum += want.logprobs[i];
        if (sample.status == TN_OK && want.finish != TN_FINISH_NONE && i + 1 < sample.n_tokens) {
            ASSERT_EQ(sample.text_ends[i], want.text_ends[i]) << "token " << i;
        }
        ASSERT_LE(sample.text_ends[i], sample.text_len);
        if (n_top) {
            ASSERT_NO_FATAL_FAILURE(check_top(sample.top + size_t{i} * n_top, n_top, want.top[i]));
        }
    }
    ASSERT_NEAR(sample.logprob_sum, sum, 1e-4);
    if (!live.is_cancelled) {
        ASSERT_NO_FATAL_FAILURE(live.world->exam->check_bits(live.spec, static_cast<int>(sample.index), sample.logprobs, sample.n_tokens));
    }
}

// `whole`: the request was not cancelled, so the sample is all of the answer.
inline void check_sample(const Live &live, const tn_sample &sample, bool whole, uint32_t n_top)
{
    const Answer &want = live.world->exam->expected(live.spec).answers.at(sample.index);
    const std::string text(sample.text, sample.text_len);
    const std::vector<int32_t> tokens(sample.tokens, sample.tokens + sample.n_tokens);
    ASSERT_EQ(sample.text[sample.text_len], '\0');
    const bool is_done = sample.status == TN_OK && sample.finish != TN_FINISH_NONE;
    if (whole || is_done) {
        ASSERT_EQ(sample.status, want.status);
        ASSERT_EQ(sample.finish, want.finish);
        ASSERT_EQ(tokens, want.tokens);
        if (want.status == TN_OK) {
            ASSERT_EQ(text, want.text);
        }
    } else {
        ASSERT_LE(tokens.size(), want.tokens.size());
        ASSERT_TRUE(std::equal(tokens.begin(), tokens.end(), want.tokens.begin())) << "what it has so far is another answer";
        ASSERT_EQ(want.text.compare(0, text.size(), text), 0) << text << " instead of " << want.text;
    }
    ASSERT_NO_FATAL_FAILURE(check_logprobs(live, sample, want, n_top));
    if (!live.wants_events || live.world->exam->specs.all[live.spec].prompt_only) return;
    const Live::Events &events = live.events.at(sample.index);
    std::vector<int32_t> told = events.tokens;
    if (sample.finish == TN_FINISH_END && !told.empty()) told.pop_back();
    ASSERT_EQ(told, tokens);
    ASSERT_EQ(events.text, text);
    ASSERT_EQ(events.finish, sample.finish);
}

inline void check_prompt(const Live &live, const tn_result &result)
{
    const Spec &spec = live.world->exam->specs.all[live.spec];
    const Expected &want = live.world->exam->expected(live.spec);
    if (!spec.prompt_logprobs) {
        ASSERT_EQ(result.prompt_logprobs, nullptr);
        return;
    }
    ASSERT_NE(result.prompt_logprobs, nullptr);
    if (live.is_cancelled || want.prompt.empty()) return; // it may not have come so far
    ASSERT_EQ(result.prompt_logprobs[0].logprob, 0);
    for (uint32_t i = 1; i < result.n_prompt; i++) {
        ASSERT_EQ(result.prompt_logprobs[i].token, spec.prompt[i]);
        ASSERT_NEAR(result.prompt_logprobs[i].logprob, want.prompt[i - 1].logprob, 1e-5) << "prompt token " << i;
        if (!spec.n_top) continue;
        ASSERT_EQ(result.prompt_top[0].token, TN_TOKEN_NONE);
        ASSERT_NO_FATAL_FAILURE(check_top(result.prompt_top + size_t{i} * spec.n_top, spec.n_top, want.prompt_top[i - 1]));
    }
    live.world->exam->check_bits(live.spec, -1, result.prompt_logprobs, result.n_prompt);
}

// The best by their means, in order; where two are as good as equal either may come first.
inline void check_best(const Live &live, const tn_result &result)
{
    const Spec &spec = live.world->exam->specs.all[live.spec];
    std::vector<Answer> answers = live.world->exam->expected(live.spec).answers;
    auto score = [](const Answer &a) { return a.status == TN_OK ? a.mean() : -1e300; };
    std::sort(answers.begin(), answers.end(), [&](const Answer &a, const Answer &b) { return score(a) > score(b); });
    ASSERT_EQ(result.n_samples, spec.n_best);
    std::set<uint32_t> indexes;
    for (uint32_t i = 0; i < result.n_samples; i++) {
        const Answer &got = live.world->exam->expected(live.spec).answers.at(result.samples[i].index);
        ASSERT_TRUE(indexes.insert(result.samples[i].index).second) << "a sample twice";
        if (score(answers[i]) > -1e299) {
            ASSERT_NEAR(score(got), score(answers[i]), 1e-5) << "place " << i;
        }
    }
}

inline void check_whole(const Live &live, const tn_result &result)
{
    const Spec &spec = live.world->exam->specs.all[live.spec];
    const Expected &want = live.world->exam->expected(live.spec);
    const size_t n_good =
        static_cast<size_t>(std::count_if(want.answers.begin(), want.answers.end(), [](const Answer &a) { return a.status == TN_OK; }));
    ASSERT_EQ(result.status, n_good ? TN_OK : want.answers[0].status) << result.message;
    const std::string message = result.message;
    ASSERT_EQ(message.empty(), result.status == TN_OK);
    ASSERT_EQ(message.find('\n'), std::string::npos) << message;
    if (result.status == TN_POISON) {
        ASSERT_NE(message.find("2^56"), std::string::npos) << message;
    }
    if (result.status == TN_INVALID_ARGUMENT) {
        ASSERT_NE(message.find("forbid"), std::string::npos) << message;
    }
    uint32_t n_generated = 0;
    for (const Answer &a : want.answers) n_generated += static_cast<uint32_t>(a.tokens.size());
    ASSERT_EQ(result.n_generated, n_generated);
    if (spec.n_best) {
        ASSERT_NO_FATAL_FAILURE(check_best(live, result));
    } else {
        ASSERT_EQ(result.n_samples, spec.n_samples);
        for (uint32_t i = 0; i < result.n_samples; i++) ASSERT_EQ(result.samples[i].index, i);
    }
    for (uint32_t i = 0; i < result.n_samples; i++) {
        Seen *seen = live.world->seen;
        seen->finishes[result.samples[i].finish]++;
        seen->n_poisoned += result.samples[i].status == TN_POISON;
        seen->n_forbidden += result.samples[i].status == TN_INVALID_ARGUMENT;
    }
}

inline void check_result(Live *live, const tn_result &result)
{
    World *world = live->world;
    const Spec &spec = world->exam->specs.all[live->spec];
    const std::string trace = "spec " + std::to_string(live->spec) + ", request " + std::to_string(live->id);
    SCOPED_TRACE(trace);
    ASSERT_FALSE(live->ended) << "it ends twice";
    live->ended = true;
    world->n_ended++;
    world->n_generated += result.n_generated;
    world->n_preempted += result.n_preempted;
    world->n_reused += result.n_prompt_reused;
    ASSERT_EQ(result.request, live->id);
    ASSERT_EQ(result.n_prompt, spec.prompt.size());
    ASSERT_LT(result.n_prompt_reused, result.n_prompt) << "the last token's logits are its own";
    ASSERT_EQ(result.n_top, spec.n_top);
    if (live->is_cancelled) {
        ASSERT_EQ(result.status, TN_CANCELLED);
        ASSERT_NE(std::string(result.message).find("cancelled"), std::string::npos) << result.message;
        world->seen->n_cancelled++;
    } else {
        ASSERT_NO_FATAL_FAILURE(check_whole(*live, result));
    }
    for (uint32_t i = 0; i < result.n_samples; i++) {
        const std::string sample_trace = "sample " + std::to_string(result.samples[i].index);
        SCOPED_TRACE(sample_trace);
        const uint32_t n_top = spec.logprobs ? spec.n_top : 0;
        ASSERT_NO_FATAL_FAILURE(check_sample(*live, result.samples[i], !live->is_cancelled, n_top));
    }
    ASSERT_NO_FATAL_FAILURE(check_prompt(*live, result));
}

inline void on_end(void *user, const tn_result *result) { check_result(static_cast<Live *>(user), *result); }

inline void on_token(void *user, const tn_token_event *event)
{
    Live *live = static_cast<Live *>(user);
    ASSERT_EQ(event->request, live->id);
    ASSERT_FALSE(live->ended);
    Live::Events &events = live->events.at(event->sample);
    ASSERT_EQ(events.finish, TN_FINISH_NONE) << "a token behind the end";
    events.tokens.push_back(event->token);
    events.text.append(event->text, event->text_len);
    events.finish = event->finish;
    if (!live->cancels_itself || event->finish != TN_FINISH_NONE || events.tokens.size() < 2) return;
    live->cancels_itself = false;
    EXPECT_EQ(tn_batcher_cancel(live->world->batcher, live->id), TN_OK);
    live->is_cancelled = true;
}

class Driver
{
  public:
    Driver(Exam *exam, const Trial &trial, uint64_t seed, Seen *seen) : trial_(trial), random_(seed)
    {
        world_.exam = exam;
        world_.seen = seen;
        for (const Trial::Member &member : trial.members) {
            tn_session_params params = trial.session;
            if (member.kv_bytes) params.kv_bytes = member.kv_bytes;
            params.n_lanes = member.n_lanes;
            sessions_.push_back(exam->model.session(params, member.devices));
            shares_.push_back(member.share);
        }
        tn_batcher_params params = trial.batcher;
        params.more_sessions = sessions_.data() + 1;
        params.n_more_sessions = static_cast<uint32_t>(sessions_.size() - 1);
        params.shares = shares_.data();
        EXPECT_EQ(tn_batcher_create(sessions_[0], &params, &world_.batcher), TN_OK) << tn_error_last()->message;
    }
    ~Driver()
    {
        tn_batcher_destroy(world_.batcher);
        for (tn_session *session : sessions_) tn_session_destroy(session);
    }
    Driver(const Driver &) = delete;
    Driver &operator=(const Driver &) = delete;

    // Submits `n` requests bit by bit until all have ended.
    void run(size_t n)
    {
        uint32_t left = 0;
        for (size_t n_steps = 0, n_idle = 0; world_.lives.size() < n || left; n_steps++) {
            const size_t ended = world_.n_ended;
            if (world_.lives.size() < n && chance(40)) {
                ASSERT_NO_FATAL_FAILURE(submit_some(n));
            }
            if (chance(5)) {
                ASSERT_NO_FATAL_FAILURE(submit_bad());
            }
            if (chance(trial_.cancel_percent)) cancel_one();
            if (trial_.changes_n_seqs && chance(10)) change_n_seqs();
            ASSERT_NO_FATAL_FAILURE(step(&left));
            if (testing::Test::HasFailure()) FAIL() << "in step " << n_steps;
            ASSERT_NO_FATAL_FAILURE(poll());
            ASSERT_EQ(left, world_.lives.size() - world_.n_ended);
            ASSERT_NO_FATAL_FAILURE(check_info(left));
            n_idle = world_.n_ended == ended ? n_idle + 1 : 0;
            // One request may have as many samples as there can be, each with a step a token where nothing is reused.
            ASSERT_LT(n_idle, 2 * size_t{TN_REQUEST_SAMPLES_MAX} * kBatchContext) << "nothing comes to an end";
        }
        ASSERT_NO_FATAL_FAILURE(check_end());
    }
    const World &world() const { return world_; }

  private:
    uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
    bool chance(uint32_t percent) { return below(100) < percent; }

    // A step that is made to fail is tried again.
    void step(uint32_t *out_left)
    {
        const tn_status status = tn_batcher_step(world_.batcher, out_left);
        if (status == TN_OK) return;
        ASSERT_TRUE(trial_.steps_fail) << tn_error_last()->message;
        ASSERT_EQ(status, TN_DEVICE_LOST) << tn_error_last()->message;
        ASSERT_NE(std::string(tn_error_last()->message).find("made to fail"), std::string::npos) << tn_error_last()->message;
        world_.seen->n_failed_steps++;
    }
    tn_status submit(const Spec &spec, Live *live)
    {
        std::vector<const char *> stops;
        tn_sampler_params sampler;
        tn_request_params p = request_of(spec, &stops, &sampler);
        live->world = &world_;
        live->told = chance(50);
        live->wants_events = chance(50);
        live->cancels_itself = live->wants_events && chance(trial_.cancel_percent);
        live->events.resize(spec.n_samples);
        p.flow = below(trial_.n_flows);
        p.on_token = live->wants_events ? on_token : nullptr;
        p.on_end = live->told ? on_end : nullptr;
        p.user = live;
        return tn_batcher_submit(world_.batcher, &p, &live->id);
    }
    void submit_some(size_t n)
    {
        for (uint32_t i = 1 + below(trial_.burst); i > 0 && world_.lives.size() < n; i--) {
            Live &live = world_.lives.emplace_back();
            live.spec = below(static_cast<uint32_t>(world_.exam->specs.all.size()));
            const tn_status status = submit(world_.exam->specs.all[live.spec], &live);
            if (status == TN_OK) {
                ASSERT_EQ(live.id, ++n_accepted_);
                continue;
            }
            world_.lives.pop_back();
            ASSERT_EQ(status, TN_LIMIT) << tn_error_last()->message;
            ASSERT_EQ(tn_error_last()->native_code, TN_BATCHER_FULL) << tn_error_last()->message;
            world_.seen->n_full++;
            return;
        }
    }
    // What is refused leaves nothing behind.
    void submit_bad()
    {
        Spec spec;
        tn_status want = TN_INVALID_ARGUMENT;
        switch (below(6)) {
        case 0: spec.prompt = {1, static_cast<int32_t>(kBatchVocab)}; break;
        case 1: spec.prompt.clear(); break;
        case 2: spec.n_samples = TN_REQUEST_SAMPLES_MAX + 1; break;
        case 3: spec.n_best = 2; break;
        case 4: spec.stops = {"a", ""}; break;
        default: spec.prompt.assign(kBatchContext, 1), want = TN_LIMIT; break;
        }
        Live live;
        const tn_status status = submit(spec, &live);
        if (status == TN_LIMIT && tn_error_last()->native_code == TN_BATCHER_FULL) return;
        ASSERT_EQ(status, want) << tn_error_last()->message;
    }
    void cancel_one()
    {
        if (world_.lives.empty()) return;
        Live &live = world_.lives[world_.lives.size() - 1 - below(static_cast<uint32_t>(std::min<size_t>(world_.lives.size(), 20)))];
        const tn_status status = tn_batcher_cancel(world_.batcher, live.id);
        EXPECT_EQ(status, live.ended ? TN_NOT_FOUND : TN_OK);
        if (status == TN_OK) live.is_cancelled = true;
    }
    void change_n_seqs()
    {
        EXPECT_EQ(tn_batcher_set_n_seqs(world_.batcher, 1 + below(n_seqs_all(trial_))), TN_OK);
        EXPECT_EQ(tn_batcher_set_n_seqs(world_.batcher, 0), TN_INVALID_ARGUMENT);
        EXPECT_EQ(tn_batcher_set_n_seqs(world_.batcher, n_seqs_all(trial_) + 1), TN_INVALID_ARGUMENT);
    }
    void poll()
    {
        while (tn_result *result = tn_batcher_poll(world_.batcher)) {
            Live *live = static_cast<Live *>(result->user);
            ASSERT_FALSE(live->told) << "a result both told and polled";
            check_result(live, *result);
            tn_result_destroy(result);
            if (testing::Test::HasFatalFailure()) return;
        }
    }
    void check_info(uint32_t left)
    {
        tn_batcher_info info = TN_BATCHER_INFO_INIT;
        ASSERT_EQ(tn_batcher_get_info(world_.batcher, &info), TN_OK);
        ASSERT_LE(info.n_pages_used + info.n_pages_kept, info.n_pages);
        ASSERT_LE(info.n_running, n_seqs_all(trial_));
        ASSERT_EQ(info.n_requests, n_accepted_);
        ASSERT_EQ(info.n_finished, world_.n_ended);
        ASSERT_TRUE(left || (info.n_running == 0 && info.n_waiting == 0));
        if (trial_.batcher.no_prefix_reuse) {
            ASSERT_EQ(info.n_pages_kept, 0u);
        }
        if (trial_.batcher.prefix_bytes) {
            ASSERT_LE(info.n_pages_kept * page_bytes(*world_.exam), trial_.batcher.prefix_bytes);
        }
    }
    void check_end()
    {
        tn_batcher_info info = TN_BATCHER_INFO_INIT;
        ASSERT_EQ(tn_batcher_get_info(world_.batcher, &info), TN_OK);
        for (const Live &live : world_.lives) ASSERT_TRUE(live.ended) << "request " << live.id;
        ASSERT_EQ(info.n_pages_used, 0u) << "pages that nobody gives back";
        ASSERT_LE(info.n_pages_used_max, info.n_pages);
        ASSERT_EQ(info.n_generated, world_.n_generated);
        ASSERT_EQ(info.n_preempted, world_.n_preempted);
        ASSERT_GE(info.n_prompt_reused, world_.n_reused);
        if (trial_.batcher.no_prefix_reuse) {
            ASSERT_EQ(world_.n_reused, 0u);
        }
        for (const tn_session *session : sessions_) {
            for (uint32_t seq = 0; seq < trial_.session.n_seqs_max; seq++) ASSERT_EQ(tn_session_seq_length(session, seq), 0u);
        }
        check_members(info);
        Seen *seen = world_.seen;
        seen->n_requests += world_.lives.size();
        seen->n_preempted += info.n_preempted;
        seen->n_reused += info.n_prompt_reused;
        seen->n_copied += info.n_pages_copied;
    }

    // What the sessions did comes to what the batcher did.
    void check_members(const tn_batcher_info &info)
    {
        uint64_t n_steps = 0, n_tokens = 0, n_at_work = 0;
        for (uint32_t i = 0; i < sessions_.size(); i++) {
            tn_batcher_member_info member = TN_BATCHER_MEMBER_INFO_INIT;
            ASSERT_EQ(tn_batcher_get_member_info(world_.batcher, i, &member), TN_OK);
            ASSERT_EQ(member.n_running, 0u);
            ASSERT_EQ(member.n_tokens > 0, member.busy_ns > 0);
            n_steps += member.n_steps;
            n_tokens += member.n_tokens;
            n_at_work += member.n_tokens > 0;
        }
        ASSERT_EQ(n_steps, info.n_steps);
        ASSERT_GE(n_tokens, info.n_prompt_tokens);
        world_.seen->n_shared_worlds += n_at_work > 1;
        tn_batcher_member_info none = TN_BATCHER_MEMBER_INFO_INIT;
        ASSERT_EQ(tn_batcher_get_member_info(world_.batcher, static_cast<uint32_t>(sessions_.size()), &none), TN_INVALID_ARGUMENT);
    }

    const Trial trial_;
    std::mt19937_64 random_;
    World world_;
    std::vector<tn_session *> sessions_;
    std::vector<double> shares_;
    uint64_t n_accepted_ = 0;
};

// `spread`: over several sessions of several lanes each.
inline void run_worlds(Exam *exam, size_t n_requests, uint64_t seed, Seen *seen, bool tight = false, bool spread = false,
                       bool steps_fail = false)
{
    std::mt19937_64 random(seed);
    const uint64_t only = number_of("TN_STRESS_WORLD", UINT64_MAX);
    for (size_t i = 0, n_done = 0; n_done < n_requests; i++) {
        const size_t n = std::min<size_t>(n_requests - n_done, tight || spread ? 30 + random() % 40 : 120 + random() % 200);
        Trial trial = random_trial(*exam, &random, tight);
        if (spread) spread_trial(*exam, &random, &trial);
        trial.steps_fail = steps_fail;
        const std::string trace = "world " + std::to_string(i) + " of seed " + std::to_string(stress_seed());
        SCOPED_TRACE(trace);
        const uint64_t driver_seed = random();
        n_done += n;
        if (only != UINT64_MAX && i != only) continue;
        Driver driver(exam, trial, driver_seed, seen);
        ASSERT_NO_FATAL_FAILURE(driver.run(n));
        if (testing::Test::HasFailure()) return;
    }
}

} // namespace tn_test

#endif
