/* test_salvage.c - files that SQLite cannot read any more: whatever page is destroyed, nothing is lost but
 * what stood on it, nothing that was expunged comes back, and nothing crashes. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "message/scan.h"
#include "run/ipc.h"
#include "run/settings.h"
#include "world.h"

enum { MESSAGES = 90, PAGE = 4096 };

static uint64_t random_state = 88172645463325252u;
static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % n;
}

/* ------------------------------------------------------------------ the account as it was */

static struct original {
    struct buf text;
    uint64_t mailbox;
    uint32_t uid;
    uint8_t flags;
    bool expunged;
} originals[MESSAGES];
static struct buf file, file_log; /* its bytes, and those of its log before it was emptied */
static uint64_t other_mailbox, inbox;
static bool log_is_cut; /* what was expunged last is not yet */

static void text_make(size_t i)
{
    struct buf *text = &originals[i].text;
    size_t lines = i % 30 == 7 ? 9000 : i % 10 == 3 ? 200 : 3 + random_below(20);
    *text = BUF_INIT(BUF_UNBOUNDED);
    buf_printf(
        text, "Subject: message number %zu\r\nMessage-ID: <m%zu@example.test>\r\nX-Filler: ", i, i);
    for (uint32_t n = random_below(i % 20 == 11 ? 9000 : 300); n > 0; n--)
        buf_add_char(text, (char)('!' + random_below(94)));
    buf_add_literal(text, "\r\n\r\n");
    for (size_t n = 0; n < lines; n++)
        buf_printf(text, "line %zu of %zu: %08x%08x%08x%08x\r\n", n, i, random_below(UINT32_MAX),
                   random_below(UINT32_MAX), random_below(UINT32_MAX), random_below(UINT32_MAX));
}

static struct buf file_read(const char *suffix)
{
    char path[512];
    struct buf out = BUF_INIT(BUF_UNBOUNDED);
    struct stat st;
    account_path(WORLD_ID, suffix, false, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0) {
        char *room = buf_reserve(&out, (size_t)st.st_size);
        assert_int_equal(pread(fd, room, (size_t)st.st_size, 0), st.st_size);
        buf_added(&out, (size_t)st.st_size);
    }
    fd_close(&fd);
    return out;
}

static void file_write(const char *suffix, struct str bytes)
{
    char path[512];
    account_path(WORLD_ID, suffix, true, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, bytes.data, bytes.len), 0);
    fd_close(&fd);
}

static void originals_store(void)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    other_mailbox = world_create(tx, "Other").id;
    inbox = world_mailbox(tx, "INBOX").id;
    for (size_t i = 0; i < MESSAGES; i++) {
        struct original *o = &originals[i];
        struct str keywords[] = {STR("$Label"), STR("Work")};
        uint64_t email;
        text_make(i);
        o->mailbox = i % 3 ? inbox : other_mailbox;
        o->flags = (uint8_t)(i & FLAG_ALL);
        o->uid =
            world_append_full(tx, o->mailbox, buf_str(&o->text), o->flags, keywords, i % 3, &email);
    }
    world_commit(tx);
    tx = world_begin(ACCOUNT_WRITE);
    for (size_t i = 5; i < MESSAGES; i += 6) {
        originals[i].expunged = true;
        world_ok(message_expunge(tx, originals[i].mailbox, originals[i].uid, e));
    }
    world_commit(tx);
}

/* Opens the account's folder with nothing in it. */
static void begin_anew(void)
{
    struct error e;
    world_remove();
    assert_int_equal(mkdir(world_directory, 0700), 0);
    assert_int_equal(accounts_init(world_directory, 8 << 20, &e), 0);
}

static int group_setup(void **state UNUSED)
{
    struct buf errors = BUF_INIT(BUF_UNBOUNDED);
    assert_int_equal(settings_load("test",
                                   STR("[server]\nhost-name = mail.example.test\n"
                                       "data-directory = /tmp\n"),
                                   &errors),
                     0);
    buf_free(&errors);
    log_set_level(LOG_ERROR);
    ipc_loopback(PROCESS_SCAN, PROCESS_BOX);
    scan_serve();
    world_make();
    world_open();
    originals_store();
    /* Before the file is closed: closing a descriptor of it would drop SQLite's locks, which nobody
     * needs here any more. */
    file_log = file_read(".db-wal");
    assert_true(file_log.len > 100000);
    world_close();
    file = file_read(".db");
    assert_true(file.len > 100 * PAGE);
    return 0;
}

