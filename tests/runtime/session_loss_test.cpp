// A session whose device is lost, or has no memory, at every call of a short text: the logits are those of an undisturbed one, every
// sequence goes on where it was, and one line says what happened.
#include "support/losing_device.hpp"
#include "support/quick.hpp"
#include "support/run_model.hpp"
#include "support/swapped_devices.hpp"

#include <algorithm>
#include <optional>

namespace
{

using tn_test::LosingDevice;

constexpr uint32_t kUbatch = 8;
const std::vector<int32_t> kText = {5, 61, 8, 300, 12, 7, 99, 4, 41, 17, 23, 301, 9, 77, 65, 5, 4, 320, 44, 12};

// The host's first device, which takes steps of no more than so many tokens. One at a time.
class SmallSteps : public tn_test::SwappedDevices
{
  public:
    SmallSteps(tn_host *host, uint32_t n_tokens) : SwappedDevices(host, 1), n_tokens_(n_tokens)
    {
        current = this;
        table_.program_check = [](tn_device *device, const tn_program_desc *desc, tn_program_needs *needs) {
            if (desc->limits.n_tokens <= current->n_tokens_) return current->real_->program_check(device, desc, needs);
            *needs = {current->n_tokens_, 0};
            return tn_fail(TN_UNSUPPORTED, "steps of %u tokens at the most", current->n_tokens_);
        };
        table_.program_submit = [](tn_program *program, const tn_submit *submit, tn_fence *fence) {
            current->n_largest = std::max(current->n_largest, submit->step->n_tokens);
            current->n_steps++;
            return current->real_->program_submit(program, submit, fence);
        };
        swap();
    }
    ~SmallSteps() { current = nullptr; }
    uint32_t n_largest = 0, n_steps = 0;

  private:
    static inline SmallSteps *current = nullptr;
    const uint32_t n_tokens_;
};

class SessionLoss : public testing::Test
{
  protected:
    void SetUp() override { ASSERT_EQ(tn_model_open(tn_test::default_model().c_str(), nullptr, &model_), TN_OK); }
    void TearDown() override { tn_model_close(model_); }

    static void hear(void *user, tn_log_level, const char *text) { *static_cast<std::string *>(user) += std::string(text) + "\n"; }

    struct Run {
        std::vector<float> logits; // all rows, in the order of the calls
        std::string log;
        tn_status status = TN_OK;
        std::string error, devices; // names of those that cannot be used afterwards
        uint64_t n_calls = 0;
        bool failed = false;
        uint32_t n_ubatch = 0;
        uint32_t n_steps = 0, n_largest = 0; // of cpu0, where it takes small steps
    };
    struct How {
        std::string devices = "cpu0,cpu1";
        uint32_t lost = 1;          // device
        bool while_created = false; // else behind that
        uint64_t at = UINT64_MAX;
        tn_status status = TN_DEVICE_LOST;
        bool no_recovery = false, profile = false;
        uint32_t small_steps = 0; // tokens that cpu0 takes in a step; 0: as many as it is asked to
        tn_trace trace = {};
    };

    // A prompt of more than a step, a copy of its sequence, both go on, one is cut and goes on otherwise.
    Run run(const How &how)
    {
        Run r;
        tn_host_params host_params = TN_HOST_PARAMS_INIT;
        host_params.n_cpu_devices = 2;
        host_params.n_threads = 2;
        host_params.no_bind = true;
        tn_host *host = nullptr;
        EXPECT_EQ(tn_host_open(&host_params, &host), TN_OK) << tn_error_last()->message;
        {
            std::optional<SmallSteps> small;
            if (how.small_steps) small.emplace(host, how.small_steps);
            LosingDevice device(host, how.lost);
            tn_placement_params placement_params = TN_PLACEMENT_PARAMS_INIT;
            placement_params.devices = how.devices.c_str();
            tn_placement *placement = nullptr;
            EXPECT_EQ(tn_placement_create(model_, host, &placement_params, &placement), TN_OK) << tn_error_last()->message;
            tn_session_params params = TN_SESSION_PARAMS_INIT;
            params.placement = placement;
            params.n_ctx = 384;
            params.n_seqs_max = 3;
            params.n_ubatch = kUbatch;
            params.n_logits_max = 64;
            params.no_recovery = how.no_recovery;
            params.profile = how.profile;
            params.trace = how.trace;
            params.log = {hear, &r.log, TN_LOG_WARN};
            if (how.while_created) device.fail_after(how.at, how.status);
            tn_session *session = nullptr;
            r.status = tn_session_create(model_, host, &params, &session);
            if (!how.while_created) device.fail_after(how.at, how.status);
            if (r.status == TN_OK) use(session, &r);
            if (r.status != TN_OK) r.error = tn_error_last()->message;
            r.n_calls = device.n_calls;
            r.failed = device.failed;
            if (small) r.n_steps = small->n_steps, r.n_largest = small->n_largest;
            uint32_t n_descs = 0;
            const tn_device_desc *descs = tn_host_descs(host, &n_descs);
            for (uint32_t i = 0; i < n_descs; i++) r.devices += descs[i].unusable[0] ? descs[i].name : "";
            tn_session_destroy(session);
            tn_placement_destroy(placement);
        }
        tn_host_close(host);
        return r;
    }

