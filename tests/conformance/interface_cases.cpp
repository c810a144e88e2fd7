// The interface itself: buffers, descriptions, and what must be refused.
#include "conformance/cases.h"

namespace conformance
{
namespace
{

Result refuses_bad_steps(const Target &target)
{
    Device device(target);
    Model model(15);
    Packed packed(device, model.net);
    const Bounds bounds = two_sequences(4);
    Program program(device, model.net, packed, bounds, 0, model.net.graph->n_nodes, TN_NONE, model.logits);
    Step good = make_step({{5, 0, 0}, {6, 0, 1}, {7, 1, 0}}, bounds, {0, 1, 2, 3, 4, 5});
    good.logit_rows = {0, 2};
    good.copies = {4, 3};
    MUST(program.try_run(good));
    struct Case {
        const char *what;
        std::function<void(Step *)> spoil;
    };
    const Case cases[] = {
        {"no tokens", [](Step *s) { s->tokens.clear(), s->positions.clear(), s->seqs.clear(), s->logit_rows.clear(); }},
        {"too many tokens",
         [](Step *s) {
             s->tokens.resize(5, 1), s->positions = {0, 1, 2, 3, 4}, s->seqs.assign(5, 0);
         }},
        {"a token past the vocabulary", [](Step *s) { s->tokens[1] = kVocabulary; }},
        {"a negative token", [](Step *s) { s->tokens[1] = -1; }},
        {"a position past the pages", [](Step *s) { s->positions[1] = 3 * 128; }},
        {"a position twice", [](Step *s) { s->positions[1] = 0; }},
        {"positions with a gap", [](Step *s) { s->positions[1] = 2; }},
        {"positions that descend", [](Step *s) { s->positions[0] = 2; }},
        {"a sequence past the step's", [](Step *s) { s->seqs[2] = 2; }},
        {"too many sequences", [](Step *s) { s->n_seqs = 3; }},
        {"a page past the cache", [](Step *s) { s->page_table[3] = 6; }},
        {"a copy from past the cache", [](Step *s) { s->copies[0] = 6; }},
        {"a copy to past the cache", [](Step *s) { s->copies[1] = UINT32_MAX; }},
        {"a copy to itself", [](Step *s) { s->copies[1] = 4; }},
        {"copies with one destination",
         [](Step *s) {
             s->copies = {4, 3, 5, 3};
         }},
        {"a copy of what another copies to",
         [](Step *s) {
             s->copies = {4, 3, 3, 5};
         }},
        {"a copy to what another copies",
         [](Step *s) {
             s->copies = {3, 5, 4, 3};
         }},
        {"too many copies", [](Step *s) { s->copies = {5, 1, 5, 2, 5, 3}; }},
        {"a wanted row past the tokens", [](Step *s) { s->logit_rows[1] = 3; }},
        {"wanted rows that descend",
         [](Step *s) {
             s->logit_rows = {2, 0};
         }},
    };
    for (const Case &c : cases) {
        Step step = good;
        c.spoil(&step);
        if (program.try_run(step) != TN_INVALID_ARGUMENT) return std::string(c.what) + ": not refused as an invalid argument";
    }
    good.copies = {5, 3, 5, 4}; // one source may have several destinations
    return program.try_run(good) == TN_OK ? "" : "a good step fails after refused ones";
}

Result refuses_bad_programs(const Target &target)
{
    Device device(target);
    Net net(16);
    const uint32_t x = net.embed(3, 32);
    net.layer = 0;
    net.graph->n_layers = 1;
    const uint32_t y = net.norm(x), z = net.sum(x, y);
    Packed packed(device, net);
    Buffer small(device, 16);
    tn_program_desc good = {};
    good.graph = net.graph;
    good.first_node = 1;
    good.n_nodes = 2;
    good.in_value = x;
    good.out_value = z;
    good.weights = packed.weights.data();
    good.limits = {4, 0, 4, 4, 0};
    const tn_tap small_tap = {y, small.get()};
    std::vector<tn_packed_weight> missing(net.graph->n_weights);
    const std::function<void(tn_program_desc *)> spoilers[] = {
        [](tn_program_desc *d) { d->n_nodes = 3; },                       // past the graph
        [](tn_program_desc *d) { d->in_value = TN_NONE; },                // an input from nowhere
        [&](tn_program_desc *d) { d->n_nodes = 1; },                      // the output is not computed
        [](tn_program_desc *d) { d->limits.n_tokens = 0; },               // no tokens
        [](tn_program_desc *d) { d->limits.n_seq_pages = 1u << 29; },     // a step of 8 GiB
        [&](tn_program_desc *d) { d->weights = missing.data(); },         // a weight that is not here
        [&](tn_program_desc *d) { d->taps = &small_tap, d->n_taps = 1; }, // a tap without room
    };
    for (size_t i = 0; i < sizeof spoilers / sizeof *spoilers; i++) {
        tn_program_desc desc = good;
        spoilers[i](&desc);
        tn_program *program = reinterpret_cast<tn_program *>(&desc);
        const tn_status status = device.api().program_create(device.get(), &desc, &program);
        if (status != TN_INVALID_ARGUMENT) return "bad program " + std::to_string(i) + ": " + tn_status_name(status);
        if (program != nullptr) return "bad program " + std::to_string(i) + ": a program in spite of the error";
    }
    tn_program *program;
    MUST(device.api().program_create(device.get(), &good, &program));
    device.api().program_destroy(program);
    device.api().program_destroy(nullptr);
    return "";
}

Result buffers(const Target &target)
{
    Device device(target);
    Buffer buffer(device, 1000);
    std::vector<float> x = buffer.read(250);
    if (x != std::vector<float>(250)) return "a new buffer is not zero";
    const char text[] = "seventeen letters";
    char back[sizeof text];
    MUST(device.api().buffer_write(buffer.get(), 1000 - sizeof text, text, sizeof text));
    MUST(device.api().buffer_read(buffer.get(), 1000 - sizeof text, back, sizeof text));
    if (memcmp(text, back, sizeof text) != 0) return "bytes do not come back";
    MUST(device.api().buffer_write(buffer.get(), 1000, nullptr, 0));
    if (device.api().buffer_write(buffer.get(), 1000, text, 1) != TN_INVALID_ARGUMENT) return "a write past the end is not refused";
    if (device.api().buffer_read(buffer.get(), UINT64_MAX, back, 2) != TN_INVALID_ARGUMENT) return "an offset that wraps is not refused";
    Buffer empty(device, 0);
    device.api().buffer_destroy(nullptr);
    return "";
}

Result mapped_buffers(const Target &target)
{
    Device device(target);
    alignas(64) static const char bytes[128] = "read-only";
    char back[10], more[] = "x";
    tn_buffer *buffer;
    const tn_status status = device.api().buffer_map(device.get(), bytes, sizeof bytes, &buffer);
    if (status == TN_UNSUPPORTED) return buffer ? "a buffer in spite of the error" : "";
    MUST(status);
    if (buffer->device != device.get() || buffer->size_bytes != sizeof bytes) return "a mapped buffer of another device or size";
    MUST(device.api().buffer_read(buffer, 0, back, sizeof back));
    if (memcmp(back, bytes, sizeof back) != 0) return "mapped bytes do not come back";
    if (device.api().buffer_write(buffer, 0, more, 1) != TN_INVALID_ARGUMENT) return "a write to read-only memory is not refused";
    if (device.api().buffer_read(buffer, sizeof bytes, back, 1) != TN_INVALID_ARGUMENT) return "a read past the end is not refused";
    device.api().buffer_destroy(buffer);
    if (device.api().buffer_map(device.get(), nullptr, 64, &buffer) != TN_INVALID_ARGUMENT || buffer)
        return "missing memory is not refused";
    if (!device.api().pack_id || !device.api().pack_id[0]) return "no name for what weight_pack makes";
    return "";
}

Result describes_itself(const Target &target)
{
    Device device(target);
    tn_cpu_share share = {};
    share.n_threads = target.n_threads;
    tn_backend_host host = {};
    host.cuda_library = std::getenv("TN_CUDA_LIBRARY");
    host.n_cpu_shares = 1;
    host.cpu_shares = &share;
    tn_device_desc desc;
    MUST(target.backend->device_describe(&host, target.index, &desc));
    if (std::string(desc.name).find(target.backend->name) != 0)
        return std::string("a name that does not begin with the backend's: ") + desc.name;
    if (!desc.description[0] || desc.memory_bytes == 0 || desc.memory_free_bytes > desc.memory_bytes) return "a description with holes";
    if (std::string(device.get()->name) != desc.name) return std::string("an open device of another name: ") + device.get()->name;
    uint64_t total = 0, free_bytes = 0;
    MUST(device.api().device_memory(device.get(), &total, &free_bytes));
    if (total < desc.memory_bytes || free_bytes == 0 || free_bytes > total) return "memory that cannot be";
    std::vector<std::string> chosen;
    MUST(device.api().device_kernels(
        device.get(),
        [](void *user, const char *kernel, bool is_chosen) {
            if (is_chosen) static_cast<std::vector<std::string> *>(user)->push_back(kernel);
        },
        &chosen));
    return chosen.empty() ? "no kernel is marked as chosen" : "";
}

Result every_op_is_supported(const Target &target)
{
    Device device(target);
    Model model(17);
    for (uint32_t i = 0; i < model.net.graph->n_nodes; i++)
        MUST(device.api().op_supported(device.get(), model.net.graph, &model.net.graph->nodes[i]));
    model.net.graph->weights[model.net.graph->nodes[0].weight].dtype = TN_DTYPE_OTHER;
    if (device.api().op_supported(device.get(), model.net.graph, &model.net.graph->nodes[0]) != TN_UNSUPPORTED)
        return "an embedding of an unknown type is not refused as unsupported";
    if (target.backend->name == std::string("cpu")) return ""; // which takes heads of any size
    for (uint32_t i = 0; i < model.net.graph->n_nodes; i++) {
        tn_node node = model.net.graph->nodes[i];
        if (node.op != TN_OP_ROPE) continue;
        for (uint32_t head_dim : {7u, 257u, 258u}) {
            node.p.rope.head_dim = head_dim;
            if (device.api().op_supported(device.get(), model.net.graph, &node) != TN_UNSUPPORTED)
                return "RoPE of heads of " + std::to_string(head_dim) + " dimensions is not refused";
        }
    }
    return "";
}

// The output's buffer is the caller's: another one of the same size may lie where the last one lay, and it need not be larger than a step
// needs.
Result output_buffers_come_and_go(const Target &target)
{
    Device device(target);
    Model model(18);
    Packed packed(device, model.net);
    const Bounds bounds = two_sequences(4);
    Program program(device, model.net, packed, bounds, 0, model.net.graph->n_nodes, TN_NONE, model.logits);
    const size_t n = 2 * model.net.width(model.logits);
    std::vector<float> first;
    for (int round = 0; round < 6; round++) {
        Step step = make_step({{5, 0, 0}, {6, 0, 1}}, bounds, {0, 1, 2, 3, 4, 5});
        step.logit_rows = {0, 1};
        StepBlock block(step, bounds.limits());
        std::vector<uint32_t> poison(2);
        Buffer out(device, n * sizeof(float));
        Buffer spacer(device, 4096 * static_cast<uint64_t>(round + 1)); // the driver's memory lies elsewhere the next time
        out.write(std::vector<float>(n, 7.0F));
        tn_submit submit = {block.get(), nullptr, out.get(), poison.data(), nullptr};
        tn_fence fence;
        MUST(device.api().program_submit(program.get(), &submit, &fence));
        MUST(device.api().fence_wait(device.get(), fence));
        if (first.empty()) first = out.read(n);
        if (out.read(n) != first) return "output of round " + std::to_string(round) + " differs";
    }
    return first[0] == 7.0F ? "nothing was written" : "";
}

} // namespace

std::vector<Case> interface_cases()
{
    return {
        {"BuffersAreZeroKeepBytesAndCheckRanges", buffers},        {"MappedBuffersAreReadOnly", mapped_buffers},
        {"ADeviceDescribesItselfAndItsKernels", describes_itself}, {"OpsAreSupportedOrRefusedWithAReason", every_op_is_supported},
        {"OutputBuffersComeAndGo", output_buffers_come_and_go},    {"BadStepsAreRefused", refuses_bad_steps},
        {"BadProgramsAreRefused", refuses_bad_programs},
    };
}

} // namespace conformance
