/* salvage.c - rows of a damaged file. See salvage.h. */
#include "store/salvage.h"

#include "store/salvage_pages.h"

enum { DEPTH_MAX = 20, COLUMNS_MAX = 16, COMMIT_EVERY = 2000 };

/* The tables of an account's file. columns: k the row's key, which stands in no column, i a number, t text,
 * b bytes. What is made without row ids is a tree of an index's form. */
static const struct table {
    struct str name;
    const char *columns;
    bool without_rowid;
    bool by_shape; /* its rows are told from those of all others */
    const char *insert;
} tables[] = {
    {STR_INIT("account"), "kiiiiiii", false, false,
     "INSERT OR IGNORE INTO account VALUES (?, ?, ?, ?, ?, ?, ?, ?)"},
    {STR_INIT("mailbox"), "ktiiiiiiiiiiiiii", false, true,
     "INSERT OR IGNORE INTO mailbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},
    {STR_INIT("placement"), "iiiiiii", true, true,
     "INSERT OR IGNORE INTO placement VALUES (?, ?, ?, ?, ?, ?, ?)"},
    {STR_INIT("email"), "kiiiiiib", false, true,
     "INSERT OR IGNORE INTO email VALUES (?, ?, ?, ?, ?, ?, ?, ?)"},
    {STR_INIT("header"), "kib", false, true, "INSERT OR IGNORE INTO header VALUES (?, ?, ?)"},
    {STR_INIT("body"), "kbiib", false, true, "INSERT OR IGNORE INTO body VALUES (?, ?, ?, ?, ?)"},
    {STR_INIT("chunk"), "iib", false, true, "INSERT OR IGNORE INTO chunk VALUES (?, ?, ?)"},
    {STR_INIT("keyword"), "kt", false, true, "INSERT OR IGNORE INTO keyword VALUES (?, ?)"},
    {STR_INIT("expunged"), "iii", true, false, "INSERT OR IGNORE INTO expunged VALUES (?, ?, ?)"},
    {STR_INIT("tombstone"), "iii", true, false, "INSERT OR IGNORE INTO tombstone VALUES (?, ?, ?)"},
    {STR_INIT("thread"), "ki", false, false, "INSERT OR IGNORE INTO thread VALUES (?, ?)"},
    {STR_INIT("delivered"), "bi", true, false, "INSERT OR IGNORE INTO delivered VALUES (?, ?)"},
    /* Indexes that say of a row, should it be lost, what matters most: its name. A mailbox of a name that
     * every account has from the beginning gets its use again (enum special_use). */
    {STR_INIT("sqlite_autoindex_mailbox_1"), "ti", true, false,
     "INSERT OR IGNORE INTO mailbox SELECT ?2, ?1, 1, 0, 1, CASE ?1 WHEN 'INBOX' THEN 1 WHEN 'Drafts' THEN 2"
     " WHEN 'Sent' THEN 3 WHEN 'Archive' THEN 4 WHEN 'Junk' THEN 5 WHEN 'Trash' THEN 6 ELSE 0 END,"
     " (SELECT uidvalidity FROM account)+?2, 1, 1, 0, 0, 0, 0, 1, 0, 0"},
    {STR_INIT("sqlite_autoindex_keyword_1"), "ti", true, false,
     "INSERT OR IGNORE INTO keyword SELECT ?2, ?1"},
};
enum { TABLES = countof(tables) - 2 }; /* those behind are indexes */

struct salvage {
    struct pages pages;
    struct db *into;
    uint32_t roots[countof(tables)];
    int8_t *owner; /* by page: a table, or NOBODY */
    bool *is_free; /* by page */
    uint64_t taken[countof(tables)], damaged[countof(tables)];
    uint64_t orphans; /* pages that no root led to */
    unsigned uncommitted;
    struct buf payload;
};
enum { NOBODY = -1 };

/* ------------------------------------------------------------------ records */

struct value {
    char kind; /* 'i', 't', 'b', 'n' for NULL, 'f' */
    int64_t number;
    struct str bytes;
};

static int record_varint(struct str *s, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 9 && i < s->len; i++) {
        unsigned char c = (unsigned char)s->data[i];
        value = i == 8 ? value << 8 | c : value << 7 | (c & 0x7F);
        if (i == 8 || c < 0x80) {
            *s = str_from_pos(*s, i + 1);
            *out = value;
            return 0;
        }
    }
    return -1;
}

