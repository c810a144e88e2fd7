// Tests of file mappings, above all of files that are cut short while they are mapped.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

extern "C" {
#include "base/file_map.h"
}

namespace
{

const size_t kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));

// A file of the given size filled with 0xA5, removed at the end.
class TempFile
{
  public:
    explicit TempFile(size_t size)
    {
        char name[] = "/tmp/tn_file_map_XXXXXX";
        const int fd = mkstemp(name);
        path = name;
        const std::vector<char> bytes(size, '\xA5');
        EXPECT_EQ(write(fd, bytes.data(), size), static_cast<ssize_t>(size));
        close(fd);
    }
    ~TempFile() { unlink(path.c_str()); }
    void cut(size_t size) const { ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(size)), 0); }
    std::string path;
};

std::string last() { return tn_error_last()->message; }

uint8_t read_byte(const tn_file_map &map, size_t at) { return *const_cast<const volatile uint8_t *>(map.data + at); }

TEST(FileMap, MapsTheWholeFile)
{
    const TempFile file(3 * kPage + 5);
    tn_file_map map;
    ASSERT_EQ(tn_file_map_open(file.path.c_str(), &map), TN_OK);
    EXPECT_EQ(map.size_bytes, 3 * kPage + 5);
    for (size_t i = 0; i < map.size_bytes; ++i) ASSERT_EQ(map.data[i], 0xA5);
    EXPECT_EQ(tn_file_map_check(&map, "x"), TN_OK);
    tn_file_map_close(&map);
    EXPECT_EQ(map.data, nullptr);
    tn_file_map_close(&map);
}

// Resident pages of this process that lie in files.
size_t file_pages()
{
    size_t size, resident, shared;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (!statm) return 0;
    if (fscanf(statm, "%zu %zu %zu", &size, &resident, &shared) != 3) shared = 0;
    fclose(statm);
    return shared;
}

TEST(FileMap, ReleasedPagesLeaveMemoryAndComeBack)
{
    const size_t n_pages = 4096;
    const TempFile file(n_pages * kPage - 7);
    tn_file_map map;
    ASSERT_EQ(tn_file_map_open(file.path.c_str(), &map), TN_OK);
    for (size_t i = 0; i < map.size_bytes; i += kPage) ASSERT_EQ(read_byte(map, i), 0xA5);
    const size_t before = file_pages();
    tn_file_map_release(&map, 5, map.size_bytes); // beyond the end too
    const size_t after = file_pages();
    if (before != 0) {
        EXPECT_GE(before, after + n_pages / 2); // the kernel counts roughly
    }
    tn_file_map_release(&map, map.size_bytes, 1);
    tn_file_map_release(&map, SIZE_MAX, SIZE_MAX);
    for (size_t i = 0; i < map.size_bytes; i += 97) ASSERT_EQ(read_byte(map, i), 0xA5);
    EXPECT_EQ(tn_file_map_check(&map, "x"), TN_OK);
    tn_file_map_close(&map);
}

TEST(FileMap, TheStampChangesWithTheFile)
{
    const TempFile file(100);
    tn_file_map first, second;
    ASSERT_EQ(tn_file_map_open(file.path.c_str(), &first), TN_OK);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const int fd = open(file.path.c_str(), O_WRONLY);
    const struct timespec mtime[2] = {{0, UTIME_OMIT},
                                      {first.stamp.mtime_ns / 1000000000, static_cast<long>(first.stamp.mtime_ns % 1000000000)}};
    ASSERT_EQ(pwrite(fd, "x", 1, 50), 1);
    ASSERT_EQ(futimens(fd, mtime), 0);
    close(fd);
    ASSERT_EQ(tn_file_map_open(file.path.c_str(), &second), TN_OK);
    EXPECT_EQ(second.stamp.mtime_ns, first.stamp.mtime_ns);
    EXPECT_EQ(second.stamp.inode, first.stamp.inode);
    EXPECT_EQ(second.stamp.size_bytes, 100u);
    EXPECT_GT(second.stamp.ctime_ns, first.stamp.ctime_ns);
    EXPECT_GE(second.opened_ns, second.stamp.ctime_ns);
    tn_file_map_close(&first);
    tn_file_map_close(&second);
}

TEST(FileMap, AnEmptyFileIsAnEmptyMap)
{
    const TempFile file(0);
    tn_file_map map;
    ASSERT_EQ(tn_file_map_open(file.path.c_str(), &map), TN_OK);
    EXPECT_EQ(map.data, nullptr);
    EXPECT_EQ(map.size_bytes, 0u);
    EXPECT_EQ(tn_file_map_check(&map, "x"), TN_OK);
    tn_file_map_close(&map);
}

