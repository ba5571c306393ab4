/* test_directory.c - domains, accounts, aliases, credentials, and what a recipient stands for. */
#include "world.h"

#include "store/directory.h"

static struct arena arena;

static struct {
    uint64_t account;
    enum directory_change what;
    unsigned count;
} told;

static void on_change(uint64_t account, enum directory_change what)
{
    told.account = account;
    told.what = what;
    told.count++;
}

static int setup(void **state UNUSED)
{
    world_make();
    world_ok(directory_open(world_directory, e));
    directory_on_change(on_change);
    told.count = 0;
    world_ok(directory_domain_add(STR("example.test"), 0, e));
    return 0;
}

static int teardown(void **state UNUSED)
{
    directory_close();
    arena_free(&arena);
    world_remove();
    return 0;
}

static uint64_t account_add(const char *address)
{
    uint64_t id = 0;
    world_ok(directory_account_add(str_from(address), STR(""), 0, &id, e));
    return id;
}

static void alias_add(const char *address, const char *target)
{
    struct str one = str_from(target);
    world_ok(directory_alias_add(str_from(address), &one, 1, e));
}

static void state_set(const char *address, enum account_state state)
{
    world_ok(directory_account_set(str_from(address), &state, NULL, NULL, e));
}

static struct account_entry account(const char *address)
{
    struct account_entry entry;
    world_ok(directory_account_find(str_from(address), &arena, &entry, e));
    return entry;
}

static struct domain domain(const char *name)
{
    struct domain d;
    world_ok(directory_domain_find(str_from(name), &arena, &d, e));
    return d;
}

/* ------------------------------------------------------------------ domains */

static void domains(void **state UNUSED)
{
    static const char *const bad[] = {"", "[192.0.2.1]", "a b", "a..b", ".", "-", "x@y", "a\nb"};
    struct domain *list, found;
    size_t count;
    uint64_t quota = 5000, id;
    for (size_t i = 0; i < countof(bad); i++)
        if (world_error(directory_domain_add(str_from(bad[i]), 0, e)) != ERROR_INVALID)
            fail_msg("\"%s\"", bad[i]);
    assert_int_equal(world_error(directory_domain_add(STR("EXAMPLE.Test"), 0, e)), ERROR_EXISTS);
    world_ok(directory_domain_add(STR("B\xC3\xBC"
                                      "cher.test"),
                                  100, e));
    assert_int_equal(world_error(directory_domain_add(STR("xn--bcher-kva.test"), 0, e)),
                     ERROR_EXISTS);
    assert_str_literal(domain("b\xC3\xBC"
                              "cher.test")
                           .name,
                       "xn--bcher-kva.test");
    assert_int_equal(domain("xn--bcher-kva.test").quota, 100);
    world_ok(directory_domain_set(STR("xn--bcher-kva.test"), &quota, NULL, e));
    assert_int_equal(domain("xn--bcher-kva.test").quota, 5000);
    world_ok(directory_domain_list(&arena, &list, &count, e));
    assert_int_equal(count, 2);
    assert_str_literal(list[0].name, "example.test");
    assert_int_equal(world_error(directory_domain_set(STR("none.test"), &quota, NULL, e)),
                     ERROR_NOT_FOUND);
    assert_int_equal(world_error(directory_domain_remove(STR("none.test"), e)), ERROR_NOT_FOUND);
    assert_int_equal(world_error(directory_domain_find(STR("none.test"), &arena, &found, e)),
                     ERROR_NOT_FOUND);
    account_add("a@xn--bcher-kva.test");
    assert_int_equal(world_error(directory_domain_remove(STR("xn--bcher-kva.test"), e)),
                     ERROR_DENIED);
    world_ok(directory_account_remove(STR("a@b\xC3\xBC"
                                          "cher.test"),
                                      &id, e));
    alias_add("x@xn--bcher-kva.test", "y@elsewhere.test");
    assert_int_equal(domain("xn--bcher-kva.test").aliases, 1);
    assert_int_equal(world_error(directory_domain_remove(STR("xn--bcher-kva.test"), e)),
                     ERROR_DENIED);
    world_ok(directory_alias_remove(STR("x@xn--bcher-kva.test"), NULL, 0, e));
    world_ok(directory_domain_remove(STR("xn--bcher-kva.test"), e));
    world_ok(directory_domain_list(&arena, &list, &count, e));
    assert_int_equal(count, 1);
}