/* The value of a serial type at the front of data. */
static int value_take(uint64_t type, struct str *data, struct value *out)
{
    static const unsigned char sizes[] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0};
    if (type == 10 || type == 11)
        return -1;
    uint64_t size = type < 10 ? sizes[type] : (type - 12) / 2;
    if (size > data->len)
        return -1;
    struct str bytes = str_slice(*data, 0, (size_t)size);
    *data = str_from_pos(*data, (size_t)size);
    *out = (struct value){.bytes = bytes};
    if (type >= 12) {
        out->kind = type % 2 ? 't' : 'b';
        return 0;
    }
    out->kind = type == 0 ? 'n' : type == 7 ? 'f' : 'i';
    uint64_t number = bytes.len && (bytes.data[0] & 0x80) ? UINT64_MAX : 0;
    for (size_t i = 0; i < bytes.len; i++)
        number = number << 8 | (unsigned char)bytes.data[i];
    out->number = type == 9 ? 1 : (int64_t)number;
    return 0;
}

/* The columns of a record. -1: it is none, or has other columns than the table. */
static int record_read(struct str payload, const char *columns, struct value *out)
{
    struct str rest = payload;
    uint64_t header, type;
    if (record_varint(&rest, &header) < 0 || header > payload.len ||
        header < payload.len - rest.len)
        return -1;
    struct str types =
        str_slice(payload, payload.len - rest.len, (size_t)header - (payload.len - rest.len));
    struct str data = str_from_pos(payload, (size_t)header);
    size_t count = strlen(columns);
    for (size_t i = 0; i < count; i++) {
        if (record_varint(&types, &type) < 0 || value_take(type, &data, &out[i]) < 0)
            return -1;
        char want = columns[i] == 'k' ? 'n' : columns[i];
        if (out[i].kind != want || (want == 't' && !str_is_utf8(out[i].bytes)))
            return -1;
    }
    return types.len || data.len ? -1 : 0;
}

/* ------------------------------------------------------------------ rows */

static void row_insert(struct salvage *s, size_t table, int64_t key, const struct value *values)
{
    const struct table *t = &tables[table];
    struct db_query *q = db_query(s->into, t->insert);
    for (int i = 0; t->columns[i]; i++)
        if (t->columns[i] == 'k')
            db_bind_i64(q, i + 1, key);
        else if (t->columns[i] == 'i')
            db_bind_i64(q, i + 1, values[i].number);
        else if (t->columns[i] == 't')
            db_bind_text(q, i + 1, values[i].bytes);
        else
            db_bind_blob(q, i + 1, values[i].bytes);
    if (db_run(q) == 0)
        s->taken[table] += (uint64_t)db_changes(s->into);
    if (++s->uncommitted == COMMIT_EVERY) { /* so that the log does not grow as large as the file */
        s->uncommitted = 0;
        if (db_commit(s->into, NULL) == 0)
            db_begin(s->into, true, NULL);
    }
}

static bool has_rows(const struct tree_page *page, size_t table)
{
    return tables[table].without_rowid
               ? page->type == PAGE_INDEX_LEAF || page->type == PAGE_INDEX_INNER
               : page->type == PAGE_TABLE_LEAF;
}