static int group_teardown(void **state UNUSED)
{
    for (size_t i = 0; i < MESSAGES; i++)
        buf_free(&originals[i].text);
    buf_free(&file);
    buf_free(&file_log);
    world_remove();
    return 0;
}

/* ------------------------------------------------------------------ what is there after the repair */

struct outcome {
    size_t lost;      /* originals that are in no mailbox with all their bytes */
    size_t displaced; /* those in another mailbox than before, or with other flags */
    size_t unreadable;
};

static struct original *original_of(struct str text)
{
    for (size_t i = 0; i < MESSAGES; i++)
        if (str_equal(buf_str(&originals[i].text), text))
            return &originals[i];
    return NULL;
}

static void message_compare(struct account_tx *tx, const struct mailbox *m,
                            const struct message *row, bool *seen, struct outcome *out)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    struct error e;
    if (message_read(tx, row->email, 0, UINT64_MAX, &text, &e) < 0) {
        out->unreadable++;
    } else {
        const struct original *o = original_of(buf_str(&text));
        if (!o) { /* bytes that the damage changed: only where nothing but the body's hash tells */
            out->unreadable++;
        } else {
            if (o->expunged && !log_is_cut)
                fail_msg("an expunged message came back");
            if (seen[o - originals])
                fail_msg("a message is there twice");
            seen[o - originals] = true;
            out->displaced +=
                !str_equal(m->name, o->mailbox == inbox ? STR("INBOX") : STR("Other")) ||
                row->flags != o->flags || row->uid != o->uid;
        }
    }
    buf_free(&text);
}

static struct outcome compare(void)
{
    struct account_tx *tx = world_begin(ACCOUNT_READ);
    struct outcome out = {0};
    struct mailbox *list;
    size_t count;
    bool seen[MESSAGES] = {false};
    world_ok(mailbox_list(tx, &world_arena, &list, &count, e));
    for (size_t i = 0; i < count; i++) {
        struct message_cursor c;
        struct message row;
        message_cursor_open(&c, tx, list[i].id, 1, UINT32_MAX, 0, COLUMN_EMAIL);
        while (message_cursor_next(&c, &row, NULL) > 0)
            message_compare(tx, &list[i], &row, seen, &out);
        message_cursor_close(&c);
    }
    for (size_t i = 0; i < MESSAGES; i++)
        out.lost += !originals[i].expunged && !seen[i];
    world_rollback(tx);
    return out;
}

/* Repairs a file of these bytes, and looks at what is in it. */
static struct outcome repaired(struct str bytes, struct str log, struct str *findings)
{
    struct buf report = BUF_INIT(BUF_UNBOUNDED);
    struct error problem;
    begin_anew();
    file_write(".db", bytes);
    if (log.len)
        file_write(".db-wal", log);
    world_ok(account_repair(WORLD_ID, &report, e));
    *findings = world_verify();
    if (random_below(4) == 0) { /* once more finds nothing else to do */
        buf_reset(&report);
        world_ok(account_repair(WORLD_ID, &report, e));
        assert_str(world_verify(), *findings);
    }
    buf_free(&report);
    if (account_open(WORLD_ID, &world, &problem) < 0)
        fail_msg("open: %s %s", problem.text, problem.cause);
    struct outcome out = compare();
    /* And it can be used. */
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    world_append(tx, world_mailbox(tx, "INBOX").id, STR("Subject: later\r\n\r\nlater\r\n"), 0);
    world_commit(tx);
    assert_str(world_verify(), *findings);
    *findings = arena_copy(&world_arena, *findings);
    return out;
}

static void done(void)
{
    world_close();
}

/* ------------------------------------------------------------------ the tests */

/* What stands on each page, by SQLite's own statistics. */
struct page_kind {
    char table[32], type[16];
    unsigned cells;
};

