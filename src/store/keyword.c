/* keyword.c - interned keyword sets: a message has a set's number, a set is its names in order. */
#include "store/tx.h"

int keyword_set_names(struct account_tx *tx, uint32_t set, struct arena *arena, struct str **names,
                      size_t *count, struct error *e)
{
    *names = NULL;
    *count = 0;
    if (set == 0)
        return 0;
    struct db_query *q = db_query(tx->db, "SELECT names FROM keyword WHERE id=?");
    db_bind_i64(q, 1, set);
    if (db_step(q) == 1) {
        struct str rest = arena_copy(arena, db_column_str(q, 0)), name;
        while (rest.len && str_next_part(&rest, ' ', &name))
            *ARENA_PUSH(arena, *names, *count) = name;
    }
    db_done(q);
    return db_error(tx->db, e);
}

static bool contains(const struct str *names, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_equal_nocase(names[i], name))
            return true;
    return false;
}

/* Every keyword of the account: the sets are few, the messages many. */
int mailbox_keywords(struct account_tx *tx, uint64_t mailbox UNUSED, struct arena *arena,
                     struct str **names, size_t *count, struct error *e)
{
    *names = NULL;
    *count = 0;
    struct db_query *q = db_query(tx->db, "SELECT names FROM keyword ORDER BY id");
    while (db_step(q) == 1) {
        struct str rest = db_column_str(q, 0), name;
        while (rest.len && str_next_part(&rest, ' ', &name))
            if (*count < KEYWORDS_PER_ACCOUNT_MAX && !contains(*names, *count, name))
                *ARENA_PUSH(arena, *names, *count) = arena_copy(arena, name);
    }
    db_done(q);
    return db_error(tx->db, e);
}

static int name_order(const void *a, const void *b)
{
    return str_compare_nocase(*(const struct str *)a, *(const struct str *)b);
}

int keyword_set_find(struct account_tx *tx, const struct str *names, size_t count, uint32_t *set,
                     struct error *e)
{
    *set = 0;
    if (count == 0)
        return 0;
    if (count > KEYWORDS_PER_MESSAGE_MAX)
        return error_set(e, ERROR_LIMIT, "Too many keywords on one message (%d are allowed)",
                         KEYWORDS_PER_MESSAGE_MAX);
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct str *sorted = arena_alloc_array(&arena, count, sizeof(*sorted));
    size_t unique = 0;
    for (size_t i = 0; i < count; i++) {
        if (names[i].len == 0 || names[i].len > KEYWORD_MAX)
            return error_set(e, ERROR_LIMIT, "A keyword is too long (%d bytes are allowed)",
                             KEYWORD_MAX);
        if (!contains(sorted, unique, names[i]))
            sorted[unique++] = names[i];
    }
    qsort(sorted, unique, sizeof(*sorted), name_order);
    struct buf text = BUF_INIT(KEYWORDS_PER_MESSAGE_MAX * (KEYWORD_MAX + 1));
    for (size_t i = 0; i < unique; i++) {
        if (i)
            buf_add_char(&text, ' ');
        buf_add(&text, sorted[i]);
    }
    struct db_query *q = db_query(tx->db, "SELECT id FROM keyword WHERE names=?");
    db_bind_text(q, 1, buf_str(&text));
    if (db_step(q) == 1)
        *set = (uint32_t)db_column_i64(q, 0);
    db_done(q);
    if (*set == 0) {
        struct str *known;
        size_t known_count;
        size_t new = 0;
        mailbox_keywords(tx, 0, &arena, &known, &known_count, NULL);
        for (size_t i = 0; i < unique; i++)
            new += !contains(known, known_count, sorted[i]);
        if (known_count + new > KEYWORDS_PER_ACCOUNT_MAX) {
            buf_free(&text);
            return error_set(e, ERROR_LIMIT, "Too many different keywords (%d are allowed)",
                             KEYWORDS_PER_ACCOUNT_MAX);
        }
        q = db_query(tx->db, "INSERT INTO keyword (names) VALUES (?)");
        db_bind_text(q, 1, buf_str(&text));
        if (db_run(q) == 0)
            *set = (uint32_t)db_last_rowid(tx->db);
    }
    buf_free(&text);
    return db_error(tx->db, e);
}

int keyword_set_change(struct account_tx *tx, uint32_t set, enum flags_operation op,
                       const struct str *names, size_t count, uint32_t *out, struct error *e)
{
    if (op == FLAGS_SET)
        return keyword_set_find(tx, names, count, out, e);
    *out = set;
    if (count == 0)
        return 0;
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct str *have, *result = NULL;
    size_t have_count, result_count = 0;
    if (keyword_set_names(tx, set, &arena, &have, &have_count, e) < 0)
        return -1;
    for (size_t i = 0; i < have_count; i++)
        if (op == FLAGS_ADD || !contains(names, count, have[i]))
            *ARENA_PUSH(&arena, result, result_count) = have[i];
    for (size_t i = 0; i < count && op == FLAGS_ADD; i++)
        if (!contains(have, have_count, names[i]))
            *ARENA_PUSH(&arena, result, result_count) = names[i];
    return keyword_set_find(tx, result, result_count, out, e);
}