static void page_rows(struct salvage *s, size_t table, const struct tree_page *page)
{
    struct value values[COLUMNS_MAX];
    int64_t key;
    for (uint32_t i = 0; i < page->cells; i++)
        if (tree_page_cell(&s->pages, page, i, &key, &s->payload) == 0 &&
            record_read(buf_str(&s->payload), tables[table].columns, values) == 0)
            row_insert(s, table, key, values);
        else
            s->damaged[table]++;
}

/* ------------------------------------------------------------------ whose page is it? */

/* Follows a table's tree from a page; what cannot be read is left to the other ways. */
static void tree_walk(struct salvage *s, size_t table, uint32_t number, unsigned depth)
{
    struct tree_page page;
    if (depth > DEPTH_MAX || number == 0 || number > s->pages.count || s->owner[number] != NOBODY)
        return;
    unsigned char *data = mem_alloc(s->pages.size);
    if (page_read(&s->pages, number, data) == 0) {
        tree_page_open(&page, &s->pages, number, data);
        bool inner =
            page.type == (tables[table].without_rowid ? PAGE_INDEX_INNER : PAGE_TABLE_INNER);
        if (inner || has_rows(&page, table))
            s->owner[number] = (int8_t)table;
        for (uint32_t i = 0; inner && i <= page.cells; i++)
            tree_walk(s, table, tree_page_child(&page, i), depth + 1);
    }
    mem_free(data);
}

/* By the pointer map: the parents up to a root. */
static int owner_by_map(struct salvage *s, uint32_t number)
{
    for (unsigned depth = 0; depth <= DEPTH_MAX; depth++) {
        int64_t parent = page_parent(&s->pages, number);
        if (parent < 0)
            return NOBODY;
        for (size_t i = 0; parent == 0 && i < countof(tables); i++)
            if (s->roots[i] == number)
                return (int)i;
        if (parent == 0 || parent > s->pages.count)
            return NOBODY;
        number = (uint32_t)parent;
    }
    return NOBODY;
}

/* By its first row. */
static int owner_by_shape(struct salvage *s, const struct tree_page *page)
{
    struct value values[COLUMNS_MAX];
    int64_t key;
    if (page->cells == 0 || tree_page_cell(&s->pages, page, 0, &key, &s->payload) < 0)
        return NOBODY;
    for (size_t i = 0; i < countof(tables); i++)
        if (tables[i].by_shape && has_rows(page, i) &&
            record_read(buf_str(&s->payload), tables[i].columns, values) == 0)
            return (int)i;
    return NOBODY;
}

/* ------------------------------------------------------------------ roots */

/* Roots are where they are in every file that was made with this schema, unless the file's own table of
 * contents says otherwise. */
static void roots_find(struct salvage *s)
{
    struct db_query *q = db_query(s->into, "SELECT name, rootpage FROM sqlite_schema");
    while (db_step(q) == 1)
        for (size_t i = 0; i < countof(tables); i++)
            if (str_equal(db_column_str(q, 0), tables[i].name))
                s->roots[i] = (uint32_t)db_column_i64(q, 1);
    db_done(q);
    struct tree_page page;
    struct value values[5]; /* type, name, table, root, SQL */
    unsigned char *data = mem_alloc(s->pages.size);
    int64_t key;
    if (page_read(&s->pages, 1, data) == 0) {
        tree_page_open(&page, &s->pages, 1, data);
        for (uint32_t k = 0; page.type == PAGE_TABLE_LEAF && k < page.cells; k++)
            if (tree_page_cell(&s->pages, &page, k, &key, &s->payload) == 0 &&
                (record_read(buf_str(&s->payload), "tttit", values) == 0 ||
                 record_read(buf_str(&s->payload), "tttin", values) ==
                     0)) /* an index of a table's own */
                for (size_t i = 0; i < countof(tables); i++)
                    if (str_equal(values[1].bytes, tables[i].name) && values[3].number > 0 &&
                        values[3].number <= s->pages.count)
                        s->roots[i] = (uint32_t)values[3].number;
    }
    mem_free(data);
}

/* ------------------------------------------------------------------ all together */