static struct page_kind *page_kinds(size_t *count)
{
    char path[512];
    sqlite3 *db;
    sqlite3_stmt *statement;
    *count = file.len / PAGE + 1;
    struct page_kind *kinds = mem_alloc_array(*count, sizeof(*kinds));
    begin_anew();
    file_write(".db", buf_str(&file));
    account_path(WORLD_ID, ".db", false, path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT pageno, name, pagetype, ncell FROM dbstat", -1,
                                        &statement, NULL),
                     SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        struct page_kind *k = &kinds[sqlite3_column_int(statement, 0)];
        snprintf(k->table, sizeof(k->table), "%s", (const char *)sqlite3_column_text(statement, 1));
        snprintf(k->type, sizeof(k->type), "%s", (const char *)sqlite3_column_text(statement, 2));
        k->cells = (unsigned)sqlite3_column_int(statement, 3);
    }
    sqlite3_finalize(statement);
    sqlite3_close(db);
    accounts_shutdown();
    return kinds;
}

/* How many messages may be lost with a page. */
static size_t losses_allowed(const struct page_kind *k)
{
    bool leaf = strcmp(k->type, "leaf") == 0, overflow = strcmp(k->type, "overflow") == 0;
    if (strcmp(k->table, "header") != 0 && strcmp(k->table, "body") != 0 &&
        strcmp(k->table, "chunk") != 0 && !(strcmp(k->table, "email") == 0 && overflow))
        return 0;
    return leaf ? k->cells : overflow;
}

static void page_destroy(struct buf *bytes, size_t page, bool zeros)
{
    for (size_t i = (page - 1) * PAGE; i < page * PAGE; i++)
        bytes->data[i] = zeros ? '\0' : (char)random_below(256);
}

static void every_page(bool zeros, size_t step)
{
    size_t count, displaced = 0;
    struct page_kind *kinds = page_kinds(&count);
    for (size_t page = 1; page < count; page += step) {
        struct buf bytes = BUF_INIT(BUF_UNBOUNDED);
        struct str findings;
        buf_add(&bytes, buf_str(&file));
        page_destroy(&bytes, page, zeros);
        struct outcome out = repaired(buf_str(&bytes), STR(""), &findings);
        const struct page_kind *k = &kinds[page];
        if (out.lost > losses_allowed(k) || (out.lost == 0 && findings.len))
            fail_msg("page %zu (%s %s, %u cells): %zu lost, findings: " STR_FMT, page, k->table,
                     k->type, k->cells, out.lost, STR_ARG(findings));
        if (strcmp(k->table, "placement") != 0 && out.displaced)
            fail_msg("page %zu (%s %s): %zu messages are elsewhere", page, k->table, k->type,
                     out.displaced);
        displaced += out.displaced > 0;
        done();
        buf_free(&bytes);
    }
    assert_true(displaced < 5 && (step > 1 || displaced > 0));
    mem_free(kinds);
}

static void random_pages(void **state UNUSED)
{
    every_page(false, 1);
}

static void zeroed_pages(void **state UNUSED)
{
    every_page(true, 4);
}

/* All inner pages and the pointer map at once: rows are known by what they look like. */
static void no_trees_left(void **state UNUSED)
{
    size_t count;
    struct page_kind *kinds = page_kinds(&count);
    struct buf bytes = BUF_INIT(BUF_UNBOUNDED);
    struct str findings;
    buf_add(&bytes, buf_str(&file));
    for (size_t page = 1; page < count; page++)
        if (page <= 2 || strcmp(kinds[page].type, "internal") == 0)
            page_destroy(&bytes, page, true);
    struct outcome out = repaired(buf_str(&bytes), STR(""), &findings);
    assert_int_equal(out.lost, 0);
    assert_str_literal(findings, "");
    done();
    buf_free(&bytes);
    mem_free(kinds);
}

static void truncated(void **state UNUSED)
{
    size_t before = MESSAGES;
    for (size_t len = 0; len < file.len; len += file.len / 25 + 100) {
        struct str findings;
        struct outcome out = repaired(str_slice(buf_str(&file), 0, len), STR(""), &findings);
        if (out.lost > before)
            fail_msg("%zu bytes: %zu lost, with fewer %zu", len, out.lost, before);
        before = out.lost;
        done();
    }
    assert_true(before < MESSAGES / 4);
}

