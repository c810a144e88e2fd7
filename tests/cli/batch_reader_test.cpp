// Lines of requests: every byte of the input belongs to one line, however it arrives.
#include "program.hpp"

#include <random>
#include <thread>
#include <xxhash.h>

extern "C" {
#include "batch_reader.h"
}

namespace
{

struct Line {
    uint64_t number = 0;
    std::string text;
    uint64_t hash = 0, offset = 0, end = 0;
    bool too_long = false, unfinished = false;
    bool operator==(const Line &o) const
    {
        return number == o.number && text == o.text && hash == o.hash && offset == o.offset && end == o.end && too_long == o.too_long &&
               unfinished == o.unfinished;
    }
};

std::ostream &operator<<(std::ostream &out, const Line &line)
{
    return out << line.number << " [" << line.offset << ", " << line.end << ") " << line.text.size() << " bytes"
               << (line.too_long ? " too long" : "") << (line.unfinished ? " unfinished" : "");
}

// By cutting a string.
std::vector<Line> lines_of(const std::string &bytes, size_t len_max)
{
    std::vector<Line> lines;
    uint64_t number = 0;
    for (size_t at = 0; at < bytes.size();) {
        const size_t newline = bytes.find('\n', at), end = newline == std::string::npos ? bytes.size() : newline;
        Line line;
        line.number = ++number;
        line.offset = at;
        line.text = bytes.substr(at, end - at);
        line.unfinished = newline == std::string::npos;
        line.end = end + !line.unfinished;
        at = line.end;
        if (line.offset == 0 && line.text.compare(0, 3, "\xef\xbb\xbf") == 0) line.text.erase(0, 3);
        if (!line.text.empty() && line.text.back() == '\r') line.text.pop_back();
        if (line.text.find_first_not_of(" \t") == std::string::npos) continue;
        line.hash = XXH64(line.text.data(), line.text.size(), 0);
        line.too_long = len_max && line.text.size() > len_max;
        if (line.too_long) line.text.clear();
        lines.push_back(line);
    }
    return lines;
}

std::vector<Line> read_all(int fd, size_t len_max, int wait_ms = -1)
{
    tn_cli_batch_reader reader;
    tn_cli_batch_line line;
    tn_cli_batch_read_result result;
    std::vector<Line> lines;
    tn_cli_batch_reader_init(&reader, fd, len_max);
    while ((result = tn_cli_batch_read(&reader, wait_ms, &line)) != TN_CLI_BATCH_READ_END && result != TN_CLI_BATCH_READ_FAILED) {
        if (result == TN_CLI_BATCH_READ_LATER) continue;
        lines.push_back({line.number, std::string(line.text, line.len), line.hash, line.offset, line.end, line.too_long, line.unfinished});
    }
    EXPECT_EQ(result, TN_CLI_BATCH_READ_END);
    EXPECT_EQ(tn_cli_batch_read(&reader, wait_ms, &line), TN_CLI_BATCH_READ_END);
    tn_cli_batch_reader_deinit(&reader);
    return lines;
}

std::vector<Line> read_file_lines(const std::string &bytes, size_t len_max)
{
    cli::Folder folder;
    cli::write_file(folder / "in", bytes);
    const int fd = open((folder / "in").c_str(), O_RDONLY);
    std::vector<Line> lines = read_all(fd, len_max);
    close(fd);
    return lines;
}

// Through a pipe in pieces of the given sizes, over and over.
std::vector<Line> read_pieces(const std::string &bytes, size_t len_max, const std::vector<size_t> &sizes, int wait_ms)
{
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    std::thread writer([&] {
        for (size_t at = 0, i = 0; at < bytes.size(); i++) {
            const size_t n = std::min(bytes.size() - at, sizes[i % sizes.size()]);
            EXPECT_EQ(write(ends[1], bytes.data() + at, n), static_cast<ssize_t>(n));
            at += n;
        }
        close(ends[1]);
    });
    std::vector<Line> lines = read_all(ends[0], len_max, wait_ms);
    writer.join();
    close(ends[0]);
    return lines;
}

TEST(BatchReader, TakesMarksBlankLinesBothLineEndsZerosAndALastLineWithoutEnd)
{
    const char written[] = "\xef\xbb\xbf{\"a\"}\r\n\r\n \t\n\n{\"b\":\0}\n\r\r\n\xef\xbb\xbfx\nlast";
    const std::string bytes(written, sizeof written - 1);
    const std::vector<Line> lines = read_file_lines(bytes, 100);
    EXPECT_EQ(lines, lines_of(bytes, 100));
    ASSERT_EQ(lines.size(), 5u);
    EXPECT_EQ(lines[0].text, "{\"a\"}");
    EXPECT_EQ(lines[1].number, 5u);
    EXPECT_EQ(lines[1].text, std::string("{\"b\":\0}", 7));
    EXPECT_EQ(lines[2].text, "\r");
    EXPECT_EQ(lines[3].text, "\xef\xbb\xbfx");
    EXPECT_TRUE(lines[4].unfinished);
    EXPECT_EQ(lines[4].end, bytes.size());
    EXPECT_EQ(read_file_lines("", 100).size(), 0u);
    EXPECT_EQ(read_file_lines("\n\n", 100).size(), 0u);
    EXPECT_EQ(read_file_lines("\xef\xbb\xbf", 100).size(), 0u);
}

TEST(BatchReader, ALineThatIsTooLongIsToldAndTheNextOneIsWhole)
{
    for (size_t n : {9, 10, 11, 12, 13, 14, 15, 70000, 65536, 131072, 300001}) {
        for (const char *end : {"\n", "\r\n"}) {
            for (const char *mark : {"", "\xef\xbb\xbf"}) {
                const std::string bytes = std::string(mark) + std::string(n, 'x') + end + "next" + end + std::string(n, 'y');
                const std::vector<Line> lines = read_file_lines(bytes, 10);
                EXPECT_EQ(lines, lines_of(bytes, 10)) << n;
                ASSERT_EQ(lines.size(), 3u);
                EXPECT_EQ(lines[0].too_long, n > 10);
                EXPECT_EQ(lines[1].text, "next");
            }
        }
    }
}

TEST(BatchReader, TheSameLinesComeHoweverTheBytesArrive)
{
    std::mt19937 random(7);
    for (int round = 0; round < 150; round++) {
        std::string bytes = round % 3 == 0 ? "\xef\xbb\xbf" : "";
        const char alphabet[] = {'\n', '\n', '\r', ' ', '\0', 'a', '\xef', '\xbb', '\xbf'};
        const size_t n = random() % 400;
        for (size_t i = 0; i < n; i++)
            bytes += random() % 40 == 0 ? std::string(random() % 200000, 'z') : std::string(1, alphabet[random() % sizeof alphabet]);
        std::vector<size_t> sizes;
        for (int i = 0; i < 5; i++) sizes.push_back(1 + random() % (round % 2 ? 5 : 4000));
        if (bytes.size() > 100000) sizes.push_back(50000);
        const size_t len_max = round % 5 == 4 ? 0 : 1 + random() % 100;
        const std::vector<Line> expected = lines_of(bytes, len_max);
        EXPECT_EQ(read_file_lines(bytes, len_max), expected) << round;
        EXPECT_EQ(read_pieces(bytes, len_max, sizes, round % 4 ? -1 : 0), expected) << round;
    }
}

TEST(BatchReader, DoesNotWaitForWhatIsNotThereAndKeepsWhatCame)
{
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    tn_cli_batch_reader reader;
    tn_cli_batch_line line;
    tn_cli_batch_reader_init(&reader, ends[0], 100);
    EXPECT_EQ(tn_cli_batch_read(&reader, 0, &line), TN_CLI_BATCH_READ_LATER);
    ASSERT_EQ(write(ends[1], "one", 3), 3);
    EXPECT_EQ(tn_cli_batch_read(&reader, 0, &line), TN_CLI_BATCH_READ_LATER);
    ASSERT_EQ(write(ends[1], "\ntwo", 4), 4);
    ASSERT_EQ(tn_cli_batch_read(&reader, 0, &line), TN_CLI_BATCH_READ_LINE);
    EXPECT_EQ(std::string(line.text, line.len), "one");
    EXPECT_EQ(tn_cli_batch_read(&reader, 0, &line), TN_CLI_BATCH_READ_LATER);
    close(ends[1]);
    ASSERT_EQ(tn_cli_batch_read(&reader, 0, &line), TN_CLI_BATCH_READ_LINE);
    EXPECT_EQ(std::string(line.text, line.len), "two");
    EXPECT_EQ(tn_cli_batch_read(&reader, 0, &line), TN_CLI_BATCH_READ_END);
    tn_cli_batch_reader_deinit(&reader);
    close(ends[0]);
}

TEST(BatchReader, AFailedReadIsTold)
{
    tn_cli_batch_reader reader;
    tn_cli_batch_line line;
    const int folder = open("/", O_RDONLY);
    tn_cli_batch_reader_init(&reader, folder, 100);
    EXPECT_EQ(tn_cli_batch_read(&reader, -1, &line), TN_CLI_BATCH_READ_FAILED);
    EXPECT_EQ(errno, EISDIR);
    tn_cli_batch_reader_deinit(&reader);
    close(folder);
}

TEST(BatchReader, MemoryIsThatOfTheLongestLineAllowed)
{
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    std::thread writer([&] {
        const std::string piece(1 << 16, 'x');
        for (int i = 0; i < 2000; i++) ASSERT_EQ(write(ends[1], piece.data(), piece.size()), static_cast<ssize_t>(piece.size()));
        close(ends[1]);
    });
    tn_cli_batch_reader reader;
    tn_cli_batch_line line;
    tn_cli_batch_reader_init(&reader, ends[0], 1 << 20);
    EXPECT_EQ(tn_cli_batch_read(&reader, -1, &line), TN_CLI_BATCH_READ_LINE);
    EXPECT_TRUE(line.too_long);
    EXPECT_EQ(line.end, 2000u << 16);
    EXPECT_LE(reader.capacity, 3u << 20);
    tn_cli_batch_reader_deinit(&reader);
    writer.join();
    close(ends[0]);
}

} // namespace