    tn_model *model_ = nullptr;

  private:
    static void decode(tn_session *session, uint32_t n, const int32_t *tokens, const std::vector<uint32_t> &seqs, Run *r)
    {
        if (r->status != TN_OK) return;
        const std::vector<uint8_t> all(n, 1);
        tn_session_info info;
        tn_session_get_info(session, &info);
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = n;
        batch.tokens = tokens;
        batch.seqs = seqs.data();
        batch.logits = all.data();
        r->status = tn_session_decode(session, &batch);
        for (uint32_t i = 0; r->status == TN_OK && i < n; i++) {
            const float *row = tn_session_logits(session, i);
            r->logits.insert(r->logits.end(), row, row + info.n_vocab);
        }
    }
    static void use(tn_session *session, Run *r)
    {
        tn_session_info info;
        const auto n = static_cast<uint32_t>(kText.size());
        decode(session, n, kText.data(), std::vector<uint32_t>(n, 0), r);
        if (r->status != TN_OK) return;
        EXPECT_EQ(tn_session_seq_copy(session, 2, 0, n - 3), TN_OK) << tn_error_last()->message;
        decode(session, 2, kText.data() + 2, {2, 0}, r); // the copy is made
        decode(session, 3, kText.data() + 5, {1, 0, 1}, r);
        if (r->status != TN_OK) return;
        EXPECT_EQ(tn_session_seq_truncate(session, 0, 6), TN_OK);
        decode(session, 5, kText.data() + 9, {0, 2, 0, 1, 0}, r);
        for (uint32_t seq = 0; r->status == TN_OK && seq < 3; seq++)
            EXPECT_EQ(tn_session_seq_length(session, seq), std::vector<uint32_t>({9, 3, n - 1}).at(seq));
        tn_session_get_info(session, &info);
        r->n_ubatch = info.n_ubatch;
    }
};

void expect_same(const std::vector<float> &got, const std::vector<float> &want)
{
    ASSERT_EQ(got.size(), want.size());
    EXPECT_EQ(memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0);
}

TEST_F(SessionLoss, EveryCallOfATextMayLoseTheDevice)
{
    How alone;
    alone.devices = "cpu0";
    const Run want = run(alone);
    ASSERT_EQ(want.status, TN_OK) << want.error;
    for (const auto &[devices, lost] :
         {std::pair<std::string, uint32_t>{"cpu0,cpu1", 1}, {"cpu1,cpu0", 1}, {"cpu0,cpu1", 0}, {"cpu1", 1}}) {
        How how;
        how.devices = devices;
        how.lost = lost;
        const uint64_t n_calls = run(how).n_calls;
        ASSERT_GE(n_calls, 3u * 5u) << devices;
        for (how.at = 0; how.at < n_calls; how.at += tn_test::is_quick() ? 3 : 1) {
            SCOPED_TRACE(devices + ", call " + std::to_string(how.at));
            const Run got = run(how);
            ASSERT_EQ(got.status, TN_OK) << got.error;
            EXPECT_TRUE(got.failed);
            expect_same(got.logits, want.logits);
            const std::string name = "cpu" + std::to_string(lost);
            EXPECT_EQ(got.log, name + " was lost (call " + std::to_string(how.at) + " is made to fail): going on on cpu" +
                                   std::to_string(1 - lost) + "\n");
            EXPECT_EQ(got.devices, name);
            EXPECT_EQ(got.n_ubatch, kUbatch);
        }
    }
}

TEST_F(SessionLoss, EveryCallOfItsCreationMayLoseTheDevice)
{
    How how;
    how.while_created = true;
    const Run want = run(how);
    ASSERT_EQ(want.status, TN_OK) << want.error;
    for (how.at = 0; how.at < want.n_calls; how.at += 1 + how.at / 16) {
        SCOPED_TRACE(how.at);
        const Run got = run(how);
        ASSERT_EQ(got.status, TN_OK) << got.error;
        expect_same(got.logits, want.logits);
        EXPECT_NE(got.log.find("cpu1 was lost (call "), std::string::npos) << got.log;
        EXPECT_EQ(std::count(got.log.begin(), got.log.end(), '\n'), 1) << got.log;
    }
}

// The caller still gives it batches of n_ubatch tokens, and more.
TEST_F(SessionLoss, StepsAreAsSmallAsTheDevicesThatAreLeftWantThem)
{
    How how;
    how.devices = "cpu1";
    const Run undisturbed = run(how);
    ASSERT_EQ(undisturbed.status, TN_OK) << undisturbed.error;
    for (const uint32_t n_tokens : {1u, 3u}) {
        how.small_steps = n_tokens;
        for (how.at = 0; how.at < undisturbed.n_calls; how.at += 3) {
            SCOPED_TRACE(std::to_string(n_tokens) + " tokens, call " + std::to_string(how.at));
            const Run got = run(how);
            ASSERT_EQ(got.status, TN_OK) << got.error;
            EXPECT_EQ(got.log, "cpu1 was lost (call " + std::to_string(how.at) + " is made to fail): going on on cpu0\n");
            expect_same(got.logits, undisturbed.logits);
            EXPECT_EQ(got.n_ubatch, kUbatch);
            EXPECT_EQ(got.n_largest, n_tokens);
            EXPECT_GE(got.n_steps * n_tokens, 5u); // the last decode's at least
        }
    }
}

// Of devices that a goal chooses among, and that are measured for it: named or not.
TEST_F(SessionLoss, ADeviceThatIsLostWhileItIsMeasuredIsNotChosen)
{
    for (const uint64_t at : {0u, 7u, 60u}) {
        SCOPED_TRACE(at);
        std::string log;
        tn_host_params host_params = TN_HOST_PARAMS_INIT;
        host_params.n_cpu_devices = 2;
        host_params.n_threads = 2;
        host_params.no_bind = true;
        host_params.log = {hear, &log, TN_LOG_WARN};
        tn_host *host = nullptr;
        ASSERT_EQ(tn_host_open(&host_params, &host), TN_OK) << tn_error_last()->message;
        {
            LosingDevice device(host, 1);
            device.fail_after(at, TN_DEVICE_LOST);
            tn_placement_params params = TN_PLACEMENT_PARAMS_INIT;
            params.devices = "cpu1,cpu0";
            params.goal = TN_GOAL_THROUGHPUT;
            params.n_seqs = 4;
            params.calibrate_ms = 1;
            tn_placement *placement = nullptr;
            ASSERT_EQ(tn_placement_create(model_, host, &params, &placement), TN_OK) << tn_error_last()->message;
            EXPECT_TRUE(device.failed);
            char plan[200];
            tn_placement_print(placement, plan, sizeof plan);
            EXPECT_EQ(std::string(plan).find("cpu0: "), 0u) << plan;
            EXPECT_EQ(std::string(plan).find("cpu1"), std::string::npos) << plan;
            EXPECT_NE(log.find("cpu1 is not chosen: it could not be measured: cpu1: call " + std::to_string(at)), std::string::npos) << log;
            tn_device_info info;
            ASSERT_EQ(tn_host_device_info(host, 1, &info), TN_OK);
            EXPECT_EQ(std::string(info.unusable), "it was lost (call " + std::to_string(at) + " is made to fail)");
            tn_placement_destroy(placement);
        }
        tn_host_close(host);
    }
}

TEST_F(SessionLoss, WithoutRecoveryItFails)
{
    How how;
    how.no_recovery = true;
    how.at = 3;
    const Run got = run(how);
    EXPECT_EQ(got.status, TN_DEVICE_LOST);
    EXPECT_NE(got.error.find("cpu1: call 3 is made to fail"), std::string::npos) << got.error;
    EXPECT_EQ(got.log, "");
    EXPECT_EQ(got.devices, "");
}

TEST_F(SessionLoss, TheMemoryOfACpuIsWhatOthersWouldNeed)
{
    How how;
    how.at = 3;
    how.status = TN_OUT_OF_MEMORY;
    const Run got = run(how);
    EXPECT_EQ(got.status, TN_OUT_OF_MEMORY);
    EXPECT_NE(got.error.find("cpu1: call 3 is made to fail"), std::string::npos) << got.error;
}

TEST_F(SessionLoss, ATraceTellsEveryRowAndAProfileItsSteps)
{
    using Rows = std::map<std::string, std::string>;
    const auto told = [](void *user, uint32_t seq, uint32_t position, const char *op, const float *row, size_t n) {
        const std::string hash = tn_test::hash(row, n * sizeof *row);
        const std::string key = std::to_string(seq) + "." + std::to_string(position) + "." + op;
        std::string &kept = (*static_cast<Rows *>(user))[key];
        // Positions that were cut off are computed otherwise behind that.
        if (kept.find(hash) == std::string::npos) kept += hash;
    };
    Rows want, got;
    How how;
    how.profile = true;
    how.trace = {told, &want};
    const Run undisturbed = run(how);
    how.trace.user = &got;
    how.at = undisturbed.n_calls / 2;
    const Run lost = run(how);
    ASSERT_EQ(lost.status, TN_OK) << lost.error;
    EXPECT_TRUE(lost.failed);
    expect_same(lost.logits, undisturbed.logits);
    EXPECT_FALSE(want.empty());
    EXPECT_EQ(got, want);
}

} // namespace