TEST(FileMap, AMissingFileIsNotFoundByName)
{
    tn_file_map map;
    EXPECT_EQ(tn_file_map_open("/nonexistent/model.gguf", &map), TN_NOT_FOUND);
    EXPECT_EQ(last(), "/nonexistent/model.gguf: there is no such file: check the path");
    EXPECT_EQ(tn_error_last()->native_code, ENOENT);
    EXPECT_EQ(map.data, nullptr);
}

TEST(FileMap, WhatIsNotARegularFileIsRefused)
{
    tn_file_map map;
    EXPECT_EQ(tn_file_map_open("/tmp", &map), TN_IO);
    EXPECT_NE(last().find("is a folder"), std::string::npos);
    EXPECT_EQ(tn_file_map_open("/dev/null", &map), TN_IO);
    EXPECT_NE(last().find("not a regular file"), std::string::npos);
    const std::string pipe = "/tmp/tn_file_map_pipe_" + std::to_string(getpid());
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    EXPECT_EQ(tn_file_map_open(pipe.c_str(), &map), TN_IO); // and does not wait for a writer
    unlink(pipe.c_str());
}

TEST(FileMap, AFileWithoutPermissionSaysSo)
{
    if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
    const TempFile file(10);
    chmod(file.path.c_str(), 0);
    tn_file_map map;
    EXPECT_EQ(tn_file_map_open(file.path.c_str(), &map), TN_IO);
    EXPECT_EQ(tn_error_last()->native_code, EACCES);
}

TEST(FileMap, ALongPathDoesNotHideTheCause)
{
    tn_file_map map;
    EXPECT_EQ(tn_file_map_open(("/" + std::string(5000, 'p')).c_str(), &map), TN_IO);
    EXPECT_EQ(tn_error_last()->native_code, ENAMETOOLONG);
    EXPECT_NE(last().find("could not open it: File name too long"), std::string::npos) << last();
}

TEST(FileMap, AFileCutShortReadsAsZerosAndIsReported)
{
    const TempFile file(4 * kPage), other(4 * kPage);
    tn_file_map map, map_other;
    ASSERT_EQ(tn_file_map_open(file.path.c_str(), &map), TN_OK);
    ASSERT_EQ(tn_file_map_open(other.path.c_str(), &map_other), TN_OK);
    file.cut(kPage);
    EXPECT_EQ(read_byte(map, kPage - 1), 0xA5);
    EXPECT_EQ(tn_file_map_check(&map, "model.gguf"), TN_OK); // nothing missing was read yet
    errno = 1234;
    EXPECT_EQ(read_byte(map, 3 * kPage + 17), 0);
    EXPECT_EQ(errno, 1234);
    EXPECT_EQ(tn_file_map_check(&map, "model.gguf"), TN_IO);
    EXPECT_NE(last().find("model.gguf: the file was cut short"), std::string::npos);
    for (size_t i = kPage; i < 4 * kPage; ++i) ASSERT_EQ(read_byte(map, i), 0);
    EXPECT_EQ(read_byte(map_other, 3 * kPage), 0xA5);
    EXPECT_EQ(tn_file_map_check(&map_other, "other"), TN_OK);
    tn_file_map_close(&map);
    tn_file_map_close(&map_other);
}

TEST(FileMap, AReusedPlaceInTheTableStartsClean)
{
    const TempFile file(2 * kPage);
    tn_file_map map;
    ASSERT_EQ(tn_file_map_open(file.path.c_str(), &map), TN_OK);
    file.cut(0);
    EXPECT_EQ(read_byte(map, 0), 0);
    EXPECT_EQ(tn_file_map_check(&map, "x"), TN_IO);
    const int slot = map.slot;
    tn_file_map_close(&map);
    const TempFile next(2 * kPage);
    ASSERT_EQ(tn_file_map_open(next.path.c_str(), &map), TN_OK);
    EXPECT_EQ(map.slot, slot);
    EXPECT_EQ(tn_file_map_check(&map, "x"), TN_OK);
    tn_file_map_close(&map);
}

