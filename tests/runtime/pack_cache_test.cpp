// Files of packed weights: the same bits with and without them; nothing damaged, foreign, outdated or half-written is ever used; several
// processes, full disks and kills leave a folder that works.
#include "format/temp_folder.h"
#include "support/run_model.hpp"

#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <functional>
#include <random>
#include <set>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

extern "C" {
#include "base/folder.h"
#include "runtime/pack_cache.h"
#include "runtime/pack_cache_folder.h"
}

using namespace tn_test;

namespace
{

// ---- files alone ----

// A key and a body that need no model.
class Cache : public ::testing::Test
{
  protected:
    void SetUp() override { make(&key, "a model", 9 * 1024 * 1024 + 77); }
    void TearDown() override { tn_pack_key_deinit(&key); }
    static void make(tn_pack_key *out, const std::string &identity, size_t bytes)
    {
        *out = {};
        ASSERT_EQ(tn_text_printf(&out->place, "place"), TN_OK);
        ASSERT_EQ(tn_text_append(&out->bytes, identity.data(), identity.size()), TN_OK);
        out->body_bytes = bytes;
    }
    static uint8_t body_byte(uint64_t i) { return static_cast<uint8_t>(i * 2654435761u >> 13); }
    static tn_status read_body(void *user, uint64_t offset, void *dst, size_t n)
    {
        if (user) (*static_cast<std::function<void(uint64_t)> *>(user))(offset);
        for (size_t i = 0; i < n; i++) static_cast<uint8_t *>(dst)[i] = body_byte(offset + i);
        return TN_OK;
    }
    tn_status write(std::function<void(uint64_t)> *before = nullptr, uint64_t max_bytes = 0)
    {
        return tn_pack_cache_write(at.c_str(), &key, max_bytes, read_body, before, nullptr);
    }
    tn_status open()
    {
        tn_file_map map;
        const tn_status status = tn_pack_cache_open(at.c_str(), &key, &map);
        if (status == TN_OK) {
            const uint8_t *body = map.data + tn_pack_cache_body_offset(&key);
            EXPECT_EQ(map.size_bytes, tn_pack_cache_body_offset(&key) + key.body_bytes);
            EXPECT_EQ(reinterpret_cast<uintptr_t>(body) % 4096, 0u);
            EXPECT_EQ(tn_pack_cache_body_offset(&key) % (2u << 20), 0u) << "else no huge page fits the file";
            for (uint64_t i = 0; i < key.body_bytes; i++) {
                if (body[i] != body_byte(i)) ADD_FAILURE() << "byte " << i;
            }
        }
        tn_file_map_close(&map);
        return status;
    }
    std::string file() const
    {
        std::string found;
        for (const auto &entry : std::filesystem::directory_iterator(at)) found = entry.path().string();
        return found;
    }
    TempFolder folder;
    std::string at = folder.at("made/on/demand");
    tn_pack_key key = {};
};

TEST_F(Cache, WhatIsWrittenIsFoundAndNothingElse)
{
    EXPECT_EQ(open(), TN_NOT_FOUND);
    ASSERT_EQ(write(), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(open(), TN_OK) << tn_error_last()->message;
    struct stat info;
    ASSERT_EQ(stat(file().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
    tn_pack_key_deinit(&key);
    make(&key, "a modem", 9 * 1024 * 1024 + 77); // the same place, of the same length
    EXPECT_EQ(open(), TN_NOT_FOUND);
    ASSERT_EQ(write(), TN_OK); // takes the other's place
    EXPECT_EQ(open(), TN_OK);
    tn_pack_key_deinit(&key);
    make(&key, "a modem", 9 * 1024 * 1024 + 78);
    EXPECT_EQ(open(), TN_BAD_FILE);
}

// Every byte before the body, and samples of the body, changed one at a time; every length near the file's parts.
TEST_F(Cache, NoChangedByteIsAccepted)
{
    tn_pack_key_deinit(&key);
    make(&key, "a model", 5 * 1024 * 1024);
    ASSERT_EQ(write(), TN_OK);
    std::ifstream in(file(), std::ios::binary);
    std::vector<uint8_t> good((std::istreambuf_iterator<char>(in)), {});
    ASSERT_EQ(tn_pack_cache_verify(good.data(), good.size(), &key), TN_OK);
    std::mt19937 random(1);
    for (size_t i = 0; i < tn_pack_cache_body_offset(&key); i++) {
        std::vector<uint8_t> front(good.begin(), good.end());
        front[i] = static_cast<uint8_t>(front[i] ^ 1u << random() % 8);
        EXPECT_NE(tn_pack_cache_verify(front.data(), front.size(), &key), TN_OK) << "byte " << i;
        if (i == 200) i = tn_pack_cache_body_offset(&key) - 40; // zeros in between
    }
    for (int n = 0; n < 60; n++) {
        const size_t i = random() % good.size();
        const uint8_t was = good[i];
        good[i] = static_cast<uint8_t>(was ^ 1u << random() % 8);
        EXPECT_NE(tn_pack_cache_verify(good.data(), good.size(), &key), TN_OK) << "byte " << i;
        good[i] = was;
    }
    const size_t body = tn_pack_cache_body_offset(&key);
    for (const size_t size : {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{47}, size_t{48}, size_t{55}, body - 1, body, body + 1,
                              body + (4u << 20), good.size() - 1}) {
        const std::vector<uint8_t> cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)); // its own block, for ASan
        EXPECT_NE(tn_pack_cache_verify(cut.data(), size, &key), TN_OK) << size;
    }
    good.push_back(0);
    EXPECT_EQ(tn_pack_cache_verify(good.data(), good.size(), &key), TN_BAD_FILE);
}

TEST_F(Cache, FilesThatOthersMayWriteAndLinksAreNotUsed)
{
    ASSERT_EQ(write(), TN_OK);
    const std::string name = file();
    ASSERT_EQ(chmod(name.c_str(), 0620), 0);
    EXPECT_EQ(open(), TN_UNSUPPORTED);
    ASSERT_EQ(chmod(name.c_str(), 0600), 0);
    EXPECT_EQ(open(), TN_OK);
    std::filesystem::rename(name, folder.at("elsewhere"));
    std::filesystem::create_symlink(folder.at("elsewhere"), name);
    EXPECT_EQ(open(), TN_UNSUPPORTED);
    std::filesystem::remove(name);
    std::filesystem::create_directory(name);
    EXPECT_EQ(open(), TN_UNSUPPORTED);
    EXPECT_EQ(write(), TN_IO);
    EXPECT_EQ(file(), name) << "nothing is left behind";
}

TEST_F(Cache, AFailureInTheMiddleLeavesNothing)
{
    // A disk that fills up while the file is written, as the limit on file sizes shows it: a write takes a part, the next one fails.
    struct sigaction ignore = {}, before = {};
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGXFSZ, &ignore, &before);
    rlimit old = {};
    getrlimit(RLIMIT_FSIZE, &old);
    std::function<void(uint64_t)> fill = [&](uint64_t offset) {
        const rlimit limit = {6u << 20, old.rlim_max};
        if (offset == 0) setrlimit(RLIMIT_FSIZE, &limit);
    };
    EXPECT_EQ(write(&fill), TN_IO) << tn_error_last()->message;
    EXPECT_EQ(tn_error_last()->native_code, EFBIG);
    EXPECT_EQ(file(), "");
    EXPECT_EQ(write(), TN_UNAVAILABLE) << "known before anything is written";
    setrlimit(RLIMIT_FSIZE, &old);
    sigaction(SIGXFSZ, &before, nullptr);
    EXPECT_EQ(file(), "");
    EXPECT_EQ(write(nullptr, 1 << 20), TN_UNAVAILABLE) << "more than the folder may hold";
    ASSERT_EQ(write(), TN_OK);
    EXPECT_EQ(open(), TN_OK);
}

TEST_F(Cache, CancellingLeavesNothing)
{
    tn_progress progress = {};
    progress.update = [](void *, const char *, uint64_t done, uint64_t) { return done < 2; };
    EXPECT_EQ(tn_pack_cache_write(at.c_str(), &key, 0, read_body, nullptr, &progress), TN_CANCELLED);
    EXPECT_EQ(file(), "");
    EXPECT_EQ(open(), TN_NOT_FOUND);
}

TEST_F(Cache, OneWritesAndTheOthersGoOn)
{
    tn_status second = TN_OK;
    std::function<void(uint64_t)> meanwhile = [&](uint64_t offset) {
        if (offset == 0) second = write();
    };
    EXPECT_EQ(write(&meanwhile), TN_OK);
    EXPECT_EQ(second, TN_UNAVAILABLE);
    EXPECT_EQ(open(), TN_OK);
}

TEST_F(Cache, TheLeastRecentlyUsedFilesGoAndStaleOnesToo)
{
    ASSERT_EQ(tn_folder_make(at.c_str(), "packed weights"), TN_OK);
    const auto add = [&](const char *name, time_t age) {
        std::ofstream(at + "/" + name) << std::string(1 << 20, 'x');
        const struct timespec t[2] = {{1000000 - age, 0}, {1000000 - age, 0}};
        ASSERT_EQ(utimensat(AT_FDCWD, (at + "/" + name).c_str(), t, 0), 0);
    };
    add("old.tnpack", 30);
    add("older.tnpack", 40);
    add("new.tnpack", 10);
    add("dead.tnpack.tmp", 5);
    add("not ours.txt", 50);
    ASSERT_EQ(write(nullptr, 14u << 20), TN_OK); // 11 MiB and a little: two of the others fit
    std::set<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(at)) names.insert(entry.path().filename().string());
    EXPECT_EQ(names.count("older.tnpack") + names.count("dead.tnpack.tmp"), 0u);
    EXPECT_EQ(names.count("old.tnpack") + names.count("new.tnpack") + names.count("not ours.txt"), 3u);
    EXPECT_EQ(names.size(), 4u);
    EXPECT_EQ(open(), TN_OK);
}