/* ------------------------------------------------------------------ accounts */

static void accounts(void **state UNUSED)
{
    struct account_entry entry;
    uint64_t id, quota = 1 << 20;
    struct str name = STR("Alice B\xC3\xA4r"), broken = STR("a\nb"), invalid = STR("\xff");
    world_ok(directory_account_add(STR("Alice@Example.test"), STR("Alice"), 5, &id, e));
    entry = account("ALICE@example.TEST");
    assert_int_equal(entry.id, id);
    assert_str_literal(entry.address, "Alice@example.test");
    assert_str_literal(entry.name, "Alice");
    assert_int_equal(entry.quota, 5);
    assert_int_equal(entry.state, ACCOUNT_ENABLED);
    assert_true(entry.administrator); /* the first of all */
    assert_true(entry.created > 0 && entry.last_login == 0);
    assert_int_equal(account("alice").id, id); /* of the first domain */
    assert_int_equal(
        world_error(directory_account_add(STR("aLICE@example.test"), STR(""), 0, &id, e)),
        ERROR_EXISTS);
    assert_int_equal(world_error(directory_account_add(STR("a@none.test"), STR(""), 0, &id, e)),
                     ERROR_NOT_FOUND);
    assert_int_equal(
        world_error(directory_account_add(STR("a b@example.test"), STR(""), 0, &id, e)),
        ERROR_INVALID);
    assert_int_equal(world_error(directory_account_add(STR("b@example.test"), broken, 0, &id, e)),
                     ERROR_INVALID);
    assert_int_equal(world_error(directory_account_add(STR("b@example.test"), invalid, 0, &id, e)),
                     ERROR_INVALID);
    world_ok(directory_account_set(STR("alice"), NULL, &quota, &name, e));
    entry = account("alice");
    assert_int_equal(entry.quota, 1 << 20);
    assert_str(entry.name, name);
    assert_int_equal(world_error(directory_account_set(STR("nobody"), NULL, &quota, NULL, e)),
                     ERROR_NOT_FOUND);
    assert_false(account_add("bob@example.test") == entry.id);
    assert_false(account("bob").administrator);
    world_ok(directory_account_administrator(STR("bob"), true, e));
    assert_true(account("bob").administrator);
    /* A quoted local part, and one in UTF-8 in another case and composition. */
    uint64_t quoted = account_add("\"odd name\"@example.test");
    assert_int_equal(account("\"odd name\"@example.test").id, quoted);
    uint64_t umlaut = account_add("j\xC3\xB6rg@example.test");
    assert_int_equal(account("JO\xCC\x88RG@example.test").id, umlaut);
    /* Ids are never used again. */
    uint64_t removed;
    world_ok(directory_account_remove(STR("j\xC3\xB6rg"), &removed, e));
    assert_int_equal(removed, umlaut);
    assert_true(account_add("joerg@example.test") > umlaut);
    assert_int_equal(world_error(directory_account_get(umlaut, &arena, &entry, e)),
                     ERROR_NOT_FOUND);
    assert_int_equal(domain("example.test").accounts, 4);
}

static void accounts_in_pages(void **state UNUSED)
{
    struct account_entry *list;
    size_t count, all = 0;
    struct str after = STR("");
    world_ok(directory_domain_add(STR("other.test"), 0, e));
    for (int i = 0; i < 7; i++) {
        char address[40];
        snprintf(address, sizeof(address), "u%d@%s", i, i % 3 ? "example.test" : "other.test");
        account_add(address);
    }
    for (;;) {
        world_ok(directory_account_list(STR(""), after, 2, &arena, &list, &count, e));
        if (!count)
            break;
        assert_true(count <= 2);
        all += count;
        after = list[count - 1].address;
    }
    assert_int_equal(all, 7);
    world_ok(directory_account_list(STR("Other.test"), STR(""), 100, &arena, &list, &count, e));
    assert_int_equal(count, 3);
    assert_str_literal(list[0].address, "u0@other.test");
    assert_str_literal(list[2].address, "u6@other.test");
}

