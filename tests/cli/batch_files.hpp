// Requests and results of ternion batch, for its tests.
#pragma once

#include "program.hpp"

#include <map>
#include <random>

namespace cli
{

// A line of requests. `body`: fields behind the prompt, "\"max_tokens\": 5".
inline std::string completion(const std::string &id, const std::string &prompt, const std::string &body)
{
    const Json text(json_string(prompt.c_str()), json_decref);
    char *quoted = json_dumps(text.get(), JSON_ENCODE_ANY);
    const std::string line = "{\"custom_id\": \"" + id +
                             "\", \"method\": \"POST\", \"url\": \"/v1/completions\", \"body\": {\"prompt\": " + quoted +
                             (body.empty() ? "" : ", " + body) + "}}\n";
    free(quoted);
    return line;
}

// Requests of several lengths, greedy and seeded, each with an id of its own.
inline std::string many_completions(int n, int n_tokens_max = 20)
{
    static const char *const prompts[] = {"Once upon a time", "The king said to his daughter", "A cat and a dog", "In the forest",
                                          "\"No,\" said the old witch"};
    std::mt19937 random(static_cast<unsigned>(n));
    std::string lines;
    for (int i = 0; i < n; i++) {
        const int n_tokens = 1 + static_cast<int>(random() % static_cast<unsigned>(n_tokens_max));
        const std::string sampling =
            i % 3 == 0 ? "\"temperature\": 0" : "\"temperature\": 0.8, \"seed\": " + std::to_string(random() % 1000);
        lines += completion("r" + std::to_string(i), prompts[random() % 5], sampling + ", \"max_tokens\": " + std::to_string(n_tokens));
    }
    return lines;
}

// Results by custom_id, or by the id that they all have, without the time that they were made at. A line that is not whole, or comes twice,
// is a failure.
inline std::map<std::string, std::string> results_of(const std::string &bytes, bool by_id = false)
{
    std::map<std::string, std::string> results;
    EXPECT_TRUE(bytes.empty() || bytes.back() == '\n') << "the last line is cut";
    std::istringstream lines(bytes);
    for (std::string line; std::getline(lines, line);) {
        const Json json = parse_json(line);
        if (!json) continue;
        json_object_del(json_object_get(json_object_get(json.get(), "response"), "body"), "created");
        const json_t *custom_id = json_object_get(json.get(), "custom_id");
        const std::string id = json_is_string(custom_id) && !by_id ? json_string_value(custom_id) : text_of(json.get(), "id");
        char *text = json_dumps(json.get(), JSON_SORT_KEYS);
        EXPECT_TRUE(results.emplace(id, text).second) << id << " came twice";
        free(text);
    }
    return results;
}

inline const json_t *body_of(const json_t *result) { return json_object_get(json_object_get(result, "response"), "body"); }

// The text of choice `index`.
inline std::string answer_of(const std::string &result, size_t index = 0)
{
    const Json json = parse_json(result);
    const json_t *choice = json_array_get(json_object_get(body_of(json.get()), "choices"), index);
    EXPECT_NE(choice, nullptr) << result;
    return choice ? text_of(choice, "text") : "";
}

// The code of a line that failed, "" where it did not.
inline std::string error_of(const std::string &result)
{
    const Json json = parse_json(result);
    const json_t *error = json_object_get(json.get(), "error");
    return json_is_object(error) ? text_of(error, "code") : "";
}

// The program, started and not waited for. Standard streams are /dev/null unless given.
class Started
{
  public:
    explicit Started(const Run &run, int in = -1, int out = -1, int err = -1)
    {
        child_ = fork();
        if (child_ == 0) {
            dup2(in >= 0 ? in : open("/dev/null", O_RDONLY), STDIN_FILENO);
            dup2(out >= 0 ? out : open("/dev/null", O_WRONLY), STDOUT_FILENO);
            dup2(err >= 0 ? err : open("/dev/null", O_WRONLY), STDERR_FILENO);
            become_program(run);
        }
    }
    ~Started()
    {
        if (child_ > 0) kill(SIGKILL);
        if (child_ > 0) wait();
    }
    Started(const Started &) = delete;
    Started &operator=(const Started &) = delete;
    void kill(int number) const { ::kill(child_, number); }
    // Returns the exit status, 128 + signal where one ended it; *max_rss: of its memory, in bytes.
    int wait(uint64_t *max_rss = nullptr)
    {
        int status = 0;
        rusage usage = {};
        while (wait4(child_, &status, 0, &usage) < 0 && errno == EINTR) {}
        child_ = -1;
        if (max_rss) *max_rss = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

  private:
    pid_t child_;
};

} // namespace cli