// Writers killed at any moment; TN_PACK_KILLS of them.
TEST_F(Cache, AKillAtAnyMomentLeavesAWholeFileOrNone)
{
    const char *given = getenv("TN_PACK_KILLS");
    const int n_kills = given ? atoi(given) : 50;
    std::mt19937 random(7);
    int n_whole = 0;
    for (int n = 0; n < n_kills; n++) {
        std::error_code ignored;
        if (n % 3 == 0) std::filesystem::remove_all(at, ignored);
        const pid_t child = fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            for (;;) (void)!write();
        }
        // Every tenth writer has written a whole file at least, however slow the machine is.
        for (int i = 0; n % 10 == 9 && open() != TN_OK && i < 10000; i++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 30000));
        kill(child, SIGKILL);
        int status;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_EQ(WTERMSIG(status), SIGKILL);
        const tn_status opened = open();
        EXPECT_TRUE(opened == TN_OK || opened == TN_NOT_FOUND) << tn_error_last()->message;
        n_whole += opened == TN_OK;
    }
    EXPECT_GE(n_whole, n_kills / 10);
    ASSERT_EQ(write(), TN_OK) << "the lock of a dead process is free: " << tn_error_last()->message;
    EXPECT_EQ(open(), TN_OK);
    size_t n_files = 0;
    for (const auto &entry : std::filesystem::directory_iterator(at)) n_files += entry.is_regular_file();
    EXPECT_EQ(n_files, 1u);
}