TEST(FileMap, AFullTableIsALimitAndHealsByClosing)
{
    const TempFile file(16);
    std::vector<tn_file_map> maps;
    tn_status status = TN_OK;
    while (maps.size() < 5000) {
        tn_file_map map;
        status = tn_file_map_open(file.path.c_str(), &map);
        if (status != TN_OK) break;
        maps.push_back(map);
    }
    EXPECT_EQ(status, TN_LIMIT);
    EXPECT_GE(maps.size(), 256u);
    EXPECT_NE(last().find(file.path), std::string::npos);
    EXPECT_NE(last().find(std::to_string(maps.size())), std::string::npos);
    tn_file_map_close(&maps.back());
    maps.pop_back();
    tn_file_map map;
    ASSERT_EQ(tn_file_map_open(file.path.c_str(), &map), TN_OK);
    tn_file_map_close(&map);
    for (auto &one : maps) tn_file_map_close(&one);
}

TEST(FileMap, ManyThreadsMayMeetMissingPagesAtOnce)
{
    constexpr int kThreads = 4, kRounds = 100;
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&wrong] {
            for (int round = 0; round < kRounds; ++round) {
                const TempFile cut(3 * kPage), whole(kPage);
                tn_file_map map_cut, map_whole;
                if (tn_file_map_open(cut.path.c_str(), &map_cut) != TN_OK || tn_file_map_open(whole.path.c_str(), &map_whole) != TN_OK) {
                    ++wrong;
                    return;
                }
                if (truncate(cut.path.c_str(), static_cast<off_t>(kPage)) != 0) ++wrong;
                if (read_byte(map_cut, 2 * kPage) != 0 || tn_file_map_check(&map_cut, "c") != TN_IO) ++wrong;
                if (read_byte(map_whole, 0) != 0xA5 || tn_file_map_check(&map_whole, "w") != TN_OK) ++wrong;
                tn_file_map_close(&map_cut);
                tn_file_map_close(&map_whole);
            }
        });
    }
    for (auto &thread : threads) thread.join();
    EXPECT_EQ(wrong.load(), 0);
}

// Reads a missing page of a mapping that is not the library's.
void fault_elsewhere(const TempFile &file)
{
    const int fd = open(file.path.c_str(), O_RDONLY);
    void *p = mmap(nullptr, 2 * kPage, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED || truncate(file.path.c_str(), 0) != 0) std::_Exit(3);
    (void)*static_cast<volatile const char *>(p);
    std::_Exit(4);
}

void open_and_close()
{
    const TempFile file(kPage);
    tn_file_map map;
    if (tn_file_map_open(file.path.c_str(), &map) != TN_OK) std::_Exit(5);
    tn_file_map_close(&map);
}

// The handler is installed once a process, so these need one of their own each.
class FileMapDeathTest : public testing::Test
{
  protected:
    void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(FileMapDeathTest, OtherFaultsKillAsBefore)
{
    EXPECT_EXIT(
        {
            std::signal(SIGBUS, SIG_DFL);
            open_and_close();
            fault_elsewhere(TempFile(2 * kPage));
        },
        testing::KilledBySignal(SIGBUS), "");
}

TEST_F(FileMapDeathTest, OtherFaultsReachTheHandlerThatWasThereBefore)
{
    EXPECT_EXIT(
        {
            struct sigaction action = {};
            action.sa_sigaction = [](int, siginfo_t *info, void *) { std::_Exit(info->si_addr != nullptr ? 42 : 43); };
            action.sa_flags = SA_SIGINFO;
            sigaction(SIGBUS, &action, nullptr);
            open_and_close();
            fault_elsewhere(TempFile(2 * kPage));
        },
        testing::ExitedWithCode(42), "");
}

TEST_F(FileMapDeathTest, OtherFaultsReachASimpleHandlerToo)
{
    EXPECT_EXIT(
        {
            std::signal(SIGBUS, [](int) { std::_Exit(44); });
            open_and_close();
            fault_elsewhere(TempFile(2 * kPage));
        },
        testing::ExitedWithCode(44), "");
}

TEST_F(FileMapDeathTest, ASentSignalThatWasIgnoredStaysIgnored)
{
    EXPECT_EXIT(
        {
            std::signal(SIGBUS, SIG_IGN);
            open_and_close();
            std::raise(SIGBUS);
            std::_Exit(0);
        },
        testing::ExitedWithCode(0), "");
}

TEST_F(FileMapDeathTest, ASentSignalKillsWhereItDidBefore)
{
    EXPECT_EXIT(
        {
            std::signal(SIGBUS, SIG_DFL);
            open_and_close();
            std::raise(SIGBUS);
            std::_Exit(0);
        },
        testing::KilledBySignal(SIGBUS), "");
}

} // namespace