/* Batched values are seen at once, and are there after closing. */
static void usage_is_told(void **state UNUSED)
{
    uint64_t a = account_add("a@example.test"), b = account_add("b@example.test");
    world_ok(directory_account_usage(a, 1000, 3, e));
    world_ok(directory_account_usage(b, 500, 2, e));
    world_ok(directory_account_usage(a, 2000, 4, e));
    world_ok(directory_account_login(a, e));
    assert_int_equal(account("a").usage, 2000);
    assert_int_equal(account("a").messages, 4);
    assert_true(account("a").last_login > 0);
    directory_close();
    world_ok(directory_open(world_directory, e));
    assert_int_equal(account("a").usage, 2000);
    assert_int_equal(account("b").messages, 2);
    assert_true(account("a").last_login > 0);
    assert_int_equal(domain("example.test").usage, 2500);
    world_ok(directory_account_remove(STR("a"), &a, e));
    assert_int_equal(domain("example.test").usage, 500);
}

static void changes_are_told(void **state UNUSED)
{
    uint64_t id = account_add("a@example.test");
    assert_int_equal(told.count, 0);
    state_set("a", ACCOUNT_DISABLED);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.account, id);
    assert_int_equal(told.what, DIRECTORY_STATE);
    state_set("a", ACCOUNT_ENABLED);
    assert_int_equal(told.count, 1);
    world_ok(directory_credential_set(id, STR(""), STR("$y$1"), e));
    assert_int_equal(told.what, DIRECTORY_PASSWORD);
    unsigned before = told.count;
    world_ok(directory_credential_set(id, STR("phone"), STR("$y$2"),
                                      e)); /* beside the other: nobody has to go */
    assert_int_equal(told.count, before);
    world_ok(directory_credential_set(id, STR("phone"), STR("$y$3"), e));
    assert_int_equal(told.count, before + 1);
    world_ok(directory_credential_remove(id, STR("phone"), e));
    assert_int_equal(told.count, before + 2);
    assert_int_equal(world_error(directory_credential_remove(id, STR("phone"), e)),
                     ERROR_NOT_FOUND);
    world_ok(directory_account_remove(STR("a"), &id, e));
    assert_int_equal(told.count, before + 3);
    assert_int_equal(told.what, DIRECTORY_REMOVED);
    assert_int_equal(told.account, id);
}

/* ------------------------------------------------------------------ aliases and resolving */

static void aliases(void **state UNUSED)
{
    struct alias alias, *list;
    size_t count;
    uint64_t id;
    const struct str two[] = {STR("Alice@Example.test"), STR("x@elsewhere.test")},
                     one[] = {STR("ALICE@example.test")}, bad[] = {STR("not an address")};
    account_add("alice@example.test");
    world_ok(directory_alias_add(STR("Team@example.test"), two, 2, e));
    world_ok(directory_alias_add(STR("team@example.test"), one, 1, e)); /* is there already */
    world_ok(directory_alias_find(STR("TEAM"), &arena, &alias, e));
    assert_int_equal(alias.target_count, 2);
    assert_str_literal(alias.targets[0], "alice@example.test");
    assert_int_equal(world_error(directory_alias_add(STR("alice@example.test"), two, 2, e)),
                     ERROR_EXISTS);
    assert_int_equal(
        world_error(directory_account_add(STR("team@example.test"), STR(""), 0, &id, e)),
        ERROR_EXISTS);
    assert_int_equal(world_error(directory_alias_add(STR("x@none.test"), two, 2, e)),
                     ERROR_NOT_FOUND);
    assert_int_equal(world_error(directory_alias_add(STR("new@example.test"), bad, 1, e)),
                     ERROR_INVALID);
    assert_int_equal(world_error(directory_alias_add(STR("new@example.test"), NULL, 0, e)),
                     ERROR_INVALID);
    assert_int_equal(world_error(directory_alias_find(STR("new"), &arena, &alias, e)),
                     ERROR_NOT_FOUND);
    alias_add("b@example.test", "team@example.test");
    world_ok(directory_alias_list(STR("example.test"), &arena, &list, &count, e));
    assert_int_equal(count, 2);
    assert_str_literal(list[0].address, "b@example.test");
    assert_int_equal(list[1].target_count, 2);
    assert_int_equal(world_error(directory_alias_list(STR("none.test"), &arena, &list, &count, e)),
                     ERROR_NOT_FOUND);
    world_ok(directory_alias_remove(STR("team"), two, 1, e));
    world_ok(directory_alias_find(STR("team"), &arena, &alias, e));
    assert_int_equal(alias.target_count, 1);
    assert_int_equal(world_error(directory_alias_remove(STR("team"), two, 1, e)), ERROR_NOT_FOUND);
    world_ok(directory_alias_remove(STR("team"), two + 1, 1, e)); /* the last target */
    assert_int_equal(world_error(directory_alias_find(STR("team"), &arena, &alias, e)),
                     ERROR_NOT_FOUND);
    assert_int_equal(domain("example.test").aliases, 1);
}

