// The life of a session on a host whose driver a test makes fail: creation, a prompt of several steps, replies, a sequence that is copied
// and one that is cut. What came of it can be compared with the same life on the CPU.
#pragma once

#include "support/tiny_model.hpp"
#include "ternion/ternion.h"

#include <algorithm>
#include <functional>
#include <unistd.h>

extern "C" {
#include "runtime/host.h"
}

namespace tn_test
{

struct LossTold {
    tn_status status = TN_OK;
    std::string error;         // where the status is none
    std::vector<float> logits; // all rows, in the order of the calls
    std::vector<std::string> lines;
    std::string planned;  // "cpu0 cuda:host ": where memory would be needed
    std::string unusable; // names of the devices that no placement has any more
};

class LossStory
{
  public:
    LossStory() : path_(testing::TempDir() + "tn_loss_story_" + std::to_string(getpid()) + ".gguf")
    {
        tiny_model small;
        small.n_layers = 2;
        small.n_ff = 256;
        write_tiny_model(small, path_);
        EXPECT_EQ(tn_model_open(path_.c_str(), nullptr, &model_), TN_OK) << tn_error_last()->message;
        want_ = tell("cpu0").logits;
        EXPECT_FALSE(want_.empty());
    }
    ~LossStory()
    {
        tn_model_close(model_);
        unlink(path_.c_str());
    }
    LossStory(const LossStory &) = delete;
    LossStory &operator=(const LossStory &) = delete;

    std::function<void(tn_host *)> on_host; // opened, with no device listed
    std::function<void()> on_begin, on_end; // its devices are listed; the session is about to be destroyed
    // Before the session is created somebody asks how much memory it will need, and then calls this.
    std::function<void()> on_planned;
    bool profiles = false;
    std::string cache_folder;                                // of the host; "": none
    const std::vector<float> &want() const { return want_; } // as the CPU has it

    LossTold tell(const char *devices) const
    {
        LossTold told;
        tn_host *host = nullptr;
        tn_host_params params = TN_HOST_PARAMS_INIT;
        params.n_threads = 1;
        params.no_bind = true;
        params.cache_folder = cache_folder.empty() ? nullptr : cache_folder.c_str();
        EXPECT_EQ(tn_host_open(&params, &host), TN_OK) << tn_error_last()->message;
        if (on_host) on_host(host);
        live(host, devices, &told);
        tn_host_close(host);
        return told;
    }

  private:
    static void hear(void *user, tn_log_level, const char *text) { static_cast<LossTold *>(user)->lines.emplace_back(text); }
    void live(tn_host *host, const char *devices, LossTold *told) const
    {
        tn_placement_params wishes = TN_PLACEMENT_PARAMS_INIT;
        wishes.devices = devices;
        tn_placement *placement = nullptr;
        tn_session *session = nullptr;
        EXPECT_EQ(tn_placement_create(model_, host, &wishes, &placement), TN_OK) << tn_error_last()->message;
        if (on_begin) on_begin();
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.placement = placement;
        params.n_ctx = 384;
        params.n_seqs_max = 3;
        params.n_ubatch = 8;
        params.n_logits_max = 32;
        params.log = {hear, told, TN_LOG_WARN};
        params.profile = profiles;
        if (on_planned) plan(placement, params, told);
        if (told->status == TN_OK) told->status = tn_session_create(model_, host, &params, &session);
        if (told->status == TN_OK) use(session, told);
        if (told->status != TN_OK) told->error = tn_error_last()->message;
        if (on_end) on_end();
        uint32_t n_descs = 0;
        const tn_device_desc *descs = tn_host_descs(host, &n_descs);
        for (uint32_t i = 0; i < n_descs; i++) told->unusable += descs[i].unusable[0] ? descs[i].name : "";
        tn_session_destroy(session);
        tn_placement_destroy(placement);
    }
    void plan(const tn_placement *placement, const tn_session_params &params, LossTold *told) const
    {
        told->status = tn_placement_memory(
            placement, &params,
            [](void *user, const tn_device_memory *memory) {
                EXPECT_GT(memory->needed_bytes, 0u);
                static_cast<LossTold *>(user)->planned += std::string(memory->device) + " ";
            },
            told);
        EXPECT_TRUE(told->lines.empty()) << told->lines[0];
        on_planned();
    }
    static void decode(tn_session *session, const std::vector<int32_t> &tokens, const std::vector<uint32_t> &seqs, LossTold *told)
    {
        if (told->status != TN_OK) return;
        const std::vector<uint8_t> all(tokens.size(), 1);
        tn_session_info info;
        tn_session_get_info(session, &info);
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(tokens.size());
        batch.tokens = tokens.data();
        batch.seqs = seqs.data();
        batch.logits = all.data();
        told->status = tn_session_decode(session, &batch);
        for (uint32_t i = 0; told->status == TN_OK && i < batch.n_tokens; i++) {
            const float *row = tn_session_logits(session, i);
            told->logits.insert(told->logits.end(), row, row + info.n_vocab);
        }
    }
    static void use(tn_session *session, LossTold *told)
    {
        decode(session, {5, 61, 8, 300, 12, 7, 99, 4, 41, 17, 23}, std::vector<uint32_t>(11, 0), told);
        if (told->status != TN_OK) return;
        EXPECT_EQ(tn_session_seq_copy(session, 2, 0, 9), TN_OK) << tn_error_last()->message;
        decode(session, {301, 9}, {2, 0}, told); // the shared page is copied
        decode(session, {77}, {0}, told);
        decode(session, {65, 5, 4}, {1, 0, 1}, told);
        if (told->status != TN_OK) return;
        EXPECT_EQ(tn_session_seq_truncate(session, 0, 6), TN_OK);
        decode(session, {310, 44, 12, 3}, {0, 2, 1, 0}, told);
        const uint32_t lengths[] = {8, 3, 11};
        for (uint32_t seq = 0; told->status == TN_OK && seq < 3; seq++) EXPECT_EQ(tn_session_seq_length(session, seq), lengths[seq]);
    }

    const std::string path_;
    tn_model *model_ = nullptr;
    std::vector<float> want_;
};

// What must hold wherever a call failed: the logits are the CPU's.
inline void expect_undisturbed(const LossTold &told, const LossStory &story)
{
    ASSERT_EQ(told.status, TN_OK) << told.error;
    ASSERT_EQ(told.logits.size(), story.want().size());
    EXPECT_EQ(memcmp(told.logits.data(), story.want().data(), told.logits.size() * sizeof(float)), 0);
}

// One line says that the device failed and where the session goes on; what is lost is not used again, and what had too little memory may
// be.
inline void expect_one_line(const LossTold &told, const std::string &device, bool is_lost)
{
    const std::string begin = device + (is_lost ? " was lost (" : " has too little memory (");
    ASSERT_EQ(told.lines.size(), 1u) << (told.lines.empty() ? "nothing is said" : told.lines[1]);
    EXPECT_EQ(told.lines[0].find(begin), 0u) << told.lines[0];
    EXPECT_NE(told.lines[0].find("): going on on "), std::string::npos) << told.lines[0];
    EXPECT_EQ(told.unusable, is_lost ? device : "");
}

} // namespace tn_test
