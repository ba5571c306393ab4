/* test_search.c - the search index says the same as looking through every message, whatever the words,
 * the needles, and the moment. */
#include <fcntl.h>

#include "message/charset.h"
#include "message/scan.h"
#include "run/ipc.h"
#include "run/settings.h"
#include "store/search.h"
#include "store/search_segment.h"
#include "world.h"

/* A generator of its own, so that each run is the same. */
static uint64_t random_state = 88172645463325252u;
static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % n;
}

static const char *const vocabulary[] = {
    "the",
    "Hello",
    "wor",
    "world",
    "order-4711",
    "Stra\xC3\x9F"
    "e",
    "caf\xC3\xA9",
    "CAF\xC3\x89",
    "e",
    "ee",
    "\xE6\x9D\xB1\xE4\xBA\xAC\xE9\x83\xBD",
    "\xE4\xBA\xAC\xE6\x9D\xB1",
    "abc\xE6\x9D\xB1",
    "\xE2\x80\x9Cquoted\xE2\x80\x9D",
    "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82",
    "\xD0\xBF\xD1\x80\xD0\xB8",
    "a.b.c",
    "someone@example.test",
    "\xE0\xB8\xAA\xE0\xB8\xA7\xE0\xB8\xB1\xE0\xB8\xAA\xE0\xB8\x94",
    "\xF0\x9F\x98\x80",
    "x_y",
    "\xC2\xAB"
    "oui\xC2\xBB",
    "12345678901234567890",
    "\xED\x95\x9C\xEA\xB5\xAD",
};

struct message_made {
    uint64_t email;
    uint32_t uid;
    struct buf folded;
    bool gone;
};
static VEC(struct message_made) made;

static void body_make(struct buf *out)
{
    uint32_t words = 1 + random_below(30);
    for (uint32_t i = 0; i < words; i++) {
        buf_add(out, str_from(vocabulary[random_below(countof(vocabulary))]));
        if (random_below(40) == 0) /* a run beyond a word's length */
            for (uint32_t n = 150 + random_below(500); n > 0; n--)
                buf_add_char(out, (char)('a' + random_below(3)));
        buf_add(out, random_below(8) ? STR(" ") : random_below(2) ? STR("\r\n") : STR(""));
    }
    if (random_below(10) == 0) /* of its own */
        buf_printf(out, " unique%u", random_below(1000000));
    buf_add_literal(out, "\r\n");
}

static void message_add(struct account_tx *tx)
{
    struct message_made m = {.folded = BUF_INIT(BUF_UNBOUNDED)};
    struct buf text = BUF_INIT(BUF_UNBOUNDED), plain = BUF_INIT(BUF_UNBOUNDED);
    buf_add_literal(&text, "Subject: found nowhere\r\nMIME-Version: 1.0\r\n"
                           "Content-Type: text/plain; charset=utf-8\r\n\r\n");
    body_make(&text);
    m.uid =
        world_append_full(tx, world_mailbox(tx, "INBOX").id, buf_str(&text), 0, NULL, 0, &m.email);
    assert_int_equal(scan_folded_text(buf_str(&text), &m.folded), 0);
    VEC_ADD(&made, m);
    buf_free(&text);
    buf_free(&plain);
}

static void messages_add(uint32_t count)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    for (uint32_t i = 0; i < count; i++)
        message_add(tx);
    world_commit(tx);
}

static void messages_expunge(uint32_t count)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    uint64_t inbox = world_mailbox(tx, "INBOX").id;
    for (uint32_t i = 0; i < count; i++) {
        struct message_made *m = &made.items[random_below((uint32_t)made.len)];
        if (!m->gone)
            world_ok(message_expunge(tx, inbox, m->uid, e));
        m->gone = true;
    }
    world_commit(tx);
}

static void indexed_all(void)
{
    struct error e = {0};
    int result;
    while ((result = search_index(world, &e)) > 0)
        ;
    if (result < 0)
        fail_msg("%s %s", e.text, e.cause);
}

static uint64_t indexed(void)
{
    struct search_hits hits;
    search_find(world, STR("e"), &hits);
    uint64_t up_to = hits.indexed;
    search_hits_free(&hits);
    return up_to;
}