static const char kinds[] = {[RESOLVE_ACCOUNT] = 'A',
                             [RESOLVE_LIST] = 'L',
                             [RESOLVE_REMOTE] = 'R',
                             [RESOLVE_UNKNOWN] = 'U',
                             [RESOLVE_REFUSED] = 'X'};

/* "A alice@example.test+detail": the kind, and the targets in order. */
static struct str resolve(const char *local, const char *name)
{
    struct resolved r;
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    world_ok(directory_resolve(str_from(local), str_from(name), STR("+-"), &arena, &r, e));
    buf_add_char(&text, kinds[r.kind]);
    for (size_t i = 0; i < r.target_count; i++) {
        const struct resolved_target *t = &r.targets[i];
        buf_printf(&text, " %s" STR_FMT "%s" STR_FMT, t->account ? "" : ">", STR_ARG(t->address),
                   t->detail.len ? "+" : "", STR_ARG(t->detail));
    }
    if (r.kind == RESOLVE_UNKNOWN || r.kind == RESOLVE_REFUSED)
        assert_true(r.reason.len > 0);
    struct str result = arena_copy(&arena, buf_str(&text));
    buf_free(&text);
    return result;
}

static void resolves(void **state UNUSED)
{
    account_add("alice@example.test");
    account_add("bob@example.test");
    account_add("anne-marie@example.test");
    account_add("a+b@example.test");
    account_add("a@example.test");
    account_add("reader@example.test");
    account_add("sender@example.test");
    account_add("gone@example.test");
    state_set("reader", ACCOUNT_RECEIVE_ONLY);
    state_set("sender", ACCOUNT_SEND_ONLY);
    state_set("gone", ACCOUNT_DISABLED);
    alias_add("al@example.test", "alice@example.test");
    alias_add("away@example.test", "x@elsewhere.test");
    alias_add("both@example.test", "al@example.test"); /* of an alias */
    alias_add("both@example.test", "bob@example.test");
    alias_add("both@example.test", "alice@example.test"); /* twice: once */
    alias_add("loop@example.test", "pool@example.test");
    alias_add("pool@example.test", "loop@example.test");
    alias_add("half@example.test", "loop@example.test");
    alias_add("half@example.test", "bob@example.test");
    alias_add("dead@example.test", "gone@example.test");
    alias_add("lost@example.test", "nobody@example.test");
    alias_add("partly@example.test", "gone@example.test");
    alias_add("partly@example.test", "bob@example.test");
    static const struct {
        const char *local, *domain, *expected;
    } rows[] = {
        {"alice", "example.test", "A alice@example.test"},
        {"ALICE", "Example.TEST", "A alice@example.test"},
        {"alice+x", "example.test", "A alice@example.test+x"},
        {"alice-x+y", "example.test", "A alice@example.test+x+y"},
        {"alice+", "example.test", "A alice@example.test"},
        {"+alice", "example.test", "U"},
        {"anne-marie", "example.test", "A anne-marie@example.test"},
        {"anne-marie-x", "example.test", "A anne-marie@example.test+x"},
        {"anne-x", "example.test", "U"},
        {"a+b", "example.test", "A a+b@example.test"},
        {"a+b+c", "example.test", "A a+b@example.test+c"},
        {"a+c", "example.test", "A a@example.test+c"},
        {"al", "example.test", "A alice@example.test"},
        {"al+x", "example.test", "A alice@example.test+x"},
        {"away", "example.test", "L >x@elsewhere.test"},
        {"both", "example.test", "L alice@example.test bob@example.test"},
        {"loop", "example.test", "U"},
        {"half", "example.test", "A bob@example.test"},
        {"lost", "example.test", "U"},
        {"dead", "example.test", "X"},
        {"partly", "example.test", "A bob@example.test"},
        {"reader", "example.test", "A reader@example.test"},
        {"sender", "example.test", "X"},
        {"gone", "example.test", "X"},
        {"gone+x", "example.test", "X"},
        {"nobody", "example.test", "U"},
        {"", "example.test", "U"},
        {"alice", "elsewhere.test", "R"},
        {"alice", "", "A alice@example.test"},
        {"postmaster", "", "A alice@example.test"},
        {"PostMaster", "example.test", "A alice@example.test"},
        {"abuse", "example.test", "A alice@example.test"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct str got = resolve(rows[i].local, rows[i].domain);
        if (!str_equal(got, str_from(rows[i].expected)))
            fail_msg("%s@%s: " STR_FMT, rows[i].local, rows[i].domain, STR_ARG(got));
    }
}

static void postmaster_is_always_there(void **state UNUSED)
{
    world_ok(directory_domain_add(STR("other.test"), 0, e));
    assert_str_literal(resolve("postmaster", "example.test"), "U"); /* nobody at all */
    account_add("alice@example.test");
    account_add("b@other.test");
    assert_str_literal(resolve("postmaster", "other.test"), "A alice@example.test");
    world_ok(directory_account_administrator(STR("b@other.test"), true, e));
    assert_str_literal(resolve("abuse", "other.test"), "A b@other.test");
    state_set("b@other.test", ACCOUNT_DISABLED); /* cannot take it: the next one does */
    assert_str_literal(resolve("abuse", "other.test"), "A alice@example.test");
    world_ok(directory_account_administrator(STR("alice"), false, e));
    assert_str_literal(resolve("abuse", "example.test"), "A alice@example.test");
    alias_add("postmaster@other.test", "boss@elsewhere.test"); /* somebody has it */
    assert_str_literal(resolve("postmaster", "other.test"), "L >boss@elsewhere.test");
}

static void catch_all(void **state UNUSED)
{
    struct str target = STR("alice@example.test"), none = STR(""), away = STR("x@elsewhere.test"),
               itself = STR("nobody@example.test"), bad = STR("a b");
    account_add("alice@example.test");
    account_add("gone@example.test");
    state_set("gone", ACCOUNT_DISABLED);
    world_ok(directory_domain_set(STR("example.test"), NULL, &target, e));
    assert_str(domain("example.test").catch_all, target);
    assert_str_literal(resolve("nobody", "example.test"), "A alice@example.test");
    assert_str_literal(resolve("gone", "example.test"), "X"); /* is somebody */
    assert_str_literal(resolve("postmaster", "example.test"), "A alice@example.test");
    world_ok(directory_domain_set(STR("example.test"), NULL, &away, e));
    assert_str_literal(resolve("nobody", "example.test"), "L >x@elsewhere.test");
    world_ok(directory_domain_set(STR("example.test"), NULL, &itself, e)); /* ends */
    assert_str_literal(resolve("nobody", "example.test"), "U");
    assert_int_equal(world_error(directory_domain_set(STR("example.test"), NULL, &bad, e)),
                     ERROR_INVALID);
    world_ok(directory_domain_set(STR("example.test"), NULL, &none, e));
    assert_str_literal(resolve("nobody", "example.test"), "U");
}

static void lists_are_bounded(void **state UNUSED)
{
    struct str targets[ALIAS_TARGETS_MAX];
    struct resolved r;
    for (size_t i = 0; i < countof(targets); i++)
        targets[i] = arena_printf(&arena, "x%zu@elsewhere.test", i);
    world_ok(directory_alias_add(STR("many@example.test"), targets, countof(targets), e));
    struct str more[] = {STR("more@elsewhere.test"), STR("many@example.test")};
    assert_int_equal(world_error(directory_alias_add(STR("many@example.test"), more, 1, e)),
                     ERROR_LIMIT);
    world_ok(directory_resolve(STR("many"), STR("example.test"), STR("+"), &arena, &r, e));
    assert_int_equal(r.target_count, ALIAS_TARGETS_MAX);
    world_ok(directory_alias_add(STR("toomany@example.test"), more, 2, e));
    assert_int_equal(world_error(directory_resolve(STR("toomany"), STR("example.test"), STR("+"),
                                                   &arena, &r, e)),
                     ERROR_LIMIT);
    for (int i = 0; i < 40; i++) { /* a chain that is too long stands for nobody; it ends */
        char name[40], next[40];
        snprintf(name, sizeof(name), "c%d@example.test", i);
        snprintf(next, sizeof(next), "c%d@example.test", i + 1);
        alias_add(name, next);
    }
    assert_str_literal(resolve("c0", "example.test"), "U");
}

/* ------------------------------------------------------------------ credentials */

static void credentials(void **state UNUSED)
{
    struct credential *list;
    size_t count;
    uint64_t id = account_add("a@example.test");
    char hash[CREDENTIAL_HASH_MAX + 1], name[CREDENTIAL_NAME_MAX + 1];
    memset(hash, 'h', sizeof(hash));
    memset(name, 'n', sizeof(name));
    world_ok(directory_credential_set(id, STR(""), STR("$y$main"), e));
    world_ok(directory_credential_set(id, STR("phone"), STR("$y$phone"), e));
    world_ok(directory_credential_list(id, &arena, &list, &count, e));
    assert_int_equal(count, 2);
    assert_str_literal(list[0].name, "");
    assert_str_literal(list[1].hash, "$y$phone");
    assert_true(list[1].created > 0 && list[1].last_used == 0);
    uint64_t phone = list[1].id;
    world_ok(directory_credential_used(phone, STR("192.0.2.1 imap"), e));
    world_ok(directory_credential_rehash(phone, STR("$y$new"), e));
    world_ok(directory_credential_list(id, &arena, &list, &count, e));
    assert_str_literal(list[1].last_from, "192.0.2.1 imap");
    assert_str_literal(list[1].hash, "$y$new");
    assert_true(list[1].last_used > 0);
    assert_int_equal(list[1].id, phone);
    world_ok(directory_credential_set(id, STR("phone"), STR("$y$other"),
                                      e)); /* another one: another id */
    assert_int_equal(world_error(directory_credential_rehash(phone, STR("$y$late"), e)),
                     ERROR_NOT_FOUND);
    assert_int_equal(world_error(directory_scram_set(phone, STR("SHA-1"), STR("k"), STR("s"), e)),
                     ERROR_NOT_FOUND);
    world_ok(directory_credential_list(id, &arena, &list, &count, e));
    assert_str_literal(list[1].hash, "$y$other");
    assert_int_equal(list[1].last_used, 0);
    static const struct str bad_names[] = {STR_INIT("a\nb"), STR_INIT("\xff"), STR_INIT("\177")};
    for (size_t i = 0; i < countof(bad_names); i++)
        assert_int_equal(world_error(directory_credential_set(id, bad_names[i], STR("$y$"), e)),
                         ERROR_INVALID);
    assert_int_equal(
        world_error(directory_credential_set(id, str_of(name, sizeof(name)), STR("$y$"), e)),
        ERROR_INVALID);
    assert_int_equal(world_error(directory_credential_set(id, STR(""), STR(""), e)), ERROR_INVALID);
    assert_int_equal(
        world_error(directory_credential_set(id, STR(""), str_of(hash, sizeof(hash)), e)),
        ERROR_INVALID);
    assert_int_equal(world_error(directory_credential_set(4711, STR(""), STR("$y$"), e)),
                     ERROR_NOT_FOUND);
    for (int i = 2; i < CREDENTIALS_MAX; i++)
        world_ok(directory_credential_set(id, arena_printf(&arena, "app%d", i), STR("$y$"), e));
    assert_int_equal(world_error(directory_credential_set(id, STR("one too many"), STR("$y$"), e)),
                     ERROR_LIMIT);
    world_ok(directory_credential_set(id, STR("phone"), STR("$y$again"),
                                      e)); /* replacing is always possible */
    world_ok(directory_account_remove(STR("a"), &id, e));
    world_ok(directory_credential_list(id, &arena, &list, &count, e));
    assert_int_equal(count, 0);
}

static void scram_keys(void **state UNUSED)
{
    struct str salt, same;
    uint32_t iterations, again;
    struct scram_keys *keys;
    struct credential *list;
    size_t count;
    uint64_t a = account_add("a@example.test"), b = account_add("b@example.test");
    const struct scram_pair pair = {STR("stored"), STR("server")};
    assert_true(directory_scram_complete()); /* nobody has a password */
    assert_int_equal(world_error(directory_scram_find(a, &arena, &salt, &iterations, e)),
                     ERROR_NOT_FOUND);
    world_ok(directory_scram_parameters(a, &arena, &salt, &iterations, e));
    world_ok(directory_scram_parameters(a, &arena, &same, &again, e));
    assert_str(same, salt);
    assert_int_equal(iterations, again);
    assert_true(salt.len >= 16 && iterations >= 4096);
    world_ok(directory_scram_parameters(b, &arena, &same, &again, e));
    assert_false(str_equal(same, salt));
    world_ok(directory_credential_set_keyed(a, STR(""), STR("$y$"), &pair, &pair, e));
    assert_true(directory_scram_complete());
    world_ok(directory_credential_set(b, STR(""), STR("{PLAIN}x"), e));
    assert_false(directory_scram_complete());
    state_set("b", ACCOUNT_DISABLED); /* does not count */
    assert_true(directory_scram_complete());
    state_set("b", ACCOUNT_ENABLED);
    assert_false(directory_scram_complete());
    world_ok(directory_credential_list(b, &arena, &list, &count, e));
    world_ok(directory_scram_set(list[0].id, STR("SHA-1"), STR("k1"), STR("s1"), e));
    assert_false(directory_scram_complete()); /* both hashes */
    world_ok(directory_scram_set(list[0].id, STR("SHA-256"), STR("k256"), STR("s256"), e));
    assert_true(directory_scram_complete());
    assert_int_equal(
        world_error(directory_scram_set(list[0].id, STR("MD5"), STR("k"), STR("s"), e)),
        ERROR_INVALID);
    assert_int_equal(
        world_error(directory_scram_set(list[0].id, STR("SHA-1"), STR(""), STR("s"), e)),
        ERROR_INVALID);
    world_ok(directory_scram_list(b, STR("SHA-256"), &arena, &keys, &count, e));
    assert_int_equal(count, 1);
    assert_str_literal(keys[0].stored_key, "k256");
    assert_str_literal(keys[0].server_key, "s256");
    world_ok(directory_scram_list(b, STR("SHA-1"), &arena, &keys, &count, e));
    assert_str_literal(keys[0].stored_key, "k1");
    world_ok(
        directory_credential_set(b, STR(""), STR("$y$new"), e)); /* the keys go with the password */
    world_ok(directory_scram_list(b, STR("SHA-1"), &arena, &keys, &count, e));
    assert_int_equal(count, 0);
}

static void values(void **state UNUSED)
{
    struct str value;
    assert_int_equal(world_error(directory_value_get(STR("x"), &arena, &value, e)),
                     ERROR_NOT_FOUND);
    world_ok(directory_value_set(STR("x"), str_of("a\0b", 3), e));
    world_ok(directory_value_set(STR("x"), str_of("\0c", 2), e));
    world_ok(directory_value_get(STR("x"), &arena, &value, e));
    assert_str(value, str_of("\0c", 2));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(domains),
        TEST(accounts),
        TEST(accounts_in_pages),
        TEST(usage_is_told),
        TEST(changes_are_told),
        TEST(aliases),
        TEST(resolves),
        TEST(postmaster_is_always_there),
        TEST(catch_all),
        TEST(lists_are_bounded),
        TEST(credentials),
        TEST(scram_keys),
        TEST(values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