// ---- sessions ----

void count_warnings(void *user, tn_log_level level, const char *message)
{
    if (level == TN_LOG_WARN) static_cast<std::vector<std::string> *>(user)->push_back(message);
}

struct Outcome {
    tn_status status = TN_OK;
    tn_pack_cache_use use = TN_PACK_CACHE_NONE;
    std::string logits;
    std::vector<std::string> warnings;
};

Outcome start(const std::string &model_path, const std::string &cache, const char *i2s = nullptr, uint32_t n_ctx = 64)
{
    Outcome out;
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_session *session = nullptr;
    tn_model_params model_params = TN_MODEL_PARAMS_INIT;
    model_params.i2s_layout = i2s;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ctx = n_ctx;
    params.pack_cache = cache.empty() ? nullptr : cache.c_str();
    params.pack_cache_bytes_min = 1;
    params.log.write = count_warnings;
    params.log.user = &out.warnings;
    const int32_t tokens[] = {1, 7, 300, 5};
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = 4;
    batch.tokens = tokens;
    out.status = tn_host_open(nullptr, &host);
    if (out.status == TN_OK) out.status = tn_model_open(model_path.c_str(), &model_params, &model);
    if (out.status == TN_OK) out.status = tn_session_create(model, host, &params, &session);
    if (out.status == TN_OK) out.use = tn_session_pack_cache(session);
    if (out.status == TN_OK) out.status = tn_session_decode(session, &batch);
    if (out.status == TN_OK) {
        tn_session_info info;
        tn_session_get_info(session, &info);
        out.logits = hash(tn_session_logits(session, 0), info.n_vocab * sizeof(float));
    }
    tn_session_destroy(session);
    tn_model_close(model);
    tn_host_close(host);
    return out;
}

