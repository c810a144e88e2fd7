// Measures tokenizers on one core: bytes of text encoded and decoded in a second of processor time.
// usage: bench_tokenizer TEXT VOCABULARY... [--repetitions N] [--bytes N] [--json]
// TEXT is repeated or cut to N bytes (default 50000000). VOCABULARY: a GGUF file, or a .tiktoken file of Llama 3's.
#include "ternion/ternion.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

extern "C" {
#include "model/tokenizer_internal.h"
}

namespace
{

[[noreturn]] void fail(const std::string &what)
{
    std::fprintf(stderr, "bench_tokenizer: %s\n", what.c_str());
    std::exit(1);
}

void check(tn_status status)
{
    if (status != TN_OK) fail(tn_error_last()->message);
}

std::string read_file(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    if (!file) fail("cannot read " + path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

// Bytes as characters of the alphabet that byte-level BPE names its tokens in.
std::string to_alphabet(const std::string &bytes)
{
    std::string out;
    for (char c : bytes) {
        unsigned byte = static_cast<unsigned char>(c), point = byte;
        if (byte <= 0x20) point = 0x100 + byte;
        if (byte >= 0x7F && byte <= 0xA0) point = 0x100 + 0x21 + byte - 0x7F;
        if (byte == 0xAD) point = 0x143;
        if (point >= 0x80) out.push_back(static_cast<char>(0xC0 | point >> 6));
        out.push_back(static_cast<char>(point >= 0x80 ? 0x80 | (point & 63) : point));
    }
    return out;
}

std::string from_base64(const std::string &text)
{
    const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    unsigned bits = 0;
    int n_bits = 0;
    for (char c : text) {
        size_t digit = digits.find(c);
        if (digit == std::string::npos) break;
        bits = bits << 6 | static_cast<unsigned>(digit);
        n_bits += 6;
        if (n_bits >= 8) out.push_back(static_cast<char>(bits >> (n_bits -= 8)));
    }
    return out;
}

// A vocabulary and what keeps it alive.
struct Vocabulary {
    std::unique_ptr<tn_model, void (*)(tn_model *)> model{nullptr, tn_model_close};
    std::unique_ptr<tn_tokenizer, void (*)(tn_tokenizer *)> own{nullptr, tn_tokenizer_destroy};
    const tn_tokenizer *get() const { return own ? own.get() : tn_model_tokenizer(model.get()); }
};

void open_tiktoken(const std::string &path, Vocabulary &out)
{
    std::vector<std::string> tokens;
    std::vector<tn_str> texts;
    std::istringstream lines(read_file(path));
    for (std::string line; std::getline(lines, line);) tokens.push_back(to_alphabet(from_base64(line)));
    for (const auto &t : tokens) texts.push_back({t.data(), t.size()});
    tn_vocab vocab{};
    vocab.tokens = texts.data();
    vocab.n_tokens = static_cast<int32_t>(texts.size());
    vocab.pre = "llama-bpe";
    vocab.bos = vocab.eos = vocab.unknown = TN_TOKEN_NONE;
    tn_tokenizer *tokenizer = nullptr;
    check(tn_tokenizer_create(&vocab, &tokenizer));
    out.own.reset(tokenizer);
}

void open_vocabulary(const std::string &path, Vocabulary &out)
{
    const std::string ending = ".tiktoken";
    if (path.size() > ending.size() && path.compare(path.size() - ending.size(), ending.size(), ending) == 0)
        return open_tiktoken(path, out);
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    params.load = TN_MODEL_LOAD_TOKENIZER;
    tn_model *model = nullptr;
    check(tn_model_open(path.c_str(), &params, &model));
    out.model.reset(model);
}

double processor_seconds()
{
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double median(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

struct Options {
    std::string text_path;
    std::vector<std::string> vocabularies;
    size_t repetitions = 5, bytes = 50000000;
    bool json = false;
};

Options read_options(int argc, char **argv)
{
    Options options;
    for (int i = 1; i < argc; i++) {
        std::string word = argv[i];
        if (word == "--json") {
            options.json = true;
        } else if ((word == "--repetitions" || word == "--bytes") && i + 1 < argc) {
            (word == "--bytes" ? options.bytes : options.repetitions) = std::stoul(argv[++i]);
        } else if (options.text_path.empty()) {
            options.text_path = word;
        } else {
            options.vocabularies.push_back(word);
        }
    }
    if (options.vocabularies.empty() || options.repetitions == 0) {
        fail("usage: bench_tokenizer TEXT VOCABULARY... [--repetitions N] [--bytes N] [--json]");
    }
    return options;
}

struct Measured {
    size_t n_tokens = 0;
    std::vector<double> encode, decode; // MB/s
};

Measured measure(const tn_tokenizer *tokenizer, const std::string &text, size_t repetitions)
{
    Measured out;
    std::vector<int32_t> tokens(text.size() + 16);
    std::string back(text.size(), '\0');
    for (size_t i = 0; i < repetitions; i++) {
        size_t n = 0, len = 0;
        double start = processor_seconds();
        check(tn_tokenizer_encode(tokenizer, text.data(), text.size(), 0, tokens.data(), tokens.size(), &n));
        double middle = processor_seconds();
        check(tn_tokenizer_decode(tokenizer, tokens.data(), n, false, &back[0], back.size(), &len));
        double end = processor_seconds();
        if (len != text.size() || back != text) fail("the text does not come back from its tokens");
        out.n_tokens = n;
        out.encode.push_back(static_cast<double>(text.size()) / 1e6 / (middle - start));
        out.decode.push_back(static_cast<double>(text.size()) / 1e6 / (end - middle));
    }
    return out;
}

void print_json(const std::string &name, const tn_tokenizer *tokenizer, size_t n_bytes, const Measured &m, bool last)
{
    auto list = [](const std::vector<double> &values) {
        std::string out;
        char number[32];
        for (double v : values) std::snprintf(number, sizeof number, "%s%.1f", out.empty() ? "" : ", ", v), out += number;
        return out;
    };
    std::printf(" {\"vocabulary\": \"%s\", \"pre\": \"%s\", \"n_bytes\": %zu, \"n_tokens\": %zu,\n", name.c_str(),
                tn_tokenizer_pre(tokenizer), n_bytes, m.n_tokens);
    std::printf("  \"encode_mb_s\": %.1f, \"encode_samples\": [%s],\n", median(m.encode), list(m.encode).c_str());
    std::printf("  \"decode_mb_s\": %.1f, \"decode_samples\": [%s]}%s\n", median(m.decode), list(m.decode).c_str(), last ? "" : ",");
}

} // namespace

int main(int argc, char **argv)
{
    Options options = read_options(argc, argv);
    std::string part = read_file(options.text_path), text;
    if (part.empty()) fail(options.text_path + " is empty");
    while (text.size() < options.bytes) text.append(part, 0, options.bytes - text.size());
    if (options.json) std::printf("[\n");
    for (const auto &path : options.vocabularies) {
        Vocabulary vocabulary;
        open_vocabulary(path, vocabulary);
        Measured m = measure(vocabulary.get(), text, options.repetitions);
        std::string name = path.substr(path.rfind('/') + 1);
        if (options.json)
            print_json(name, vocabulary.get(), text.size(), m, &path == &options.vocabularies.back());
        else
            std::printf("%-28s %10zu tokens  encode %7.1f MB/s  decode %7.1f MB/s\n", name.c_str(), m.n_tokens, median(m.encode),
                        median(m.decode));
        std::fflush(stdout);
    }
    if (options.json) std::printf("]\n");
    return 0;
}
