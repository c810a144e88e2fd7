// Runs the ternion program and keeps what it printed.
#pragma once

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <jansson.h>
#include <memory>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace cli
{

inline std::string default_model() { return TN_SOURCE_DIR "/models/ternion-tales-6m.i2_s.gguf"; }

inline std::string read_file(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    std::stringstream all;
    all << file.rdbuf();
    return all.str();
}

inline void write_file(const std::string &path, const std::string &bytes) { std::ofstream(path, std::ios::binary) << bytes; }

inline bool exists(const std::string &path)
{
    struct stat status;
    return stat(path.c_str(), &status) == 0;
}

// A folder that goes with the test.
class Folder
{
  public:
    Folder()
    {
        const char *base = std::getenv("TMPDIR");
        std::string pattern = std::string(base ? base : "/tmp") + "/ternion-cli-XXXXXX";
        path_ = mkdtemp(pattern.data()) ? pattern : "";
    }
    ~Folder()
    {
        if (std::system(("rm -rf '" + path_ + "'").c_str()) != 0) std::perror("rm");
    }
    Folder(const Folder &) = delete;
    Folder &operator=(const Folder &) = delete;
    std::string operator/(const std::string &name) const { return path_ + "/" + name; }
    size_t count() const // of files in it
    {
        FILE *list = popen(("ls -A '" + path_ + "' | wc -l").c_str(), "r");
        size_t n = 0;
        if (std::fscanf(list, "%zu", &n) != 1) n = 0;
        pclose(list);
        return n;
    }

  private:
    std::string path_;
};

struct Result {
    int status; // of exit; 128 + signal where one ended it
    std::string out, err;
};

struct Run {
    std::vector<std::string> arguments;
    std::string input; // of standard input
    std::vector<std::pair<std::string, std::string>> environment;
    std::string out_path = ""; // where standard output goes, "": kept
    rlim_t file_size_max = RLIM_INFINITY;
};

inline void become_program(const Run &run)
{
    std::vector<char *> argv;
    std::string program = TN_TOOL;
    argv.push_back(program.data());
    std::vector<std::string> arguments = run.arguments;
    for (std::string &argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    for (const char *name :
         {"TERNION_MODEL", "TERNION_CACHE", "TERNION_CACHE_MAX", "TN_CPU_MASK", "TN_CPU_DEVICES", "TN_VULKAN", "NO_COLOR"})
        unsetenv(name);
    setenv("TERM", "xterm", 1);
    for (const auto &[name, value] : run.environment) setenv(name.c_str(), value.c_str(), 1);
    if (run.file_size_max != RLIM_INFINITY) {
        rlimit limit = {run.file_size_max, run.file_size_max};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    execv(argv[0], argv.data());
    _exit(127);
}

inline int exit_status(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

inline Result run(const Run &run)
{
    Folder folder;
    std::string in = folder / "in", out = folder / "out", err = folder / "err";
    write_file(in, run.input);
    pid_t child = fork();
    if (child == 0) {
        dup2(open(in.c_str(), O_RDONLY), STDIN_FILENO);
        dup2(open(run.out_path.empty() ? out.c_str() : run.out_path.c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
        dup2(open(err.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
        become_program(run);
    }
    Result result = {exit_status(child), "", ""};
    result.out = run.out_path.empty() ? read_file(out) : "";
    result.err = read_file(err);
    return result;
}

inline Result run(std::vector<std::string> arguments) { return run(Run{std::move(arguments), "", {}}); }

inline bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }
inline size_t count_lines(const std::string &text) { return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')); }

// One line that names the cause and ends with the command to type.
inline void expect_error(const Result &result, int status, const std::string &part)
{
    EXPECT_EQ(result.status, status) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(count_lines(result.err), 1u) << result.err;
    EXPECT_EQ(result.err.rfind("ternion: error: ", 0), 0u) << result.err;
    EXPECT_TRUE(contains(result.err, part)) << result.err;
    EXPECT_TRUE(contains(result.err, " Try: ")) << result.err;
}

using Json = std::unique_ptr<json_t, decltype(&json_decref)>;

inline Json parse_json(const std::string &text)
{
    json_error_t error;
    Json json(json_loads(text.c_str(), JSON_REJECT_DUPLICATES, &error), json_decref);
    EXPECT_NE(json.get(), nullptr) << error.text << " in line " << error.line << " of\n" << text;
    return json;
}

inline std::string text_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    EXPECT_TRUE(json_is_string(value)) << key;
    return json_is_string(value) ? std::string(json_string_value(value), json_string_length(value)) : "";
}

inline long long integer_of(const json_t *object, const char *key)
{
    EXPECT_TRUE(json_is_integer(json_object_get(object, key))) << key;
    return json_integer_value(json_object_get(object, key));
}

inline double number_of(const json_t *object, const char *key)
{
    EXPECT_TRUE(json_is_number(json_object_get(object, key))) << key;
    return json_number_value(json_object_get(object, key));
}

} // namespace cli