/* The rows of tables or of indexes, on pages that roots lead to, or on others: who comes first wins when two
 * rows have the same key. */
static void pages_take(struct salvage *s, bool indexes, bool orphans)
{
    struct tree_page page;
    unsigned char *data = mem_alloc(s->pages.size);
    for (uint32_t number = 1; number <= s->pages.count; number++) {
        int owner = s->owner[number];
        if ((owner == NOBODY) != orphans ||
            (orphans && (number < 3 || s->is_free[number] || page_is_free(&s->pages, number))) ||
            page_read(&s->pages, number, data) < 0)
            continue;
        tree_page_open(&page, &s->pages, number, data);
        if (page.type == PAGE_OTHER)
            continue;
        if (orphans) {
            owner = owner_by_map(s, number);
            if (owner == NOBODY)
                owner = owner_by_shape(s, &page);
        }
        if (owner == NOBODY || (owner >= TABLES) != indexes || !has_rows(&page, (size_t)owner))
            continue;
        s->orphans += orphans;
        page_rows(s, (size_t)owner, &page);
    }
    mem_free(data);
}

static void counts_report(const struct salvage *s, struct buf *report)
{
    for (size_t i = 0; i < countof(tables); i++) {
        if (s->taken[i] == 0 && (s->damaged[i] == 0 || i >= TABLES))
            continue;
        buf_printf(report, "%s: %llu rows taken over", tables[i].name.data,
                   (unsigned long long)s->taken[i]);
        if (s->damaged[i])
            buf_printf(report, ", %llu cannot be read", (unsigned long long)s->damaged[i]);
        buf_add_char(report, '\n');
    }
    if (s->orphans)
        buf_printf(report, "%llu pages were found that nothing pointed to any more\n",
                   (unsigned long long)s->orphans);
}

int salvage_rows(const char *database_path, const char *log_path, struct db *into,
                 struct buf *report, struct error *e)
{
    struct salvage s = {.into = into, .payload = BUF_INIT(BUF_UNBOUNDED)};
    if (pages_open(&s.pages, database_path, log_path) < 0) {
        error_set(e, ERROR_INTERNAL, "The damaged file cannot be read");
        return error_cause(e, "path=%s %s", database_path, strerror(errno));
    }
    if (db_begin(into, true, e) < 0) {
        pages_close(&s.pages);
        return -1;
    }
    s.owner = mem_alloc((size_t)s.pages.count + 1);
    s.is_free = mem_alloc((size_t)s.pages.count + 1);
    memset(s.owner, NOBODY, (size_t)s.pages.count + 1);
    roots_find(&s);
    pages_mark_free(&s.pages, s.is_free);
    for (size_t i = 0; i < countof(tables); i++)
        tree_walk(&s, i, s.roots[i], 0);
    db_run(db_query(into, "DELETE FROM account"));
    pages_take(&s, false, false);
    pages_take(&s, false, true);
    pages_take(&s, true, false);
    pages_take(&s, true, true);
    counts_report(&s, report);
    /* What the log of removals names is gone, wherever a forgotten page still had it. */
    db_run(db_query(into, "DELETE FROM placement WHERE EXISTS (SELECT 1 FROM expunged x WHERE"
                          " x.mailbox=placement.mailbox AND x.uid=placement.uid)"));
    db_run(db_query(into,
                    "DELETE FROM email WHERE id IN (SELECT object FROM tombstone WHERE kind=1)"));
    db_run(db_query(
        into, "DELETE FROM header WHERE email IN (SELECT object FROM tombstone WHERE kind=1)"));
    db_run(db_query(into, "INSERT OR IGNORE INTO account VALUES (1, 1, 0, 0, 0, 0, 0, 0)"));
    int result = db_commit(into, e);
    buf_free(&s.payload);
    mem_free(s.owner);
    mem_free(s.is_free);
    pages_close(&s.pages);
    return result;
}
