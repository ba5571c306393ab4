/* test_route.c - the verdict on each kind of recipient. */
#include "delivery/post.h"

static uint64_t alice, bob;

static int setup(void **state UNUSED)
{
    struct error e;
    enum account_state disabled = ACCOUNT_DISABLED;
    post_directory_make();
    post_open(PROCESS_MX);
    post_domain();
    alice = post_account("alice@example.test", 10000);
    bob = post_account("bob@example.test", 0);
    post_account("gone@example.test", 0);
    assert_int_equal(directory_account_set(STR("gone@example.test"), &disabled, NULL, NULL, &e), 0);
    struct str both[] = {STR("alice@example.test"), STR("bob@example.test")};
    assert_int_equal(directory_alias_add(STR("both@example.test"), both, 2, &e), 0);
    struct str away[] = {STR("x@elsewhere.test")};
    assert_int_equal(directory_alias_add(STR("away@example.test"), away, 1, &e), 0);
    assert_int_equal(directory_alias_add(STR("al@example.test"), both, 1, &e), 0);
    return 0;
}

static int teardown(void **state UNUSED)
{
    post_close();
    post_directory_remove();
    return 0;
}

static void verdicts(void **state UNUSED)
{
    const struct {
        const char *local, *domain;
        uint64_t size;
        enum route_verdict verdict;
        uint64_t account;
        const char *detail;
    } cases[] = {
        {"alice", "example.test", 0, ROUTE_LOCAL, alice, ""},
        {"ALICE", "EXAMPLE.test", 0, ROUTE_LOCAL, alice, ""},
        {"alice+lists", "example.test", 0, ROUTE_LOCAL, alice, "lists"},
        {"al", "example.test", 0, ROUTE_LOCAL, alice, ""},
        {"bob", "example.test", UINT64_MAX, ROUTE_LOCAL, bob, ""},
        {"both", "example.test", 0, ROUTE_QUEUE, 0, ""},
        {"away", "example.test", 0, ROUTE_QUEUE, 0, ""},
        {"nobody", "example.test", 0, ROUTE_UNKNOWN, 0, ""},
        {"gone", "example.test", 0, ROUTE_DISABLED, 0, ""},
        {"alice", "elsewhere.test", 0, ROUTE_NOT_OURS, 0, ""},
        {"alice", "[192.0.2.1]", 0, ROUTE_NOT_OURS, 0, ""},
        {"postmaster", "", 0, ROUTE_LOCAL, alice, ""},
        {"alice", "example.test", 10000, ROUTE_LOCAL, alice, ""},
        {"alice", "example.test", 10001, ROUTE_OVER_QUOTA, alice, ""},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct arena arena = ARENA_INIT;
        struct address address = {.local = str_from(cases[i].local),
                                  .domain = str_from(cases[i].domain)};
        struct route route;
        struct error e;
        if (route_recipient(&address, cases[i].size, &arena, &route, &e) < 0)
            fail_msg("%s@%s: %s", cases[i].local, cases[i].domain, e.text);
        if (route.verdict != cases[i].verdict || route.account != cases[i].account)
            fail_msg("%s@%s: verdict %d account %llu", cases[i].local, cases[i].domain,
                     (int)route.verdict, (unsigned long long)route.account);
        assert_str(route.detail, str_from(cases[i].detail));
        if (route.verdict == ROUTE_LOCAL && route.account == alice) {
            assert_str_literal(route.address, "alice@example.test");
            assert_int_equal(route.quota, 10000);
        }
        arena_free(&arena);
    }
}

static enum route_verdict verdict_of(const char *local, uint64_t size)
{
    struct arena arena = ARENA_INIT;
    struct address address = {.local = str_from(local), .domain = STR("example.test")};
    struct route route;
    struct error e;
    assert_int_equal(route_recipient(&address, size, &arena, &route, &e), 0);
    arena_free(&arena);
    return route.verdict;
}

static void quotas_by_usage(void **state UNUSED)
{
    struct error e;
    uint64_t quota = 5000;
    assert_int_equal(directory_account_usage(alice, 9000, 3, &e), 0);
    assert_int_equal(verdict_of("alice", 1000), ROUTE_LOCAL);
    assert_int_equal(verdict_of("alice", 1001), ROUTE_OVER_QUOTA);
    assert_int_equal(directory_account_usage(alice, 10000, 3, &e), 0);
    assert_int_equal(verdict_of("alice", 0), ROUTE_OVER_QUOTA);
    assert_int_equal(directory_account_usage(alice, 0, 0, &e), 0);
    assert_int_equal(verdict_of("alice", 0), ROUTE_LOCAL);
    assert_int_equal(verdict_of("bob", 0), ROUTE_LOCAL);
    assert_int_equal(directory_domain_set(STR("example.test"), &quota, NULL, &e), 0);
    assert_int_equal(verdict_of("bob", 0), ROUTE_LOCAL);
    assert_int_equal(directory_account_usage(alice, 5000, 1, &e), 0);
    for (int i = 0; i < 50 && verdict_of("bob", 0) == ROUTE_LOCAL; i++)
        usleep(100 * 1000); /* the domain's sum is written in the background */
    assert_int_equal(verdict_of("bob", 0), ROUTE_OVER_QUOTA);
    quota = 0;
    assert_int_equal(directory_domain_set(STR("example.test"), &quota, NULL, &e), 0);
    assert_int_equal(verdict_of("bob", 0), ROUTE_LOCAL);
}

/* The disk's mark stops mail at RCPT already. */
static void no_room_on_the_disk(void **state UNUSED)
{
    struct arena arena = ARENA_INIT;
    struct address address = {.local = STR("alice"), .domain = STR("example.test")};
    struct route route;
    struct error e = {0};
    post_settings("[limits]\nfree-space = 1000G");
    usleep(1100 * 1000);
    assert_int_equal(route_recipient(&address, 0, &arena, &route, &e), -1);
    assert_int_equal(e.class, ERROR_FULL);
    post_settings("");
    usleep(1100 * 1000);
    assert_int_equal(route_recipient(&address, 0, &arena, &route, &e), 0);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts),
        cmocka_unit_test(quotas_by_usage),
        cmocka_unit_test(no_room_on_the_disk),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
