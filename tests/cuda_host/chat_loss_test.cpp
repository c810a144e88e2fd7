// A conversation whose CUDA device is lost in the middle: what is said is what the CPU says, and one line tells of the loss.
#include "cli/screen.hpp"
#include "support/chat_model.hpp"

namespace
{

class CudaChat : public testing::Test
{
  protected:
    void SetUp() override
    {
        if (!cli::has_tmux()) GTEST_SKIP() << "tmux is not installed";
        ASSERT_NO_FATAL_FAILURE(tn_test::make_chat_model(cli::default_model(), folder_ / "model.gguf", tn_test::bitnet_jinja));
    }

    struct Told {
        std::string messages, screen;
        int n_launches = 0;
    };
    // Questions are answered one after another; the conversation is kept in a file.
    Told talk(const std::string &device, size_t n_questions, const std::string &options)
    {
        const std::string name = "talk" + std::to_string(n_talks_++), calls = folder_ / (name + ".calls");
        const std::string stand_in = "calls=" + calls + (options.empty() ? "" : "," + options);
        Told told;
        {
            cli::Screen screen(folder_, "-m model.gguf --temp 0 -n 6 --ignore-eos --device " + device,
                               "TN_CUDA_LIBRARY=" + cli::quoted(TN_STAND_IN) + " TN_CUDA_HOST=" + cli::quoted(stand_in));
            const char *const questions[] = {"Tell me a story", "And then?", "Why was that?"};
            for (size_t i = 0; i < n_questions; i++) {
                EXPECT_TRUE(screen.prompts());
                screen.line(questions[i]);
                EXPECT_TRUE(screen.shows("by -n]", i + 1));
            }
            EXPECT_TRUE(screen.prompts());
            screen.line("/save " + name + ".json");
            EXPECT_TRUE(screen.shows("[saved to"));
            EXPECT_TRUE(screen.prompts());
            screen.keys("C-d");
            EXPECT_TRUE(screen.shows("left with 0"));
            told.screen = screen.text();
        }
        told.messages = cli::read_file(folder_ / (name + ".json"));
        std::ifstream file(calls);
        std::string function;
        for (int n; file >> function >> n;)
            if (function == "cuGraphLaunch") told.n_launches = n;
        return told;
    }

  private:
    cli::Folder folder_;
    int n_talks_ = 0;
};

TEST_F(CudaChat, GoesOnWhereItsDeviceIsLostInTheMiddle)
{
    const Told want = talk("cpu0", 3, ""), one = talk("cuda:host", 1, ""), whole = talk("cuda:host", 3, "");
    EXPECT_GT(want.messages.size(), 200u);
    EXPECT_EQ(whole.messages, want.messages);
    ASSERT_GT(whole.n_launches, one.n_launches + 8);
    for (const int n : {one.n_launches + 1, one.n_launches + 3, whole.n_launches - 2}) { // a prompt, and two answers
        const Told lost = talk("cuda:host", 3, "fail=cuGraphLaunch:" + std::to_string(n) + ":719");
        EXPECT_EQ(lost.messages, want.messages) << n;
        const std::string line =
            "warning: cuda:host was lost (starting a step failed with CUDA_ERROR_LAUNCH_FAILED (719)): going on on cpu0";
        EXPECT_NE(lost.screen.find(line), std::string::npos) << lost.screen;
        EXPECT_EQ(lost.screen.find("lost"), lost.screen.rfind("lost")) << lost.screen;
    }
}

} // namespace
