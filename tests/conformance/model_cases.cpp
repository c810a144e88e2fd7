// A model of two layers over shuffled pages: steps of any size, sequences, splits, taps, poison.
#include "conformance/cases.h"

namespace conformance
{
namespace
{

Result model_in_steps(const Target &target)
{
    Device device(target);
    Model model(1);
    Random random(2);
    const std::vector<Token> tokens = mixed_tokens(&random, 170, 40);
    const std::vector<std::vector<float>> want = reference_logits(model, tokens);
    const Bounds bounds = two_sequences(static_cast<uint32_t>(tokens.size()));
    Packed packed(device, model.net);
    for (size_t chunk : {tokens.size(), size_t(64), size_t(7), size_t(1)}) {
        Program program(device, model.net, packed, bounds, 0, model.net.graph->n_nodes, TN_NONE, model.logits);
        const std::vector<uint32_t> pages = shuffled_pages(bounds, &random);
        const size_t n_tokens = is_sampled(target) && chunk == 1 ? 30 : tokens.size();
        for (size_t begin = 0; begin < n_tokens; begin += chunk) {
            const size_t end = std::min(begin + chunk, n_tokens);
            std::vector<float> got = program.run(step_of(tokens, begin, end, bounds, pages));
            CHECK_RESULT(same_rows("steps of " + std::to_string(chunk) + " tokens from " + std::to_string(begin), got,
                                   {want.begin() + static_cast<long>(begin), want.begin() + static_cast<long>(end)}));
        }
    }
    return "";
}

Result sequences_alone_and_together(const Target &target)
{
    Device device(target);
    Model model(3);
    Random random(4);
    const std::vector<Token> tokens = mixed_tokens(&random, 20, 9);
    const std::vector<std::vector<float>> want = reference_logits(model, tokens);
    const Bounds bounds = two_sequences(32);
    Packed packed(device, model.net);
    Program program(device, model.net, packed, bounds, 0, model.net.graph->n_nodes, TN_NONE, model.logits);
    for (uint32_t seq = 0; seq < 2; seq++) { // the same program and pages serve one sequence after the other
        std::vector<Token> alone;
        std::vector<std::vector<float>> rows;
        for (size_t i = 0; i < tokens.size(); i++) {
            if (tokens[i].seq != seq) continue;
            alone.push_back(tokens[i]);
            rows.push_back(want[i]);
        }
        Step step = step_of(alone, 0, alone.size(), bounds, {3, 1, 0, 3, 1, 0});
        CHECK_RESULT(same_rows("sequence " + std::to_string(seq) + " alone", program.run(step), rows));
    }
    Step step = step_of(tokens, 0, tokens.size(), bounds, {5, 2, 1, 4, 0, 3});
    return same_rows("both sequences", program.run(step), want);
}

Result wanted_rows_only(const Target &target)
{
    Device device(target);
    Model model(5);
    Random random(6);
    const std::vector<Token> tokens = mixed_tokens(&random, 9, 8);
    const std::vector<std::vector<float>> want = reference_logits(model, tokens);
    const Bounds bounds = two_sequences(20);
    Packed packed(device, model.net);
    for (const std::vector<uint32_t> &rows : {std::vector<uint32_t>{}, {16}, {0, 3, 4, 15}}) {
        Program program(device, model.net, packed, bounds, 0, model.net.graph->n_nodes, TN_NONE, model.logits);
        Step step = make_step(tokens, bounds, shuffled_pages(bounds, &random));
        step.logit_rows = rows;
        std::vector<std::vector<float>> wanted;
        for (uint32_t row : rows) wanted.push_back(want[row]);
        CHECK_RESULT(same_rows(std::to_string(rows.size()) + " rows of logits", program.run(step), wanted));
    }
    return "";
}

// A device that binds little at a time: table and head are more than it binds, so are the logits of many rows, and the cache of two layers.
Result small_bindings(const Target &target)
{
    Device device(with_small_bindings(target));
    const uint32_t n_vocab = 1000, n_tokens = 96;
    Model model(25, -1, n_vocab);
    Random random(26);
    std::vector<Token> tokens = mixed_tokens(&random, 128, 2 * n_tokens - 128, n_vocab);
    tokens[0].id = n_vocab - 1;
    const std::vector<std::vector<float>> want = reference_logits(model, tokens);
    Bounds bounds = two_sequences(n_tokens);
    Packed packed(device, model.net);
    for (uint32_t i : {model.net.graph->nodes[0].weight, model.net.graph->nodes[model.net.graph->n_nodes - 1].weight}) {
        if (packed.weights[i].layout.size_bytes <= kSmallBinding) return "a weight fits: a test without a point";
    }
    Program program(device, model.net, packed, bounds, 0, model.net.graph->n_nodes, TN_NONE, model.logits);
    for (size_t begin = 0; begin < tokens.size(); begin += n_tokens) {
        Step step = step_of(tokens, begin, begin + n_tokens, bounds, {1, 2, 0, 3, 4, 0});
        if (begin) { // what both have so far lies on other pages from here on
            step.copies = {1, 5, 3, 0};
            step.page_table = {5, 2, 1, 0, 4, 3};
        }
        CHECK_RESULT(same_rows("bindings of 256 KiB, tokens from " + std::to_string(begin), program.run(step),
                               {want.begin() + static_cast<long>(begin), want.begin() + static_cast<long>(begin + n_tokens)}));
    }
    Step one = step_of({{static_cast<int32_t>(n_vocab - 1), 0, 0}}, 0, 1, bounds, {0, 0, 0, 0, 0, 0});
    return same_rows("bindings of 256 KiB, one token", program.run(one),
                     reference_logits(model, {{static_cast<int32_t>(n_vocab - 1), 0, 0}}));
}

// A model all of whose matrices are more than the device binds at a time, but k and v.
Result large_matrices(const Target &target)
{
    const uint32_t n_vocab = 40, n_heads = 16, head_dim = 64, width = n_heads * head_dim, n_wide = 1100, n_tokens = 9;
    Device device(with_small_bindings(target));
    Net net(29);
    net.graph->n_layers = 2;
    net.graph->n_kv_heads = 1;
    net.graph->head_dim = head_dim;
    const uint32_t table = net.table_weight(128, head_dim);
    uint32_t x = net.embed(n_vocab, width), n_large = 0;
    for (int32_t l = 0; l < 2; l++) {
        net.layer = l;
        const uint32_t a = net.norm_quant(x), q = net.rope(net.ternary(a, width, TN_SCALE_ROW), table, TN_ROPE_HALVES);
        const uint32_t k = net.rope(net.ternary(a, head_dim), table, TN_ROPE_HALVES);
        net.kv_append(k, net.ternary(a, head_dim), n_heads);
        x = net.sum(x, net.ternary(net.norm_quant(net.attention(q, n_heads)), width));
        const uint32_t b = net.norm_quant(x);
        const uint32_t h = net.glu(net.ternary(b, n_wide), net.ternary(b, n_wide), l == 0 ? TN_GLU_RELU2 : TN_GLU_SILU);
        x = net.sum(x, net.ternary(net.norm_quant(h), width, TN_SCALE_ROW));
    }
    net.layer = TN_LAYER_HEAD;
    const uint32_t logits = net.dense(net.norm(net.copy(x)), n_vocab, TN_DTYPE_Q8_0);
    MUST(tn_graph_check(net.graph));
    Bounds bounds;
    bounds.n_tokens_max = n_tokens;
    Packed packed(device, net);
    for (const tn_packed_weight &w : packed.weights)
        n_large += std::string(w.layout.name) == "t2x16" && w.layout.size_bytes > kSmallBinding;
    if (n_large != 10) return std::to_string(n_large) + " matrices do not fit into a binding, not 10: a test without a point";
    Program program(device, net, packed, bounds, 0, net.graph->n_nodes, TN_NONE, logits);
    RefNet reference(net);
    uint32_t position = 0;
    for (uint32_t n : {n_tokens, 1u, 5u, 1u}) { // steps of each kind
        std::vector<Token> tokens;
        std::vector<std::vector<float>> want;
        for (uint32_t i = 0; i < n; i++) {
            tokens.push_back({static_cast<int32_t>(net.random.below(n_vocab)), 0, position++});
            const RefRow row = reference.run(tokens.back());
            if (row.poison) return "the test's own values are out of range";
            if (i + 3 >= n) want.push_back(row.f32.at(logits)); // of the last three
        }
        Step step = make_step(tokens, bounds, {0});
        for (uint32_t i = n < 3 ? 0 : n - 3; i < n; i++) step.logit_rows.push_back(i);
        CHECK_RESULT(same_rows("large matrices, " + std::to_string(n) + " tokens before position " + std::to_string(position),
                               program.run(step), want));
    }
    return "";
}

// Thousands of positions, written in steps of 128 tokens over shuffled pages; then single tokens and few.
Result long_context(const Target &target)
{
    Device device(target);
    const uint32_t n_heads = 2, head_dim = 16, width = n_heads * head_dim, n_prompt = target.is_thorough ? 2700 : 900;
    Net net(27);
    net.graph->n_layers = 1;
    net.graph->n_kv_heads = 1;
    net.graph->head_dim = head_dim;
    const uint32_t x = net.embed(50, width);
    net.layer = 0;
    const uint32_t table = net.table_weight(4096, head_dim);
    net.kv_append(net.rope(net.dense(x, head_dim, TN_DTYPE_F32), table, TN_ROPE_HALVES), net.dense(x, head_dim, TN_DTYPE_F32), n_heads);
    const uint32_t out = net.sum(x, net.attention(net.rope(x, table, TN_ROPE_HALVES), n_heads));
    MUST(tn_graph_check(net.graph));
    Bounds bounds;
    bounds.n_tokens_max = bounds.n_logits_max = 128;
    bounds.n_seq_pages_max = 32;
    Packed packed(device, net);
    Program program(device, net, packed, bounds, 0, net.graph->n_nodes, TN_NONE, out);
    RefNet reference(net);
    Random random(28);
    const std::vector<uint32_t> pages = shuffled_pages(bounds, &random);
    uint32_t position = 0;
    for (uint32_t n : {n_prompt, 1u, 1u, 5u, 1u, 9u}) {
        for (const uint32_t end = position + n; position < end;) {
            std::vector<Token> tokens;
            std::vector<std::vector<float>> want;
            while (position < end && tokens.size() < 128) {
                tokens.push_back({static_cast<int32_t>(random.below(50)), 0, position++});
                want.push_back(reference.run(tokens.back()).f32.at(out));
            }
            CHECK_RESULT(same_rows(std::to_string(tokens.size()) + " tokens before position " + std::to_string(position),
                                   program.run(make_step(tokens, bounds, pages)), want));
        }
    }
    return "";
}

// Programs on `target` and on `other` in turn, `target` first.
Result split(const Target &target, const Target &other, const std::vector<size_t> &cuts)
{
    const Device device(target), second(other);
    Model model(7);
    Random random(8);
    const std::vector<Token> tokens = mixed_tokens(&random, 15, 15);
    const std::vector<std::vector<float>> want = reference_logits(model, tokens);
    const Bounds bounds = two_sequences(10);
    const std::vector<uint32_t> pages = shuffled_pages(bounds, &random);
    const Packed packed(device, model.net), packed_second(second, model.net);
    std::vector<std::unique_ptr<Program>> programs;
    uint32_t node = 0, value = TN_NONE;
    for (size_t i = 0; i <= cuts.size(); i++) {
        const bool last = i == cuts.size();
        const uint32_t end = last ? model.net.graph->n_nodes : model.cuts[cuts[i]].node;
        const uint32_t out = last ? model.logits : model.cuts[cuts[i]].value;
        programs.push_back(std::make_unique<Program>(i % 2 ? second : device, model.net, i % 2 ? packed_second : packed, bounds, node,
                                                     end - node, value, out));
        node = end;
        value = out;
    }
    for (size_t begin = 0; begin < tokens.size(); begin += 10) {
        Step step = step_of(tokens, begin, begin + 10, bounds, pages);
        std::vector<float> rows;
        for (const auto &program : programs) rows = program->run(step, rows); // the hop: read here, written there
        CHECK_RESULT(same_rows(std::to_string(cuts.size()) + " cuts, the first before unit " + std::to_string(cuts[0]) + ", tokens from " +
                                   std::to_string(begin),
                               rows, {want.begin() + static_cast<long>(begin), want.begin() + static_cast<long>(begin + 10)}));
    }
    return "";
}

Result every_split_between(const Target &first, const Target &second)
{
    for (size_t cut = 0; cut <= kLayers; cut++) CHECK_RESULT(split(first, second, {cut}));
    CHECK_RESULT(split(first, second, {0, 1}));
    CHECK_RESULT(split(first, second, {1, 2}));
    return split(first, second, {0, 1, 2});
}

Result every_split(const Target &target) { return every_split_between(target, target); }

Result every_split_with_the_cpu(const Target &target)
{
    uint32_t n_backends;
    const tn_backend *const *backends = tn_backend_list(&n_backends);
    for (uint32_t b = 0; b < n_backends; b++) {
        if (std::string(backends[b]->name) != "cpu") continue;
        const Target cpu = {"cpu0", backends[b], 0, 2, "", "", "", "", {}, {}, true};
        CHECK_RESULT(every_split_between(target, cpu));
        CHECK_RESULT(every_split_between(cpu, target));
        return "";
    }
    return "there is no CPU backend";
}

Result taps(const Target &target)
{
    Device device(target);
    Model model(9);
    Random random(10);
    const std::vector<Token> tokens = mixed_tokens(&random, 8, 5);
    const Bounds bounds = two_sequences(16);
    std::vector<uint32_t> values;
    for (uint32_t v = 0; v < model.net.graph->n_values; v++) {
        if (model.net.graph->values[v].type == TN_VALUE_F32) values.push_back(v);
    }
    Packed packed(device, model.net);
    Program program(device, model.net, packed, bounds, 0, model.net.graph->n_nodes, TN_NONE, model.logits, values);
    Step step = make_step(tokens, bounds, shuffled_pages(bounds, &random));
    step.logit_rows = {1, 12};
    program.run(step);
    RefNet reference(model.net);
    std::vector<RefRow> rows;
    for (const Token &token : tokens) rows.push_back(reference.run(token));
    for (uint32_t v : values) {
        std::vector<std::vector<float>> want;
        for (uint32_t i = 0; i < tokens.size(); i++) {
            const bool wanted = model.net.graph->values[v].rows == TN_ROWS_TOKENS || i == 1 || i == 12;
            if (wanted) want.push_back(rows[i].f32.at(v));
        }
        CHECK_RESULT(same_rows("tapped value " + std::to_string(v), program.tapped(v, step), want));
    }
    return "";
}

// A program that begins with the cache: nothing lies between the copy and those who read and write the page.
Result copies_before_the_first_op(const Target &target)
{
    Device device(target);
    Net net(24);
    const uint32_t n_heads = 4, n_prefix = 100;
    net.graph->n_layers = 1;
    net.graph->n_kv_heads = n_heads;
    net.graph->head_dim = 16;
    const uint32_t x = net.embed(3, n_heads * 16);
    net.layer = 0;
    net.kv_append(x, x, n_heads);
    const uint32_t out = net.attention(x, n_heads);
    MUST(tn_graph_check(net.graph));
    Bounds bounds = two_sequences(n_prefix);
    bounds.n_kv_pages = 6;
    Packed packed(device, net);
    Program program(device, net, packed, bounds, 1, net.graph->n_nodes - 1, x, out);
    std::vector<Token> tokens;
    std::vector<float> in;
    for (uint32_t i = 0; i < n_prefix; i++) tokens.push_back({0, 0, i});
    for (size_t i = 0; i < size_t{n_prefix} * n_heads * 16; i++) in.push_back(net.random.value(4.0f));
    program.run(make_step(tokens, bounds, {3, 0, 0, 1, 0, 0}), in);
    for (uint32_t i = 0; i < 20; i++) { // each time from the prefix, over what the last time left
        RefNet reference(net);
        const size_t width = size_t{n_heads} * 16;
        for (uint32_t k = 0; k < n_prefix; k++)
            reference.run(tokens[k], {in.begin() + static_cast<long>(k * width), in.begin() + static_cast<long>((k + 1) * width)});
        std::vector<float> row;
        for (size_t k = 0; k < width; k++) row.push_back(net.random.value(4.0f));
        Step step = make_step({{0, 1, n_prefix}}, bounds, {3, 0, 0, 1, 0, 0});
        step.copies = {3, 1};
        CHECK_RESULT(
            same_rows("a step that begins with a copy", program.run(step, row), {reference.run({0, 0, n_prefix}, row).f32.at(out)}));
    }
    return "";
}

Result poison_of_one_sequence(const Target &target)
{
    Device device(target);
    const int32_t bad = 13;
    Model model(12, bad);
    Random random(14);
    std::vector<Token> tokens = mixed_tokens(&random, 12, 12);
    for (Token &token : tokens) {
        if (token.id == bad) token.id = 1;
        if (token.seq == 1 && token.position == 3) token.id = bad;
    }
    RefNet reference(model.net);
    std::vector<RefRow> want;
    for (const Token &token : tokens) want.push_back(reference.run(token));
    const Bounds bounds = two_sequences(8);
    Packed packed(device, model.net);
    Program program(device, model.net, packed, bounds, 0, model.net.graph->n_nodes, TN_NONE, model.logits);
    const std::vector<uint32_t> pages = shuffled_pages(bounds, &random);
    bool seen = false;
    for (size_t begin = 0; begin < tokens.size(); begin += 8) { // later steps go on with what poison left in the cache
        std::vector<float> got = program.run(step_of(tokens, begin, begin + 8, bounds, pages));
        for (size_t i = 0; i < 8; i++) {
            const Token &token = tokens[begin + i];
            const std::string what = "sequence " + std::to_string(token.seq) + " position " + std::to_string(token.position);
            if (token.seq == 1 && token.position == 3) {
                seen = want[begin + i].poison != 0;
                if (program.poison[i] != want[begin + i].poison) return what + ": poisoned by another node than in the reference";
            }
            if (token.seq == 1 && token.position >= 3) continue;
            if (program.poison[i] != 0) return what + ": poisoned";
            std::vector<float> row(got.begin() + static_cast<long>(i * kVocabulary),
                                   got.begin() + static_cast<long>((i + 1) * kVocabulary));
            CHECK_RESULT(same_rows(what, row, {want[begin + i].f32.at(model.logits)}));
        }
    }
    return seen ? "" : "the reference is not poisoned: a test without a point";
}

// What a sequence has on pages that were copied is what it has on its own: it goes on over them with the same bits, while the original goes
// its own way. Both layers of the model must have been copied, keys, values and scales.
Result copied_pages(const Target &target)
{
    Device device(target);
    Model model(20);
    Random random(21);
    const uint32_t n_prefix = 200, n_more = 9; // a full page, and one that is filled further after the copy
    std::vector<Token> prefix, own, other;
    for (uint32_t i = 0; i < n_prefix; i++) prefix.push_back({static_cast<int32_t>(random.below(kVocabulary)), 0, i});
    std::vector<Token> with_own = prefix, with_other = prefix;
    for (uint32_t i = 0; i < n_more; i++) {
        own.push_back({static_cast<int32_t>(random.below(kVocabulary)), 0, n_prefix + i});
        other.push_back({static_cast<int32_t>(random.below(kVocabulary)), 1, n_prefix + i});
        with_own.push_back(own[i]);
        with_other.push_back({other[i].id, 0, other[i].position});
    }
    const std::vector<std::vector<float>> want_own = reference_logits(model, with_own), want_other = reference_logits(model, with_other);
    Bounds bounds = two_sequences(n_prefix);
    bounds.n_kv_pages = 8;
    Packed packed(device, model.net);
    // Both pages copied at once; the full one shared and the other copied; from page 0 and to the last one; split between programs.
    struct Plan {
        std::vector<uint32_t> before, after, copies;
        size_t cut;
    };
    const Plan plans[] = {
        {{3, 1, 6, 0, 0, 0}, {3, 1, 6, 5, 2, 4}, {1, 2, 3, 5}, 0},
        {{3, 1, 6, 0, 0, 0}, {3, 1, 6, 3, 2, 4}, {1, 2}, 0},
        {{0, 7, 6, 0, 0, 0}, {0, 7, 6, 1, 5, 4}, {0, 1, 7, 5}, 1},
        {{6, 0, 5, 0, 0, 0}, {6, 0, 5, 1, 7, 4}, {6, 1, 0, 7}, 1},
    };
    for (const Plan &plan : plans) {
        if (is_sampled(target) && &plan != &plans[1] && &plan != &plans[2]) continue;
        const uint32_t middle = plan.cut ? model.cuts[plan.cut].node : model.net.graph->n_nodes;
        Program first(device, model.net, packed, bounds, 0, middle, TN_NONE, plan.cut ? model.cuts[plan.cut].value : model.logits);
        std::unique_ptr<Program> second;
        if (plan.cut)
            second = std::make_unique<Program>(device, model.net, packed, bounds, middle, model.net.graph->n_nodes - middle,
                                               model.cuts[plan.cut].value, model.logits);
        auto run = [&](const Step &step) {
            std::vector<float> rows = first.run(step);
            return second ? second->run(step, rows) : rows;
        };
        run(step_of(prefix, 0, prefix.size(), bounds, plan.before));
        // The other sequence first: if pages were not its own, the original would not go on as if it had not been.
        Step step = step_of(other, 0, 1, bounds, plan.after);
        step.copies = plan.copies;
        CHECK_RESULT(same_rows("the step that copies", run(step), {want_other[n_prefix]}));
        const std::vector<std::vector<float>> others(want_other.begin() + n_prefix + 1, want_other.end());
        CHECK_RESULT(same_rows("steps over copied pages", run(step_of(other, 1, n_more, bounds, plan.after)), others));
        const std::vector<std::vector<float>> owns(want_own.begin() + n_prefix, want_own.end());
        CHECK_RESULT(same_rows("steps over the pages that were copied", run(step_of(own, 0, n_more, bounds, plan.after)), owns));
    }
    return "";
}

// The copy comes before all else in its step: it has what the page held then, though the step writes into it, and a page that is copied
// over is read as it is afterwards.
Result copies_come_first(const Target &target)
{
    Device device(target);
    Model model(22);
    Random random(23);
    const uint32_t n_prefix = 40, n_more = 6;
    std::vector<Token> tokens, both;
    for (uint32_t i = 0; i < n_prefix; i++) tokens.push_back({static_cast<int32_t>(random.below(kVocabulary)), 0, i});
    std::vector<Token> alone[2] = {tokens, tokens};
    for (uint32_t i = 0; i < n_more; i++) {
        for (uint32_t seq = 0; seq < 2; seq++) {
            both.push_back({static_cast<int32_t>(random.below(kVocabulary)), seq, n_prefix + i});
            alone[seq].push_back({both.back().id, 0, n_prefix + i});
        }
    }
    const std::vector<std::vector<float>> want[2] = {reference_logits(model, alone[0]), reference_logits(model, alone[1])};
    std::vector<std::vector<float>> rows;
    for (const Token &token : both) rows.push_back(want[token.seq][token.position]);
    const Bounds bounds = two_sequences(64);
    Packed packed(device, model.net);
    for (size_t chunk : {both.size(), size_t(2)}) { // with many tokens and with few, which run from lists of their own on a CPU
        Program program(device, model.net, packed, bounds, 0, model.net.graph->n_nodes, TN_NONE, model.logits);
        const std::vector<uint32_t> pages = {4, 0, 1, 2, 3, 5};
        program.run(step_of(std::vector<Token>(n_prefix, {1, 1, 0}), 0, 1, bounds, pages)); // leaves something where the copy goes
        program.run(step_of(tokens, 0, n_prefix, bounds, pages));
        for (size_t begin = 0; begin < both.size(); begin += chunk) {
            Step step = step_of(both, begin, begin + chunk, bounds, pages);
            if (begin == 0) step.copies = {4, 2};
            CHECK_RESULT(same_rows("steps of " + std::to_string(chunk) + " tokens from " + std::to_string(begin), program.run(step),
                                   {rows.begin() + static_cast<long>(begin), rows.begin() + static_cast<long>(begin + chunk)}));
        }
    }
    return "";
}

} // namespace

std::vector<Case> model_cases()
{
    return {
        {"AModelHasTheSameLogitsInStepsOfAnySize", model_in_steps},
        {"SequencesHaveTheSameLogitsAloneAndTogether", sequences_alone_and_together},
        {"OnlyWantedLogitsAreComputed", wanted_rows_only},
        {"ASplitAtAnyLayerHasTheSameLogits", every_split},
        {"ASplitBetweenTheDeviceAndTheCpuHasTheSameLogits", every_split_with_the_cpu, [](const Target &target) { return !is_cpu(target); }},
        {"WeightsLargerThanABindingHaveTheSameLogits", small_bindings, is_vulkan},
        {"MatricesLargerThanABindingHaveTheSameLogits", large_matrices, is_vulkan},
        {"PositionsFarFromTheFirstHaveTheSameBits", long_context},
        {"TapsShowEveryValue", taps},
        {"CopiedPagesHoldTheSameBits", copied_pages},
        {"CopiesComeBeforeAllElseInTheirStep", copies_come_first},
        {"CopiesComeBeforeAProgramThatBeginsWithTheCache", copies_before_the_first_op},
        {"PoisonOfOneSequenceLeavesTheOthersBits", poison_of_one_sequence},
    };
}

} // namespace conformance