/* What the index says of each message is true; how many it left to be looked through. */
static size_t compare(struct str needle)
{
    struct search_hits hits;
    size_t looks = 0;
    search_find(world, needle, &hits);
    for (size_t i = 0; i < made.len; i++) {
        const struct message_made *m = &made.items[i];
        bool there = str_find(buf_str(&m->folded), needle) < m->folded.len;
        enum search_answer answer = search_answer(&hits, m->email);
        looks += answer == SEARCH_LOOK;
        if (!m->gone && answer != SEARCH_LOOK && there != (answer == SEARCH_YES))
            fail_msg("\"" STR_FMT "\" in email %llu: %d, but the index says %d", STR_ARG(needle),
                     (unsigned long long)m->email, there, answer == SEARCH_YES);
    }
    search_hits_free(&hits);
    return looks;
}

static bool continues(char c)
{
    return (c & 0xC0) == 0x80;
}

/* A piece of some message, in whole characters. */
static struct str needle_random(void)
{
    const struct message_made *m = &made.items[random_below((uint32_t)made.len)];
    struct str text = buf_str(&m->folded);
    size_t start = random_below((uint32_t)text.len), len = 1 + random_below(12);
    if (random_below(20) == 0)
        len += random_below(300);
    while (start < text.len && continues(text.data[start]))
        start++;
    while (start + len < text.len && continues(text.data[start + len]))
        len++;
    return str_slice(text, start, len);
}

static void needles_try(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct str needle = needle_random();
        if (needle.len)
            compare(needle);
    }
    static const char *const others[] = {
        "e",       "el",           "hello world",
        ".",       "unique",       "nowhere",
        "zzzz",    "\xE6\x9D\xB1", "\xE4\xBA\xAC\xE6\x9D\xB1",
        "strasse", "b.c",          "@example",
        "4711",    "\xFF",         "a b c d e f g h i j k l m n o p"};
    for (size_t i = 0; i < countof(others); i++)
        compare(str_from(others[i]));
}

static int setup(void **state)
{
    struct buf errors = BUF_INIT(BUF_UNBOUNDED);
    made.len = 0;
    assert_int_equal(settings_load("test",
                                   STR("[server]\nhost-name = mail.example.test\n"
                                       "data-directory = /tmp\n"),
                                   &errors),
                     0);
    buf_free(&errors);
    ipc_loopback(PROCESS_SCAN, PROCESS_BOX);
    scan_serve();
    return world_setup(state);
}

static int teardown(void **state)
{
    for (size_t i = 0; i < made.len; i++)
        buf_free(&made.items[i].folded);
    VEC_FREE(&made);
    return world_teardown(state);
}

static void says_what_is_there(void **state UNUSED)
{
    assert_int_equal(indexed(), 0);
    for (unsigned round = 0; round < 25; round++) {
        messages_add(round % 5 == 0 ? 300 : 1 + random_below(20));
        if (round % 3 == 2)
            messages_expunge(20);
        needles_try(20); /* with a tail that is not indexed */
        if (round % 4 == 1) {
            struct error e;
            assert_true(search_index(world, &e) >= 0);
        } else {
            indexed_all();
            assert_int_equal(indexed(), made.items[made.len - 1].email);
        }
        needles_try(20);
    }
    indexed_all();
    assert_int_equal(compare(STR("hello")), 0); /* one word: nothing is left to be looked through */
    assert_int_equal(compare(STR("ell")), 0);
    assert_true(compare(STR("hello world")) < made.len / 2);
    assert_int_equal(compare(STR("- -")), made.len); /* no word at all */
    assert_str_literal(world_verify(), "");
}

