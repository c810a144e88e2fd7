// The file of typed lines: where it is, who may read it, how long it gets.
#include "program.hpp"

#include <cerrno>

extern "C" {
#include "history.h"
}

namespace
{

std::vector<std::string> load(const std::string &path)
{
    std::vector<std::string> lines;
    tn_cli_history_load(
        path.c_str(), [](void *user, const char *line) { static_cast<std::vector<std::string> *>(user)->emplace_back(line); }, &lines);
    return lines;
}

class History : public testing::Test
{
  protected:
    void SetUp() override
    {
        setenv("HOME", (folder / "home").c_str(), 1);
        unsetenv("XDG_STATE_HOME");
    }
    void TearDown() override
    {
        setenv("HOME", home.c_str(), 1);
        if (has_state) setenv("XDG_STATE_HOME", state.c_str(), 1);
    }
    std::string path() const
    {
        char bytes[4096];
        return tn_cli_history_path(bytes, sizeof bytes) ? bytes : "";
    }
    cli::Folder folder;
    std::string home = std::getenv("HOME") ? std::getenv("HOME") : "", state;
    bool has_state = std::getenv("XDG_STATE_HOME") != nullptr && !(state = std::getenv("XDG_STATE_HOME")).empty();
};

TEST_F(History, IsWhereTheXdgSpecificationPutsIt)
{
    EXPECT_EQ(path(), folder / "home/.local/state/ternion/history");
    setenv("XDG_STATE_HOME", (folder / "state").c_str(), 1);
    EXPECT_EQ(path(), folder / "state/ternion/history");
    EXPECT_TRUE(cli::exists(folder / "state/ternion"));
    setenv("XDG_STATE_HOME", "relative", 1);
    EXPECT_EQ(path(), folder / "home/.local/state/ternion/history");
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    EXPECT_EQ(path(), "");
    setenv("XDG_STATE_HOME", "/proc/self/nothing", 1); // cannot be made
    EXPECT_EQ(path(), "");
    char small[8];
    setenv("XDG_STATE_HOME", (folder / "state").c_str(), 1);
    EXPECT_FALSE(tn_cli_history_path(small, sizeof small));
}

TEST_F(History, KeepsLinesForItsOwnerAlone)
{
    const std::string file = path();
    EXPECT_TRUE(load(file).empty());
    EXPECT_EQ(tn_cli_history_append(file.c_str(), "one"), 0);
    EXPECT_EQ(tn_cli_history_append(file.c_str(), "two\nlines"), 0);
    EXPECT_EQ(load(file), (std::vector<std::string>{"one", "two lines"}));
    struct stat status;
    ASSERT_EQ(stat(file.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    EXPECT_EQ(tn_cli_history_append((folder / "no/such/folder").c_str(), "x"), ENOENT);
}

TEST_F(History, IsCutWhenItHasGrown)
{
    const std::string file = path();
    std::string lines;
    for (int i = 0; i < 2 * TN_CLI_HISTORY_MAX; i++) lines += "line " + std::to_string(i) + "\n";
    cli::write_file(file, lines);
    std::vector<std::string> loaded = load(file);
    ASSERT_EQ(loaded.size(), static_cast<size_t>(TN_CLI_HISTORY_MAX));
    EXPECT_EQ(loaded.front(), "line 1000");
    EXPECT_EQ(loaded.back(), "line 1999");
    EXPECT_EQ(cli::read_file(file), lines) << "not yet";
    EXPECT_EQ(tn_cli_history_append(file.c_str(), "last"), 0);
    loaded = load(file);
    EXPECT_EQ(loaded.front(), "line 1001");
    EXPECT_EQ(loaded.back(), "last");
    EXPECT_EQ(cli::count_lines(cli::read_file(file)), static_cast<size_t>(TN_CLI_HISTORY_MAX));
    EXPECT_EQ(load(file), loaded);
    EXPECT_EQ(std::system(("test $(ls '" + (folder / "home/.local/state/ternion") + "' | wc -l) = 1").c_str()), 0)
        << "nothing else is left";
}

} // namespace
