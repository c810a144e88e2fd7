// begin and end: a step reaches the device, its poison comes back.
#include "cuda_host/kernel_rig.hpp"

using namespace cuda_host;

TEST(Control, BeginTakesWhatTheStepUses)
{
    const uint32_t page_table = 48, n_seq_pages = 5, n_seqs = 3, addresses = 128;
    Memory<uint32_t> host(addresses + 4), step(addresses + 4), poison(300), largest(700);
    for (uint32_t i = 0; i < host.size(); i++) host[i] = 1000 + i;
    host[2] = n_seqs;
    tn_cuda_begin_params p = {};
    p.step.words = step.data();
    p.step.page_table = page_table;
    p.step.n_seq_pages = n_seq_pages;
    p.step.addresses = addresses;
    p.host = host.data();
    p.poison = poison.data();
    p.n_poison = 300;
    p.largest = largest.data();
    p.n_largest = 640;
    launch("begin", p);
    for (uint32_t i = 0; i < 700; i++) ASSERT_EQ(largest[i], i < 640 ? 0 : 0xcdcdcdcdu) << i;
    const uint32_t end = page_table + n_seqs * n_seq_pages;
    for (uint32_t i = 0; i < end; i++) ASSERT_EQ(step[i], host[i]) << i;
    for (uint32_t i = end; i < addresses; i++) ASSERT_EQ(step[i], 0xcdcdcdcdu) << i;
    for (uint32_t i = addresses; i < addresses + 4; i++) ASSERT_EQ(step[i], host[i]) << i;
    for (uint32_t i = 0; i < 300; i++) ASSERT_EQ(poison[i], UINT32_MAX) << i;
}

TEST(Control, EndGivesThePoisonOfTheStepsTokens)
{
    Memory<uint32_t> step(8), poison(700), host(700);
    step[0] = 600;
    for (uint32_t i = 0; i < 700; i++) poison[i] = 7 * i;
    tn_cuda_end_params p = {};
    p.step.words = step.data();
    p.poison = poison.data();
    p.host = host.data();
    launch("end", p);
    for (uint32_t i = 0; i < 600; i++) ASSERT_EQ(host[i], 7 * i);
    for (uint32_t i = 600; i < 700; i++) ASSERT_EQ(host[i], 0xcdcdcdcdu);
}
