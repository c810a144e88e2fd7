// A terminal for the program, in tmux: keys go in, and the screen is read back.
#pragma once

#include "program.hpp"

#include <chrono>
#include <thread>

namespace cli
{

inline bool has_tmux() { return std::system("tmux -V >/dev/null 2>&1") == 0; }

inline std::string quoted(const std::string &word) { return "'" + word + "'"; } // no test's word has a quote in it

// A terminal of its own, in a tmux server of its own.
class Screen
{
  public:
    Screen(const Folder &folder, const std::string &arguments, const std::string &environment = "")
    {
        static int n_screens; // a server that was told to end may still be there
        socket_ = folder / ("tmux" + std::to_string(n_screens++));
        const std::string program = "env -u TERNION_MODEL -u NO_COLOR -u TN_CPU_MASK -u TN_CPU_DEVICES HOME=" + quoted(folder / "home") +
                                    " XDG_STATE_HOME=" + quoted(folder / "state") + " " + environment + " " + TN_TOOL + " chat " +
                                    arguments;
        const std::string script = folder / "script";
        write_file(script, "trap : INT\ncd " + quoted(folder / "") + "\n" + program + "\necho \"left with $?\"\nexec cat\n");
        tmux("new-session -d -x 150 -y 50 sh " + quoted(script));
        tmux("set-option -g history-limit 20000");
    }
    ~Screen() { tmux("kill-server"); }
    Screen(const Screen &) = delete;
    Screen &operator=(const Screen &) = delete;

    void keys(const std::string &names) { tmux("send-keys " + names); }
    void type(const std::string &text) { tmux("send-keys -l -- " + quoted(text)); }
    void line(const std::string &text)
    {
        type(text);
        keys("Enter");
    }
    void paste(const std::string &text)
    {
        tmux("set-buffer -- " + quoted(text));
        tmux("paste-buffer -p -r");
    }
    std::string text() const
    {
        FILE *pipe = popen(command("capture-pane -p -J -S -").c_str(), "r");
        std::string all;
        char bytes[4096];
        for (size_t n; (n = fread(bytes, 1, sizeof bytes, pipe)) > 0;) all.append(bytes, n);
        pclose(pipe);
        return all;
    }
    size_t count(const std::string &part) const
    {
        const std::string all = text();
        size_t n = 0;
        for (size_t at = 0; (at = all.find(part, at)) != std::string::npos; at += part.size()) n++;
        return n;
    }
    // Waits until `part` is there so many times, or the terminal is gone. A loaded machine has two minutes.
    bool shows(const std::string &part, size_t times = 1) const
    {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
        while (std::chrono::steady_clock::now() < deadline) {
            if (count(part) >= times) return true;
            if (text().empty()) break;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        ADD_FAILURE() << "'" << part << "' was not shown " << times << " times. The screen:\n" << text();
        return false;
    }

    // Waits for the prompt: a Ctrl-D that comes before it is none of the editor's.
    bool prompts() const
    {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
        while (std::chrono::steady_clock::now() < deadline) {
            std::string all = text();
            all.erase(all.find_last_not_of(" \n") + 1);
            const std::string last = all.substr(all.rfind('\n') + 1);
            if (last == ">" || (last.size() > 2 && last.compare(last.size() - 2, 2, " >") == 0)) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        ADD_FAILURE() << "there is no prompt. The screen:\n" << text();
        return false;
    }

  private:
    std::string command(const std::string &what) const { return "env -u TMUX tmux -u -f /dev/null -S " + quoted(socket_) + " " + what; }
    void tmux(const std::string &what) const { EXPECT_EQ(std::system(command(what + " 2>&1").c_str()), 0) << what; }
    std::string socket_;
};

} // namespace cli