void settle() { std::this_thread::sleep_for(std::chrono::milliseconds(2100)); }

TEST(PackedSession, HasTheSameBitsPackedWrittenAndMapped)
{
    const TempFolder cache;
    const Outcome plain = start(default_model(), ""), first = start(default_model(), cache.path());
    ASSERT_EQ(plain.status, TN_OK) << tn_error_last()->message;
    EXPECT_EQ(plain.use, TN_PACK_CACHE_NONE);
    ASSERT_EQ(first.status, TN_OK);
    ASSERT_EQ(first.use, TN_PACK_CACHE_WRITTEN);
    const Outcome second = start(default_model(), cache.path());
    EXPECT_EQ(second.use, TN_PACK_CACHE_MAPPED);
    EXPECT_EQ(first.logits, plain.logits);
    EXPECT_EQ(second.logits, plain.logits);
    EXPECT_EQ(start(default_model(), cache.path(), nullptr, 32).use, TN_PACK_CACHE_MAPPED) << "a shorter context has the same weights";
    EXPECT_EQ(cache.names().size(), 1u);
}

TEST(PackedSession, ADamagedFileIsWarnedOfOnceAndWrittenAgain)
{
    const TempFolder cache;
    const Outcome good = start(default_model(), cache.path());
    ASSERT_EQ(good.use, TN_PACK_CACHE_WRITTEN);
    const std::string name = cache.names()[0], bytes = cache.read(name);
    std::mt19937 random(3);
    for (const char *what : {"body", "header", "cut", "empty", "long"}) {
        std::string bad = bytes;
        if (what[0] == 'b') bad[bad.size() - 1 - random() % (bad.size() / 2)] ^= 4;
        if (what[0] == 'h') bad[24] ^= 1;
        if (what[0] == 'c') bad.resize(bad.size() / 2);
        if (what[0] == 'e') bad.clear();
        if (what[0] == 'l') bad += 'x';
        cache.write(name, bad);
        const Outcome after = start(default_model(), cache.path());
        ASSERT_EQ(after.status, TN_OK);
        EXPECT_EQ(after.use, TN_PACK_CACHE_WRITTEN) << what;
        EXPECT_EQ(after.logits, good.logits) << what;
        EXPECT_EQ(after.warnings.size(), what[0] == 'e' ? 0u : 1u) << what; // an empty one is no file of ours
        EXPECT_EQ(cache.read(name), bytes) << what;
    }
}