/* Segments stay few, and merged ones forget what is gone. */
static void stays_small(void **state UNUSED)
{
    char path[512];
    sqlite3 *db;
    sqlite3_stmt *statement;
    for (unsigned i = 0; i < 100; i++) {
        messages_add(1);
        indexed_all();
    }
    messages_expunge(300);
    messages_add(100);
    indexed_all();
    account_path(WORLD_ID, ".search", false, path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_prepare_v2(db, "SELECT count(*), sum(count) FROM segment", -1, &statement, NULL);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    size_t there = 0;
    for (size_t i = 0; i < made.len; i++)
        there += !made.items[i].gone;
    assert_true(sqlite3_column_int(statement, 0) <= 8);
    assert_int_equal(sqlite3_column_int(statement, 1), there);
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

/* More text than is indexed: such messages are always looked through. */
static void large_ones_are_looked_through(void **state UNUSED)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    uint64_t large, small;
    buf_add_literal(&text, "Subject: x\r\n\r\n");
    for (unsigned i = 0; i < 300000; i++)
        buf_printf(&text, "word%u%s", i, i % 10 == 9 ? "\r\n" : " ");
    uint64_t inbox = world_mailbox(tx, "INBOX").id;
    world_append_full(tx, inbox, STR("Subject: y\r\n\r\nword7 and more\r\n"), 0, NULL, 0, &small);
    world_append_full(tx, inbox, buf_str(&text), 0, NULL, 0, &large);
    world_commit(tx);
    indexed_all();
    struct search_hits hits;
    search_find(world, STR("word7"), &hits);
    assert_int_equal(hits.indexed, large);
    assert_int_equal(search_answer(&hits, large), SEARCH_LOOK);
    assert_int_equal(search_answer(&hits, small), SEARCH_YES);
    assert_int_equal(search_answer(&hits, large + 1), SEARCH_LOOK);
    search_hits_free(&hits);
    buf_free(&text);
}

/* A file that is damaged, or another account's, is made anew; answers are never wrong meanwhile. */
static void damage_is_mended(void **state UNUSED)
{
    char path[512];
    messages_add(300);
    indexed_all();
    account_path(WORLD_ID, ".search", false, path);
    static const char *const damages[] = {"UPDATE segment SET words=x'00ff'",
                                          "UPDATE segment SET emails=x'ffffffffffffffffffffff'",
                                          "DELETE FROM block",
                                          "UPDATE block SET data=x'ff'",
                                          "DROP TABLE block",
                                          "UPDATE state SET indexed=99999999"};
    for (size_t i = 0; i < countof(damages) + 2; i++) {
        if (i < countof(damages)) {
            sqlite3 *db;
            assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
            assert_int_equal(sqlite3_exec(db, damages[i], NULL, NULL, NULL), SQLITE_OK);
            sqlite3_close(db);
        } else {
            int fd = open(path, O_WRONLY | O_CLOEXEC);
            char garbage[8192];
            memset(garbage, 'x', sizeof(garbage));
            if (i > countof(damages))
                assert_int_equal(ftruncate(fd, 100), 0);
            assert_int_equal(pwrite(fd, garbage, sizeof(garbage), 0), sizeof(garbage));
            close(fd);
        }
        if (i + 3 != countof(damages) + 2) /* a wrong number can only be seen by who knows better */
            assert_true(compare(STR("hello")) <= made.len);
        messages_add(1);
        struct error e;
        for (int round = 0; round < 10 && search_index(world, &e) != 0; round++)
            ;
        needles_try(5);
        messages_add(1); /* damage that only merging meets */
        for (int round = 0; round < 10 && search_index(world, &e) != 0; round++)
            ;
        assert_int_equal(indexed(), made.items[made.len - 1].email);
        assert_int_equal(compare(STR("hello")), 0);
    }
}

static bool room(void)
{
    return true;
}

static void follows_the_account(void **state UNUSED)
{
    char path[512];
    struct error problem;
    messages_add(10);
    assert_int_equal(search_start(room, &problem), 0);
    for (int i = 0; i < 200 && indexed() == 0; i++)
        usleep(50000);
    assert_int_equal(indexed(), made.items[made.len - 1].email);
    search_stop();
    account_path(WORLD_ID, ".search", false, path);
    assert_int_equal(access(path, F_OK), 0);
    world_ok(account_delete(WORLD_ID, e));
    assert_int_equal(access(path, F_OK), -1);
    assert_true(search_index(world, &problem) < 0); /* and does not come back */
    assert_int_equal(access(path, F_OK), -1);
}

static void words(void **state UNUSED)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"hello, world", "hello|world|"},
        {"", ""},
        {"...", ""},
        {"a_b-c.d@e", "a|b|c|d|e|"},
        {"\xE6\x9D\xB1\xE4\xBA\xAC", "\xE6\x9D\xB1|\xE4\xBA\xAC|"},
        {"x\xE6\x9D\xB1y", "x|\xE6\x9D\xB1|y|"},
        {"\xE2\x80\x9Cq\xE2\x80\x9D", "q|"},
        {"caf\xC3\xA9\xC2\xBB", "caf\xC3\xA9|"},
        {"a\xE6\x9D", "a\xE6\x9D|"}, /* cut off: letters, so that nothing else is taken with it */
        {"\xE6"
         "bc",
         "\xE6"
         "bc|"},
        {"\xC2", "\xC2|"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = BUF_INIT(1000);
        struct str rest = str_from(rows[i].text), word;
        while (word_next(&rest, &word)) {
            buf_add(&out, word);
            buf_add_char(&out, '|');
        }
        assert_str(buf_str(&out), str_from(rows[i].words));
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test_setup_teardown(says_what_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(stays_small, setup, teardown),
        cmocka_unit_test_setup_teardown(large_ones_are_looked_through, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_mended, setup, teardown),
        cmocka_unit_test_setup_teardown(follows_the_account, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
