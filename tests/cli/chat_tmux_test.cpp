// ternion chat as somebody types: keys go in through tmux, and the screen is read back.
#include "program.hpp"
#include "screen.hpp"
#include "support/chat_model.hpp"

#include <chrono>
#include <thread>

namespace
{

using cli::contains;
using cli::quoted;
using cli::Screen;

class ChatTmux : public testing::Test
{
  protected:
    void SetUp() override
    {
        if (!cli::has_tmux()) GTEST_SKIP() << "tmux is not installed";
        model = folder / "model.gguf";
        ASSERT_NO_FATAL_FAILURE(tn_test::make_chat_model(cli::default_model(), model, tn_test::bitnet_jinja, 8192));
    }
    std::string flags(const std::string &more) const { return "-m " + quoted(model) + " -s 1 " + more; }
    cli::Json saved(const std::string &name) const { return cli::parse_json(cli::read_file(folder / name)); }
    static std::string content(const cli::Json &json, size_t index)
    {
        return cli::text_of(json_array_get(json_object_get(json.get(), "messages"), index), "content");
    }
    cli::Folder folder;
    std::string model;
};

#ifdef TN_HAVE_LIBEDIT
TEST_F(ChatTmux, LinesAreEditedAndHistoryIsKept)
{
    {
        Screen screen(folder, flags("-c 512 -n 1"));
        ASSERT_TRUE(screen.shows("> "));
        screen.type("/system wrld");
        screen.keys("Left Left Left");
        screen.type("o");
        screen.keys("Enter");
        screen.line("/system");
        ASSERT_TRUE(screen.shows("system: world"));
        screen.line("/system Zoë"); // a character of two bytes
        screen.type("/system changed");
        screen.keys("C-a C-k");
        screen.line("/system");
        ASSERT_TRUE(screen.shows("system: Zo"));
        screen.keys("Up Up Up Up Enter"); // "/system", "/system Zoë", "/system", "/system world"
        ASSERT_TRUE(screen.shows("the system message is set", 3));
        screen.line("/system");
        ASSERT_TRUE(screen.shows("system: world", 2));
        screen.line(" secret"); // begins with a blank: is not remembered
        ASSERT_TRUE(screen.shows("by -n]"));
        ASSERT_TRUE(screen.prompts());
        screen.keys("C-d");
        ASSERT_TRUE(screen.shows("left with 0"));
    }
    const std::string path = folder / "state/ternion/history";
    struct stat status;
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    const std::string kept = cli::read_file(path);
    EXPECT_EQ(kept.rfind("/system world\n/system\n", 0), 0u) << kept;
    EXPECT_TRUE(contains(kept, "Zoë"));
    EXPECT_FALSE(contains(kept, "secret"));
    {
        Screen screen(folder, flags("-c 512"));
        ASSERT_TRUE(screen.shows("> "));
        screen.keys("Up Up Enter");
        ASSERT_TRUE(screen.shows("> /system world"));
        ASSERT_TRUE(screen.shows("the system message is set"));
        ASSERT_TRUE(screen.prompts());
        screen.keys("C-d");
        ASSERT_TRUE(screen.shows("left with 0"));
    }
    const std::string before = cli::read_file(path);
    Screen screen(folder, flags("-c 512 --no-history"));
    ASSERT_TRUE(screen.shows("> "));
    screen.line("/stats");
    ASSERT_TRUE(screen.shows("messages     0"));
    screen.line("/exit");
    ASSERT_TRUE(screen.shows("left with 0"));
    EXPECT_EQ(cli::read_file(path), before);
}

TEST_F(ChatTmux, APastedTextIsOneMessage)
{
    Screen screen(folder, flags("-n 4"));
    ASSERT_TRUE(screen.shows("> "));
    screen.paste("pasted one\npasted two");
    ASSERT_TRUE(screen.shows("pasted two"));
    screen.line(" and more");
    ASSERT_TRUE(screen.shows("by -n]"));
    screen.line("/save pasted.json");
    ASSERT_TRUE(screen.shows("[saved to pasted.json]"));
    EXPECT_EQ(content(saved("pasted.json"), 0), "pasted one\npasted two and more");
    screen.line("/clear");
    ASSERT_TRUE(screen.shows("the conversation is empty"));
    const std::string foreign = "one café two\n/exit \u4f60\u597d\n\U0001f600 last";
    screen.paste(foreign);
    ASSERT_TRUE(screen.shows(" last"));
    screen.line("!");
    ASSERT_TRUE(screen.shows("by -n]", 2));
    screen.line("/save foreign.json");
    ASSERT_TRUE(screen.shows("[saved to foreign.json]"));
    EXPECT_EQ(content(saved("foreign.json"), 0), foreign + "!");
}
#endif

TEST_F(ChatTmux, MessagesHaveManyLines)
{
    Screen screen(folder, flags("-n 4"));
    ASSERT_TRUE(screen.shows("> "));
    screen.line("first\\");
    ASSERT_TRUE(screen.shows("\n. "));
    screen.line("second");
    ASSERT_TRUE(screen.shows("by -n]"));
    screen.line("\"\"\"");
    screen.line("/not a command");
    screen.line("");
    screen.line("end\"\"\"");
    ASSERT_TRUE(screen.shows("by -n]", 2));
    screen.line("//slash");
    ASSERT_TRUE(screen.shows("by -n]", 3));
    screen.line("\"\"\"one line\"\"\"");
    ASSERT_TRUE(screen.shows("by -n]", 4));
    screen.line("\"\"\"given up");
    ASSERT_TRUE(screen.shows("given up\n."));
    screen.keys("C-c");
    ASSERT_TRUE(screen.shows("leaves]"));
    screen.line("/save lines.json");
    ASSERT_TRUE(screen.shows("[saved to lines.json]"));
    cli::Json json = saved("lines.json");
    EXPECT_EQ(content(json, 0), "first\nsecond");
    EXPECT_EQ(content(json, 2), "/not a command\n\nend");
    EXPECT_EQ(content(json, 4), "/slash");
    EXPECT_EQ(content(json, 6), "one line");
    EXPECT_EQ(json_array_size(json_object_get(json.get(), "messages")), 8u);
}

TEST_F(ChatTmux, CtrlCStopsTheAnswerAndNotTheSession)
{
    Screen screen(folder, flags("--ignore-eos -sys Short"), "TN_CPU_MASK=scalar"); // 8192 tokens take a minute and more
    ASSERT_TRUE(screen.shows("> "));
    screen.line("Tell me a story");
    const std::string before = screen.text();
    ASSERT_TRUE(screen.shows("the", 3)); // one is in the header
    for (int i = 0; i < 3000 && screen.text().size() < before.size() + 100; i++) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    screen.keys("C-c");
    ASSERT_TRUE(screen.shows("[stopped]"));
    screen.line("/stats");
    ASSERT_TRUE(screen.shows("messages     3"));
    EXPECT_EQ(screen.count("the context is full"), 0u);
    screen.line("/save stopped.json");
    ASSERT_TRUE(screen.shows("[saved to stopped.json]"));
    const std::string kept = content(saved("stopped.json"), 2);
    EXPECT_GT(kept.size(), 20u);
    EXPECT_TRUE(contains(screen.text(), kept.substr(1, 15))) << kept;
    screen.line("/set n 3");
    screen.line("And then?"); // the stopped answer is part of the conversation
    ASSERT_TRUE(screen.shows("by -n]"));
    screen.line("/stats");
    ASSERT_TRUE(screen.shows("messages     5"));
    const std::string text = screen.text(), last = text.substr(text.rfind("last prompt"));
    unsigned n_prompt = 0, n_new = 0;
    ASSERT_EQ(std::sscanf(last.c_str(), "last prompt %u tokens, %u of them new", &n_prompt, &n_new), 2) << last;
    EXPECT_LT(n_new, 20u) << "what the session holds is not computed again";
    EXPECT_GT(n_prompt, n_new + 20u);
    ASSERT_TRUE(screen.prompts());
    screen.keys("C-d");
    ASSERT_TRUE(screen.shows("left with 0"));
}

TEST_F(ChatTmux, CtrlCAtThePromptDropsTheLineAndTwiceLeaves)
{
    Screen screen(folder, flags("-n 4"));
    ASSERT_TRUE(screen.shows("> "));
    screen.type("junk");
    ASSERT_TRUE(screen.shows("junk"));
    screen.keys("C-c");
    ASSERT_TRUE(screen.shows("Ctrl-C again"));
    screen.line("/stats");
    ASSERT_TRUE(screen.shows("messages     0")); // the line was dropped, and the count begins anew
    ASSERT_TRUE(screen.prompts());
    screen.keys("C-c");
    ASSERT_TRUE(screen.shows("Ctrl-C again", 2));
    ASSERT_TRUE(screen.prompts());
    screen.keys("C-c");
    ASSERT_TRUE(screen.shows("left with 130"));
}

TEST_F(ChatTmux, TheContextIsShownWhenItFills)
{
    Screen screen(folder, flags("-c 64 -n 16 --ignore-eos"));
    ASSERT_TRUE(screen.shows("> "));
    for (int i = 0; i < 4 && screen.count("of 64 tokens are used") == 0; i++) {
        screen.line("Hello");
        ASSERT_TRUE(screen.shows("by -n]", static_cast<size_t>(i) + 1));
    }
    ASSERT_TRUE(screen.shows("of 64 tokens are used"));
    ASSERT_TRUE(screen.shows("/64 > "));
    screen.line("Once upon a time there was a king and a queen and they had a dog and a cat and a bird and a fish and a horse and a cow");
    ASSERT_TRUE(screen.shows("but the context has 64: shorten the message, take turns back with /undo, begin anew with /clear"));
    ASSERT_TRUE(screen.shows("/64 > ", 2)); // the conversation is still there
    screen.line("/set n -1");
    screen.line("/undo");
    ASSERT_TRUE(screen.shows("messages are left]\n> ")); // what was taken back is in use no more
    screen.line("Go on");
    ASSERT_TRUE(screen.shows("the context is full (64 tokens) and the answer ends here"));
    screen.line("/clear");
    ASSERT_TRUE(screen.shows("the conversation is empty"));
    screen.line("/set n 4");
    screen.line("Hello");
    ASSERT_TRUE(screen.shows("after 4 tokens by -n]"));
    screen.line("/stats");
    ASSERT_TRUE(screen.shows("messages     2"));
}

TEST_F(ChatTmux, ATurnWhoseNewAnswerFailsStaysAsItWas)
{
    Screen screen(folder, flags("-c 64 -n 4 -p Hello"));
    ASSERT_TRUE(screen.shows("by -n]"));
    screen.line("/save before.json");
    ASSERT_TRUE(screen.shows("[saved to before.json]"));
    std::string system = "/system";
    for (int i = 0; i < 80; i++) system += " king";
    screen.line(system);
    ASSERT_TRUE(screen.shows("the system message is set"));
    screen.line("/regen");
    ASSERT_TRUE(screen.shows("the turn stays as it was"));
    screen.line("/save after.json");
    ASSERT_TRUE(screen.shows("[saved to after.json]"));
    EXPECT_EQ(content(saved("after.json"), 1), "Hello");
    EXPECT_EQ(content(saved("after.json"), 2), content(saved("before.json"), 1));
}

TEST_F(ChatTmux, CommandsDoWhatTheySay)
{
    Screen screen(folder, flags("-n 6 -sys One -p Hello"));
    ASSERT_TRUE(screen.shows("by -n]")); // -p is the first message
    screen.line("/help");
    for (const char *name : {"/help", "/system", "/clear", "/undo", "/regen", "/set", "/stats", "/save", "/load", "/exit"})
        ASSERT_TRUE(screen.shows(std::string("  ") + name));
    screen.line("/save a.json");
    ASSERT_TRUE(screen.shows("[saved to a.json]"));
    screen.line("/save a.json");
    ASSERT_TRUE(screen.shows("exists already"));
    screen.line("/regen");
    ASSERT_TRUE(screen.shows("by -n]", 2));
    screen.line("/save b.json");
    ASSERT_TRUE(screen.shows("[saved to b.json]"));
    EXPECT_EQ(content(saved("a.json"), 0), "One");
    EXPECT_EQ(content(saved("a.json"), 1), "Hello");
    EXPECT_EQ(content(saved("b.json"), 1), "Hello");
    EXPECT_NE(content(saved("a.json"), 2), content(saved("b.json"), 2)) << "another answer of the same seed";
    screen.line("/undo");
    ASSERT_TRUE(screen.shows("1 messages are left"));
    screen.line("/regen");
    ASSERT_TRUE(screen.shows("there is no answer"));
    screen.line("/load a.json");
    ASSERT_TRUE(screen.shows("[3 messages from a.json]"));
    cli::write_file(folder / "bad.json", "{\"messages\":[{\"role\":\"judge\",\"content\":\"x\"}]}");
    screen.line("/load bad.json");
    ASSERT_TRUE(screen.shows("message 0 has no role"));
    screen.line("/load nothing.json");
    ASSERT_TRUE(screen.shows("cannot read a conversation from nothing.json"));
    screen.line("/stats");
    ASSERT_TRUE(screen.shows("messages     3"));
    screen.line("/set temp 0.25");
    ASSERT_TRUE(screen.shows("[temp is 0.25]"));
    screen.line("/set top-p 7");
    ASSERT_TRUE(screen.shows("top-p: "));
    screen.line("/set threads 3");
    ASSERT_TRUE(screen.shows("there is no such setting"));
    screen.line("/set");
    ASSERT_TRUE(screen.shows("temp               0.25"));
    ASSERT_TRUE(screen.shows("top-p              0.95"));
    screen.line("/set think off");
    ASSERT_TRUE(screen.shows("has no thoughts"));
    screen.line("/frobnicate now");
    ASSERT_TRUE(screen.shows("there is no command /frobnicate"));
    screen.line("/clear");
    ASSERT_TRUE(screen.shows("empty but for the system message"));
    screen.line("/system");
    ASSERT_TRUE(screen.shows("system: One"));
    screen.line("/exit");
    ASSERT_TRUE(screen.shows("left with 0"));
}

TEST_F(ChatTmux, AModelCannotDriveTheTerminal)
{
    std::istringstream ids(cli::run({"tokenize", "-m", model, "--no-bos", "--ids", "-p", "\\x1b"}).out);
    std::string id;
    ids >> id;
    Screen screen(folder, flags("-n 3 -st -p Hello -l " + id + "+1000"));
    ASSERT_TRUE(screen.shows("\\x1b\\x1b\\x1b"));
    ASSERT_TRUE(screen.shows("left with 0"));
}

TEST_F(ChatTmux, SingleTurnLeavesAfterOneMessage)
{
    Screen screen(folder, flags("-n 3 -st"));
    ASSERT_TRUE(screen.shows("> "));
    screen.line("Hello");
    ASSERT_TRUE(screen.shows("reply 3 tokens"));
    ASSERT_TRUE(screen.shows("left with 0"));
}

} // namespace