// A model that is written over in place by one of the same size, with its time of change put back: only ctime and the content tell.
TEST(PackedSession, AReplacedModelIsPackedAgain)
{
    const TempFolder folder, cache;
    std::ifstream in(default_model(), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    folder.write("m.gguf", bytes);
    const std::string path = folder.at("m.gguf");
    EXPECT_EQ(start(path, cache.path()).use, TN_PACK_CACHE_NONE) << "just written: a change in the same tick would not show";
    EXPECT_EQ(cache.names().size(), 0u);
    settle();
    const Outcome before = start(path, cache.path());
    ASSERT_EQ(before.use, TN_PACK_CACHE_WRITTEN);
    ASSERT_EQ(start(path, cache.path()).use, TN_PACK_CACHE_MAPPED);
    struct stat info;
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    const size_t middle = bytes.size() / 2;
    for (size_t i = 0; i < 64; i++)
        bytes[middle + i] = static_cast<char>(bytes[middle + i] ^ (~bytes[middle + i] & 0x55) << 1); // -1 and +1 change places
    {
        std::fstream out(path, std::ios::binary | std::ios::in | std::ios::out);
        out.seekp(static_cast<std::streamoff>(middle));
        out.write(bytes.data() + middle, 64);
    }
    const struct timespec times[2] = {info.st_atim, info.st_mtim};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
    const Outcome after = start(path, cache.path());
    ASSERT_EQ(after.status, TN_OK);
    EXPECT_NE(after.use, TN_PACK_CACHE_MAPPED);
    EXPECT_NE(after.logits, before.logits);
    EXPECT_EQ(after.logits, start(path, "").logits) << "what the file now says";
    settle();
    EXPECT_NE(start(path, cache.path()).use, TN_PACK_CACHE_MAPPED);
    EXPECT_EQ(cache.names().size(), 1u) << "the new file takes the old one's place";
}

// The same bytes read in another order are other weights.
TEST(PackedSession, HowAFileIsReadIsPartOfTheKey)
{
    const TempFolder cache;
    const Outcome x86 = start(default_model(), cache.path());
    ASSERT_EQ(x86.use, TN_PACK_CACHE_WRITTEN);
    const Outcome seq = start(default_model(), cache.path(), "seq");
    EXPECT_EQ(seq.use, TN_PACK_CACHE_WRITTEN);
    EXPECT_EQ(seq.logits, start(default_model(), "", "seq").logits);
    EXPECT_NE(seq.logits, x86.logits);
}

TEST(PackedSession, EightProcessesAtATimeAgree)
{
    const TempFolder cache;
    const std::string expected = start(default_model(), "").logits;
    std::vector<pid_t> children;
    for (int i = 0; i < 8; i++) {
        const pid_t child = fork();
        if (child == 0) {
            bool good = true;
            for (int n = 0; n < 3; n++) {
                const Outcome out = start(default_model(), cache.path());
                good = good && out.status == TN_OK && out.logits == expected && out.warnings.empty();
            }
            _exit(good ? 0 : 1);
        }
        children.push_back(child);
    }
    for (const pid_t child : children) {
        int status;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    EXPECT_EQ(start(default_model(), cache.path()).use, TN_PACK_CACHE_MAPPED);
    EXPECT_EQ(cache.names().size(), 1u);
}

TEST(PackedSession, AFolderThatCannotBeMadeOrWrittenIsNoError)
{
    const TempFolder folder;
    folder.write("file", "x");
    const Outcome out = start(default_model(), folder.at("file") + "/below");
    EXPECT_EQ(out.status, TN_OK);
    EXPECT_EQ(out.use, TN_PACK_CACHE_FAILED);
    EXPECT_EQ(out.warnings.size(), 0u);
    const Outcome proc = start(default_model(), "/proc/ternion"); // read-only for root too
    EXPECT_EQ(proc.status, TN_OK);
    EXPECT_EQ(proc.use, TN_PACK_CACHE_FAILED);
}

// A mapped file that is cut short while it is in use is an error of the step, not the end of the process.
TEST(PackedSession, AMappedFileThatIsCutShortFailsTheStep)
{
    const TempFolder cache;
    ASSERT_EQ(start(default_model(), cache.path()).use, TN_PACK_CACHE_WRITTEN);
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_session *session = nullptr;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ctx = 64;
    params.pack_cache = cache.path().c_str();
    params.pack_cache_bytes_min = 1;
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
    ASSERT_EQ(tn_model_open(default_model().c_str(), nullptr, &model), TN_OK);
    ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK);
    ASSERT_EQ(tn_session_pack_cache(session), TN_PACK_CACHE_MAPPED);
    ASSERT_EQ(truncate(cache.at(cache.names()[0]).c_str(), 4096), 0);
    const int32_t token = 3;
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = 1;
    batch.tokens = &token;
    EXPECT_EQ(tn_session_decode(session, &batch), TN_IO) << "read as zeros, and said so";
    EXPECT_EQ(tn_session_seq_length(session, 0), 0u);
    tn_session_destroy(session);
    tn_model_close(model);
    tn_host_close(host);
    EXPECT_EQ(start(default_model(), cache.path()).use, TN_PACK_CACHE_WRITTEN);
}

} // namespace
