/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "runtime/partition.h"

#define N 6
#define D 2

static lt_memory memory;
static lt_arena arena;

static int setup(void **state)
{
    (void)state;
    lt_memory_init(&memory, NULL, 0);
    lt_arena_init(&arena, &memory, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lt_arena_destroy(&arena);
    return memory.live_blocks != 0;
}

/* A chain of six nodes on two devices; moving costs 10 ns and 1 ns a byte. */
typedef struct table {
    bool supported[N * D];
    float cost_ns[N * D];
    double cut_bytes[N + 1];
    double latency_ns[D * D], ns_per_byte[D * D], host_latency_ns[D], host_ns_per_byte[D];
} table;

static lt_partition_problem problem(table *t, float cost_0, float cost_1)
{
    memset(t, 0, sizeof(*t));
    for (int i = 0; i < N; i++) {
        t->supported[i * D] = t->supported[i * D + 1] = true;
        t->cost_ns[i * D] = cost_0;
        t->cost_ns[i * D + 1] = cost_1;
        t->cut_bytes[i] = 1;
    }
    t->latency_ns[1] = t->latency_ns[2] = 10;
    t->ns_per_byte[1] = t->ns_per_byte[2] = 1;
    return (lt_partition_problem){N,
                                  D,
                                  t->supported,
                                  t->cost_ns,
                                  t->cut_bytes,
                                  t->latency_ns,
                                  t->ns_per_byte,
                                  t->host_latency_ns,
                                  t->host_ns_per_byte};
}

static void assign(const lt_partition_problem *p, uint32_t *device)
{
    leat_error err = {0};
    uint32_t node = 0;
    assert_ok(lt_partition_assign(p, &arena, device, &node, &err), &err);
}

static void assert_devices(const uint32_t *device, const char *expected)
{
    for (int i = 0; i < N; i++) {
        if (device[i] != (uint32_t)(expected[i] - '0')) {
            fail_msg("node %d is on device %u, expected %s", i, device[i], expected);
        }
    }
}

static void assign_equal_costs_keeps_preference(void **state)
{
    (void)state;
    table t;
    uint32_t device[N];
    lt_partition_problem p = problem(&t, 5, 5);
    assign(&p, device);
    assert_devices(device, "000000");
}

static void assign_much_cheaper_moves_all(void **state)
{
    (void)state;
    table t;
    uint32_t device[N];
    lt_partition_problem p = problem(&t, 100, 5);
    assign(&p, device);
    assert_devices(device, "111111");
}

static void assign_small_gain_stays(void **state)
{
    (void)state;
    table t;
    uint32_t device[N];
    lt_partition_problem p = problem(&t, 100, 98);
    assign(&p, device);
    assert_devices(device, "000000");
}

static void assign_chain_moves_when_it_pays_for_the_link(void **state)
{
    (void)state;
    table t;
    uint32_t device[N];
    lt_partition_problem p = problem(&t, 5, 60);
    for (int i = 2; i < 4; i++) {
        t.cost_ns[i * D] = 100;
        t.cost_ns[i * D + 1] = 5;
    }
    assign(&p, device);
    assert_devices(device, "001100");
    t.ns_per_byte[1] = t.ns_per_byte[2] = 1000; /* now it does not */
    assign(&p, device);
    assert_devices(device, "000000");
}

static void assign_unknown_cost_keeps_preference(void **state)
{
    (void)state;
    table t;
    uint32_t device[N];
    lt_partition_problem p = problem(&t, 100, 5);
    t.cost_ns[3 * D] = 0;
    assign(&p, device);
    assert_devices(device, "000000");
}

static void assign_unsupported_goes_to_the_next(void **state)
{
    (void)state;
    table t;
    uint32_t device[N];
    lt_partition_problem p = problem(&t, 5, 6);
    t.supported[4 * D] = false;
    t.ns_per_byte[1] = t.ns_per_byte[2] = 0;
    t.latency_ns[1] = t.latency_ns[2] = 0;
    assign(&p, device);
    assert_devices(device, "000010");
}

static void assign_nobody_supports_names_the_node(void **state)
{
    (void)state;
    table t;
    uint32_t device[N], node = 0;
    leat_error err = {0};
    lt_partition_problem p = problem(&t, 5, 6);
    t.supported[4 * D] = t.supported[4 * D + 1] = false;
    assert_int_equal(lt_partition_assign(&p, &arena, device, &node, &err), LEAT_UNSUPPORTED);
    assert_int_equal(node, 4);
}

/* Two chains, a and b, whose nodes alternate in the order: a0 b0 a1 b1 a2 b2. */
static void group_interleaved_chains(const char *devices, uint32_t *order, lt_part **parts,
                                     uint32_t *n_parts)
{
    static leat_node nodes[N];
    static uint32_t in[N], out[N];
    const leat_node *pointers[N];
    uint32_t device[N];
    leat_error err = {0};
    for (uint32_t i = 0; i < N; i++) {
        in[i] = i; /* node i reads value i and makes value i + 2 */
        out[i] = i + 2;
        nodes[i] = (leat_node){.n_inputs = 1, .n_outputs = 1, .inputs = &in[i], .outputs = &out[i]};
        pointers[i] = &nodes[i];
        device[i] = (uint32_t)(devices[i] - '0');
    }
    assert_ok(lt_partition_group(pointers, N, device, N + 2, &arena, order, parts, n_parts, &err),
              &err);
}

static void group_interleaved_chains_makes_two_parts(void **state)
{
    (void)state;
    uint32_t order[N], n_parts;
    lt_part *parts;
    group_interleaved_chains("010101", order, &parts, &n_parts);
    const uint32_t expected[N] = {0, 2, 4, 1, 3, 5};
    assert_memory_equal(order, expected, sizeof(expected));
    assert_int_equal(n_parts, 2);
    assert_int_equal(parts[0].device, 0);
    assert_int_equal(parts[1].device, 1);
    assert_int_equal(parts[1].first, 3);
    assert_int_equal(parts[1].count, 3);
}

static void group_one_device_keeps_the_order(void **state)
{
    (void)state;
    uint32_t order[N], n_parts;
    lt_part *parts;
    group_interleaved_chains("111111", order, &parts, &n_parts);
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(order[i], i);
    }
    assert_int_equal(n_parts, 1);
    assert_int_equal(parts[0].device, 1);
}

static void group_dependent_switch_cuts_the_chain(void **state)
{
    (void)state;
    uint32_t order[N], n_parts;
    lt_part *parts;
    group_interleaved_chains("000100", order, &parts, &n_parts); /* b1 alone elsewhere */
    assert_int_equal(n_parts, 3);
    assert_int_equal(order[n_parts - 1 + 2], 3); /* a0 b0 a1 a2 | b1 | b2 */
    assert_int_equal(order[N - 1], 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(assign_equal_costs_keeps_preference),
        TEST(assign_much_cheaper_moves_all),
        TEST(assign_small_gain_stays),
        TEST(assign_chain_moves_when_it_pays_for_the_link),
        TEST(assign_unknown_cost_keeps_preference),
        TEST(assign_unsupported_goes_to_the_next),
        TEST(assign_nobody_supports_names_the_node),
        TEST(group_interleaved_chains_makes_two_parts),
        TEST(group_one_device_keeps_the_order),
        TEST(group_dependent_switch_cuts_the_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