/* The log holds what the file does not: it counts as far as it is whole. */
static void logs(void **state UNUSED)
{
    struct str findings, log = buf_str(&file_log);
    struct buf bytes = BUF_INIT(BUF_UNBOUNDED);
    buf_add(&bytes, buf_str(&file));
    page_destroy(&bytes, 1, false); /* so that SQLite does not read it */
    struct outcome out = repaired(buf_str(&bytes), log, &findings);
    assert_int_equal(out.lost, 0);
    assert_str_literal(findings, "");
    done();
    out = repaired(str_slice(log, 0, 50), log, &findings); /* no file to speak of */
    assert_int_equal(out.lost, 0);
    done();
    log_is_cut = true;
    for (size_t cut = 0; cut < log.len; cut += log.len / 9 + 1) {
        repaired(str_slice(log, 0, 50), str_slice(log, 0, cut), &findings);
        done();
    }
    log_is_cut = false;
    buf_free(&bytes);
}

static void flipped_bytes(void **state UNUSED)
{
    for (unsigned round = 0; round < 40; round++) {
        struct buf bytes = BUF_INIT(BUF_UNBOUNDED);
        struct str findings;
        buf_add(&bytes, buf_str(&file));
        for (uint32_t n = 1 + random_below(30); n > 0; n--)
            bytes.data[random_below((uint32_t)bytes.len)] ^= (char)(1 + random_below(255));
        struct outcome out = repaired(buf_str(&bytes), STR(""), &findings);
        assert_true(out.lost <= 60);
        done();
        buf_free(&bytes);
    }
}

/* What is no database at all gives an empty account, and the old file is kept. */
static void garbage(void **state UNUSED)
{
    struct buf bytes = BUF_INIT(BUF_UNBOUNDED);
    struct str findings;
    char path[512];
    for (size_t i = 0; i < 300000; i++)
        buf_add_char(&bytes, (char)random_below(256));
    struct outcome out = repaired(buf_str(&bytes), STR("no log either"), &findings);
    assert_int_equal(out.unreadable, 0);
    account_path(WORLD_ID, ".damaged-1", false, path);
    assert_int_equal(access(path, F_OK), 0);
    struct buf kept = file_read(".damaged-1");
    assert_str(buf_str(&kept), buf_str(&bytes));
    buf_free(&kept);
    done();
    buf_free(&bytes);
}

/* The machine stops while the new file takes the old one's place. */
static void interrupted(void **state UNUSED)
{
    struct buf report = BUF_INIT(BUF_UNBOUNDED);
    for (int step = 0; step < 3; step++) {
        struct error problem;
        begin_anew();
        file_write(".salvaged", buf_str(&file));
        file_write(".db-wal", buf_str(&file_log));
        if (step == 0)
            file_write(".db", STR("what was damaged"));
        if (step == 1)
            file_write(".damaged-1", STR("what was damaged"));
        if (step == 0)
            world_ok(account_repair(WORLD_ID, &report, e));
        if (account_open(WORLD_ID, &world, &problem) < 0)
            fail_msg("step %d: %s %s", step, problem.text, problem.cause);
        struct outcome out = compare();
        assert_int_equal(out.lost + out.displaced, 0);
        char path[512];
        account_path(WORLD_ID, ".damaged-1-wal", false, path);
        assert_int_equal(access(path, F_OK), 0);
        account_path(WORLD_ID, ".salvaged", false, path);
        assert_int_equal(access(path, F_OK), -1);
        assert_str_literal(world_verify(), "");
        account_close(&world);
        world_ok(account_delete(WORLD_ID, e)); /* takes all of it away */
        account_path(WORLD_ID, ".damaged-1-wal", false, path);
        assert_int_equal(access(path, F_OK), -1);
        account_path(WORLD_ID, ".damaged-1", false, path);
        assert_int_equal(access(path, F_OK), -1);
        done();
    }
    buf_free(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_pages),  cmocka_unit_test(zeroed_pages),
        cmocka_unit_test(no_trees_left), cmocka_unit_test(truncated),
        cmocka_unit_test(logs),          cmocka_unit_test(flipped_bytes),
        cmocka_unit_test(garbage),       cmocka_unit_test(interrupted),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
