/* A damaged file of an account: the input is a list of patches (where, how many bytes, the bytes) to a file
 * that was right, of which every row is then asked for. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "store/salvage.h"
#include "store/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[] = "/tmp/posthouse-fuzz-XXXXXX";
static char path[64], log_path[64];
static struct buf right;

static struct db *database(const char *name)
{
    struct db_options options = {.path = name, .create = true};
    struct db *db;
    struct error e;
    panic_unless(db_open(&options, &db, &e) == 0);
    panic_unless(db_migrate(db, account_schema, account_schema_count, &e) == 0);
    return db;
}

/* A few rows of every kind, inner pages and pages of long rows. */
static void file_make(void)
{
    static const char *const rows[] = {
        ("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<40) INSERT INTO email"
         " SELECT i, i, i, 900, 100, 1, 1, randomblob(700) FROM n"),
        "INSERT INTO header SELECT id, body, randomblob(100) FROM email",
        "INSERT INTO body SELECT id, randomblob(32), 800, 1, randomblob(id*300) FROM email",
        "INSERT INTO chunk VALUES (3, 1, randomblob(9000)), (3, 2, randomblob(20))",
        "INSERT INTO placement SELECT 1+id%2, id, id, 0, 0, id, 0 FROM email",
        "INSERT INTO mailbox SELECT id, 'box'||id, 1, 0, 1, 0, 1, 9, 9, 2, 2, 0, 8, 1, 0, 0 FROM email",
        "INSERT INTO keyword VALUES (1, '$Label'), (2, 'Work Home')",
        "INSERT INTO expunged VALUES (1, 3, 3), (2, 4, 4)",
        "DELETE FROM email WHERE id BETWEEN 10 AND 20"};
    struct error e;
    char block[4096];
    panic_unless(mkdtemp(directory) != NULL);
    snprintf(path, sizeof(path), "%s/x.db", directory);
    snprintf(log_path, sizeof(log_path), "%s/x.db-wal", directory);
    struct db *db = database(path);
    for (size_t i = 0; i < countof(rows); i++)
        panic_unless(db_exec(db, rows[i], &e) == 0);
    db_close(&db);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    right = BUF_INIT(BUF_UNBOUNDED);
    while ((n = read(fd, block, sizeof(block))) > 0)
        buf_add_bytes(&right, block, (size_t)n);
    close(fd);
    panic_unless(right.len > 20 * sizeof(block));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!right.len) {
        log_set_level(LOG_ERROR);
        file_make();
    }
    struct buf file = BUF_INIT(BUF_UNBOUNDED), report = BUF_INIT(BUF_UNBOUNDED);
    struct error e;
    buf_add(&file, buf_str(&right));
    for (size_t at = 0; at + 4 <= size;) {
        size_t where =
            ((size_t)data[at] << 16 | (size_t)data[at + 1] << 8 | data[at + 2]) % file.len;
        size_t len = MIN((size_t)data[at + 3] % 16, MIN(size - at - 4, file.len - where));
        memcpy(file.data + where, data + at + 4, len);
        at += 4 + len;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    panic_unless(fd >= 0 && fd_write_all(fd, file.data, file.len) == 0);
    close(fd);
    struct db *db = database(":memory:");
    panic_unless(salvage_rows(path, log_path, db, &report, &e) == 0);
    db_close(&db);
    buf_free(&file);
    buf_free(&report);
    return 0;
}
