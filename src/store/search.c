/* search.c - asking the search index, and adding to it. See search.h. */
#include "store/search.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "message/scan.h"
#include "store/search_segment.h"
#include "store/tx.h"

enum {
    BATCH_EMAILS = 256,
    BATCH_BYTES = 8 * 1024 * 1024,      /* of messages, beside the first */
    BATCH_WORDS = 1000 * 1000,          /* of all messages together, beside the first's */
    TEXT_INDEXED_MAX = 8 * 1024 * 1024, /* messages with more text are looked through ... */
    MESSAGE_WORDS_MAX = 200 * 1000,     /* ... and those with more words */
    MERGE_MAX = 64,                     /* segments at once */
    NEEDLE_WORDS_MAX = 32,              /* further ones are not asked for */
    VACUUM_PAGES = 4096,                /* that merging left empty, given back at a time */
    RETRY_MS = 60000,                   /* after a failure */
};

/* ------------------------------------------------------------------ the file */

static int index_open(uint64_t id, bool create, struct db **out, struct error *e)
{
    char path[512];
    account_path(id, ".search", create, path);
    struct db_options options = {.path = path, .create = create, .cache_kb = 256};
    if (!create && access(path, F_OK) < 0)
        return error_set(e, ERROR_NOT_FOUND, "There is no search index");
    if (db_open(&options, out, e) < 0)
        return -1;
    if (db_migrate(*out, search_schema, search_schema_count, e) < 0) {
        db_close(out);
        return -1;
    }
    return 0;
}

/* One index is written or removed at a time; readers do without. */
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;

static void index_remove(uint64_t id)
{
    static const char *const suffixes[] = {".search", ".search-wal", ".search-shm"};
    account_files_remove(id, suffixes, countof(suffixes));
}

void search_remove(uint64_t id)
{
    pthread_mutex_lock(&files_lock);
    index_remove(id);
    pthread_mutex_unlock(&files_lock);
}

static uint64_t indexed_get(struct db *db)
{
    struct db_query *q = db_query(db, "SELECT indexed FROM state");
    uint64_t indexed = db_step(q) == 1 ? (uint64_t)db_column_i64(q, 0) : 0;
    db_done(q);
    return indexed;
}

/* ------------------------------------------------------------------ asking */

struct needle {
    struct str words[NEEDLE_WORDS_MAX];
    size_t count;
    bool exact; /* who has a word with this in it has the text */
};

static void needle_make(struct needle *n, struct str folded)
{
    struct str rest = folded, word;
    *n = (struct needle){.count = 0};
    while (n->count < NEEDLE_WORDS_MAX && word_next(&rest, &word))
        n->words[n->count++] = str_slice(word, 0, WORD_STEP);
    n->exact = n->count == 1 && str_equal(n->words[0], folded);
}

/* Adds 1 for each email of a segment that has a word with that part. */
static int part_count(const struct segment *s, struct str part, uint8_t *counts, uint8_t wanted,
                      struct error *e)
{
    struct word_cursor c;
    int result = 0;
    struct str words = buf_str(&s->words);
    word_cursor_open(&c, s);
    for (size_t at = 0; result == 0; at = c.end) {
        at += str_find(str_from_pos(words, at), part);
        if (at >= words.len)
            break;
        while (word_cursor_next(&c) && c.end < at)
            ;
        struct str posting;
        uint32_t place = UINT32_MAX;
        result = word_cursor_posting(&c, &posting, e);
        while (result == 0 && posting_next(&posting, s->emails.len, &place) > 0)
            if (counts[place] == wanted)
                counts[place]++;
    }
    word_cursor_close(&c);
    return result;
}

/* Emails whose text is not indexed: the posting of "", which comes first. */
static int unindexed_count(const struct segment *s, uint8_t *counts, struct error *e)
{
    struct word_cursor c;
    struct str posting;
    uint32_t place = UINT32_MAX;
    int result = 0;
    word_cursor_open(&c, s);
    if (word_cursor_next(&c) && c.start == c.end &&
        (result = word_cursor_posting(&c, &posting, e)) == 0)
        while (posting_next(&posting, s->emails.len, &place) > 0)
            counts[place] = UINT8_MAX;
    word_cursor_close(&c);
    return result;
}

static int segment_find(const struct segment *s, const struct needle *n, struct search_hits *out,
                        struct error *e)
{
    uint8_t *counts = mem_alloc(s->emails.len + 1);
    int result = 0;
    for (size_t i = 0; i < n->count && result == 0; i++)
        result = part_count(s, n->words[i], counts, (uint8_t)i, e);
    if (result == 0)
        result = unindexed_count(s, counts, e);
    for (size_t i = 0; i < s->emails.len && result == 0; i++)
        if (counts[i] == UINT8_MAX || (counts[i] == n->count && !n->exact))
            VEC_ADD(&out->maybe, s->emails.items[i]);
        else if (counts[i] == n->count)
            VEC_ADD(&out->sure, s->emails.items[i]);
    mem_free(counts);
    return result;
}

static int hits_find(struct db *db, const struct needle *n, struct search_hits *out,
                     struct error *e)
{
    if (db_begin(db, false, e) < 0)
        return -1;
    int result = 0;
    struct db_query *q = db_query(db, "SELECT id, emails, words FROM segment ORDER BY id");
    out->indexed = indexed_get(db);
    while (result == 0 && db_step(q) == 1) {
        struct segment s;
        result =
            segment_load(&s, db, db_column_i64(q, 0), db_column_str(q, 1), db_column_str(q, 2), e);
        if (result == 0) {
            result = segment_find(&s, n, out, e);
            segment_free(&s);
        }
    }
    db_done(q);
    if (result == 0)
        result = db_error(db, e);
    db_rollback(db);
    return result;
}

void search_find(struct account *a, struct str folded, struct search_hits *out)
{
    struct needle n;
    struct db *db = NULL;
    struct error e = {0};
    *out = (struct search_hits){.indexed = 0};
    if (!str_is_utf8(folded))
        return;
    needle_make(&n, folded);
    if (n.count == 0)
        return;
    if (index_open(a->id, false, &db, &e) < 0 || hits_find(db, &n, out, &e) < 0) {
        search_hits_free(out);
        if (e.class != ERROR_NOT_FOUND) {
            log_event(LOG_WARNING, "search-index-unusable", "account=%llu class=%s cause=%s",
                      (unsigned long long)a->id, error_class_name(e.class),
                      log_quote(str_from(*e.cause ? e.cause : e.text)));
            a->index_suspect = e.class == ERROR_CORRUPT;
            account_want_index(a);
        }
    }
    db_close(&db);
}

static bool list_has(const email_list *list, uint64_t email)
{
    size_t low = 0, high = list->len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->items[middle] < email)
            low = middle + 1;
        else
            high = middle;
    }
    return low < list->len && list->items[low] == email;
}

enum search_answer search_answer(const struct search_hits *hits, uint64_t email)
{
    if (email > hits->indexed || list_has(&hits->maybe, email))
        return SEARCH_LOOK;
    return list_has(&hits->sure, email) ? SEARCH_YES : SEARCH_NO;
}

void search_hits_free(struct search_hits *hits)
{
    VEC_FREE(&hits->sure);
    VEC_FREE(&hits->maybe);
    hits->indexed = 0;
}

/* ------------------------------------------------------------------ the next emails */

struct occurrence {
    uint64_t order; /* the word's first bytes as a number: most comparisons need no more */
    struct str word;
    uint32_t place; /* in emails */
};

struct batch {
    email_list emails;
    VEC(struct occurrence) words;
    struct arena arena; /* the words */
    uint64_t indexed;   /* how far the index goes; with this batch, when it is filled */
    bool more;          /* there are further ones */
};

static int occurrence_compare(const void *left, const void *right)
{
    const struct occurrence *a = left, *b = right;
    if (a->order != b->order)
        return a->order < b->order ? -1 : 1;
    int order = str_compare(a->word, b->word);
    return order ? order : a->place < b->place ? -1 : a->place > b->place;
}

static void occurrence_add(struct batch *b, struct str word, uint32_t place)
{
    uint64_t order = 0;
    for (size_t i = 0; i < 8; i++)
        order = order << 8 | (i < word.len ? (unsigned char)word.data[i] : 0);
    VEC_ADD(&b->words, (struct occurrence){order, word, place});
}

/* The words of one message, each once. */
static void message_words(struct batch *b, struct str message, uint64_t email)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    uint32_t place = (uint32_t)b->emails.len;
    size_t first = b->words.len, kept = first;
    VEC_ADD(&b->emails, email);
    bool decoded = scan_folded_text(message, &text) == 0;
    struct str rest = buf_str(&text), word;
    bool fits = decoded && text.len <= TEXT_INDEXED_MAX;
    while (fits && word_next(&rest, &word)) {
        occurrence_add(b, word, place);
        fits = b->words.len - first <= 8 * MESSAGE_WORDS_MAX;
    }
    if (b->words.len > first)
        qsort(b->words.items + first, b->words.len - first, sizeof(*b->words.items),
              occurrence_compare);
    for (size_t i = first; fits && i < b->words.len; i++) {
        struct occurrence *o = &b->words.items[i];
        if (i > first && str_equal(o->word, b->words.items[kept - 1].word))
            continue;
        b->words.items[kept++] = *o;
    }
    fits &= kept - first <= MESSAGE_WORDS_MAX;
    b->words.len = fits ? kept : first;
    for (size_t i = first; i < b->words.len; i++)
        b->words.items[i].word = arena_copy(&b->arena, b->words.items[i].word);
    if (!fits)
        occurrence_add(b, STR(""), place);
    buf_free(&text);
}

struct raw_message {
    uint64_t email;
    struct buf data;
};
typedef VEC(struct raw_message) raw_list;

/* The messages that come next, as far as a batch goes. One that is damaged is read as empty. *end: the
 * last one is the account's last, whose number is returned there; 0: there are more. */
static int messages_read(struct account *a, uint64_t after, raw_list *out, uint64_t *end,
                         struct error *e)
{
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    size_t bytes = 0;
    int result = 0, more = 1;
    if (account_begin(a, ACCOUNT_READ, &tx, e) < 0)
        return -1;
    struct db_query *q = db_query(tx->db, "SELECT id FROM email WHERE id>? ORDER BY id");
    db_bind_i64(q, 1, (int64_t)after);
    while (result == 0 && out->len < BATCH_EMAILS && bytes < BATCH_BYTES &&
           (more = db_step(q)) > 0) {
        struct raw_message m = {(uint64_t)db_column_i64(q, 0), BUF_INIT(BUF_UNBOUNDED)};
        if (message_read(tx, m.email, 0, UINT64_MAX, &m.data, e) < 0) {
            buf_free(&m.data);
            result = e->class == ERROR_CORRUPT ? 0 : -1;
        }
        bytes += m.data.len;
        VEC_ADD(out, m);
    }
    db_done(q);
    *end = more == 0 ? tx->row.emails : 0;
    return result < 0 ? -1 : db_error(tx->db, e);
}

static int batch_fill(struct account *a, struct batch *b, struct error *e)
{
    raw_list raw = {0};
    uint64_t end = 0;
    int result = messages_read(a, b->indexed, &raw, &end, e);
    size_t done = 0;
    while (result == 0 && done < raw.len && (done == 0 || b->words.len < BATCH_WORDS)) {
        message_words(b, buf_str(&raw.items[done].data), raw.items[done].email);
        done++;
    }
    b->more = end == 0 || done < raw.len;
    if (result == 0)
        b->indexed = b->more ? raw.items[done - 1].email : end;
    for (size_t i = 0; i < raw.len; i++)
        buf_free(&raw.items[i].data);
    VEC_FREE(&raw);
    if (b->words.len)
        qsort(b->words.items, b->words.len, sizeof(*b->words.items), occurrence_compare);
    return result;
}

static void batch_free(struct batch *b)
{
    VEC_FREE(&b->emails);
    VEC_FREE(&b->words);
    arena_free(&b->arena);
}

/* ------------------------------------------------------------------ writing and merging */

static int64_t segment_id_new(struct db *db)
{
    struct db_query *q = db_query(db, "SELECT coalesce(max(id), 0) + 1 FROM segment");
    int64_t id = db_step(q) == 1 ? db_column_i64(q, 0) : 1;
    db_done(q);
    return id;
}

static int batch_write(struct db *db, const struct batch *b, struct error *e)
{
    struct segment_writer w;
    segment_writer_begin(&w, db, segment_id_new(db));
    for (size_t i = 0; i < b->words.len; i++) {
        const struct occurrence *o = &b->words.items[i];
        segment_writer_place(&w, o->place);
        if (i + 1 == b->words.len || !str_equal(o->word, b->words.items[i + 1].word))
            segment_writer_word(&w, o->word);
    }
    int result = segment_writer_end(&w, b->emails.items, b->emails.len, e);
    segment_writer_free(&w);
    return result;
}

/* One of the segments that are being merged. */
struct source {
    struct segment segment;
    struct word_cursor cursor;
    bool more;
    uint32_t *places; /* in the merged segment; UINT32_MAX: that email is gone */
};
typedef VEC(struct source) source_list;

/* The newest segments, newest first, as many as one should be made of: each at most twice as large as all
 * newer ones together, so that an email is written a few times in all. */
static int sources_load(struct db *db, source_list *out, struct error *e)
{
    uint64_t emails = 0;
    int result = 0;
    struct db_query *q =
        db_query(db, "SELECT id, emails, words, count FROM segment ORDER BY id DESC");
    while (result == 0 && out->len < MERGE_MAX && db_step(q) == 1) {
        uint64_t count = (uint64_t)db_column_i64(q, 3);
        if (out->len && (count > 2 * emails || count + emails > SEGMENT_EMAILS_MAX))
            break;
        emails += count;
        struct source source = {.more = true};
        result = segment_load(&source.segment, db, db_column_i64(q, 0), db_column_str(q, 1),
                              db_column_str(q, 2), e);
        if (result == 0)
            VEC_ADD(out, source);
    }
    db_done(q);
    for (size_t i = 0; i < out->len; i++) {
        word_cursor_open(&out->items[i].cursor, &out->items[i].segment);
        out->items[i].more = word_cursor_next(&out->items[i].cursor);
    }
    return result;
}

static void sources_free(source_list *list)
{
    for (size_t i = 0; i < list->len; i++) {
        word_cursor_close(&list->items[i].cursor);
        segment_free(&list->items[i].segment);
        mem_free(list->items[i].places);
    }
    VEC_FREE(list);
}

/* Which emails the merged segment has, and at which place: those that still exist. */
static int places_assign(struct account *a, source_list *list, email_list *emails, struct error *e)
{
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    if (account_begin(a, ACCOUNT_READ, &tx, e) < 0)
        return -1;
    for (size_t i = list->len; i-- > 0;) { /* the oldest first */
        struct source *source = &list->items[i];
        size_t count = source->segment.emails.len;
        source->places = mem_alloc_array(count + 1, sizeof(*source->places));
        for (size_t k = 0; k < count; k++) {
            uint64_t email = source->segment.emails.items[k];
            struct db_query *q = db_query(tx->db, "SELECT 1 FROM email WHERE id=?");
            db_bind_i64(q, 1, (int64_t)email);
            bool there = db_step(q) == 1;
            db_done(q);
            source->places[k] = there ? (uint32_t)emails->len : UINT32_MAX;
            if (there)
                VEC_ADD(emails, email);
        }
    }
    return db_error(tx->db, e);
}

/* Writes the least word of all sources, and moves those on that have it. 1, 0 no word is left, -1. */
static int word_merge(struct segment_writer *w, source_list *list, struct error *e)
{
    struct str least = {0};
    bool found = false;
    for (size_t i = 0; i < list->len; i++) {
        struct source *source = &list->items[i];
        struct str word = word_cursor_word(&source->cursor);
        if (source->more && (!found || str_compare(word, least) < 0)) {
            least = word;
            found = true;
        }
    }
    if (!found)
        return 0;
    for (size_t i = list->len; i-- > 0;) {
        struct source *source = &list->items[i];
        struct str posting;
        uint32_t place = UINT32_MAX;
        int next;
        if (!source->more || !str_equal(word_cursor_word(&source->cursor), least))
            continue;
        if (word_cursor_posting(&source->cursor, &posting, e) < 0)
            return -1;
        while ((next = posting_next(&posting, source->segment.emails.len, &place)) > 0)
            if (source->places[place] != UINT32_MAX)
                segment_writer_place(w, source->places[place]);
        if (next < 0)
            return error_set(e, ERROR_CORRUPT, "The search index is damaged");
        source->more = word_cursor_next(&source->cursor);
    }
    segment_writer_word(w, least);
    return 1;
}

static void segments_delete(struct db *db, const source_list *list)
{
    for (size_t i = 0; i < list->len; i++) {
        struct db_query *q = db_query(db, "DELETE FROM block WHERE id>=? AND id<?");
        db_bind_i64(q, 1, segment_first_block(list->items[i].segment.id));
        db_bind_i64(q, 2, segment_first_block(list->items[i].segment.id + 1));
        db_run(q);
        q = db_query(db, "DELETE FROM segment WHERE id=?");
        db_bind_i64(q, 1, list->items[i].segment.id);
        db_run(q);
    }
}

static int segments_merge(struct account *a, struct db *db, struct error *e)
{
    source_list list = {0};
    email_list emails = {0};
    struct segment_writer w;
    int result = sources_load(db, &list, e);
    if (result == 0 && list.len > 1 && (result = places_assign(a, &list, &emails, e)) == 0) {
        segment_writer_begin(&w, db, segment_id_new(db));
        while ((result = word_merge(&w, &list, e)) > 0)
            ;
        segments_delete(db, &list);
        if (result == 0)
            result = segment_writer_end(&w, emails.items, emails.len, e);
        segment_writer_free(&w);
    }
    sources_free(&list);
    VEC_FREE(&emails);
    return result;
}

/* In one transaction of the index. */
static int batch_add(struct account *a, struct db *db, const struct batch *b, struct error *e)
{
    if (db_begin(db, true, e) < 0)
        return -1;
    if ((b->emails.len && (batch_write(db, b, e) < 0 || segments_merge(a, db, e) < 0))) {
        db_rollback(db);
        return -1;
    }
    struct db_query *q = db_query(db, "UPDATE state SET indexed=?");
    db_bind_i64(q, 1, (int64_t)b->indexed);
    db_run(q);
    return db_commit(db, e);
}

/* The account's greatest email; an index that goes further is another file's. */
static int emails_get(struct account *a, uint64_t *out, struct error *e)
{
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    if (account_begin(a, ACCOUNT_READ, &tx, e) < 0)
        return -1;
    *out = tx->row.emails;
    return 0;
}

static int index_next(struct account *a, struct error *e)
{
    struct db *db = NULL;
    uint64_t emails;
    if (emails_get(a, &emails, e) < 0)
        return -1;
    if (a->index_suspect)
        index_remove(a->id);
    a->index_suspect = false;
    int result = index_open(a->id, emails > 0, &db, e);
    if (result < 0)
        return emails == 0 && e->class == ERROR_NOT_FOUND ? 0 : -1;
    struct batch b = {.indexed = indexed_get(db)};
    if (b.indexed > emails) {
        a->index_suspect = true;
        b.more = true;
    } else if (b.indexed < emails) {
        result = batch_fill(a, &b, e);
        if (result == 0)
            result = batch_add(a, db, &b, e);
        if (result == 0 && !b.more) {
            db_vacuum(db, VACUUM_PAGES);
            db_wal_empty(db);
        }
    }
    batch_free(&b);
    db_close(&db);
    return result < 0 ? -1 : b.more;
}

int search_index(struct account *a, struct error *e)
{
    pthread_mutex_lock(&files_lock);
    int result = index_next(a, e);
    if (result < 0 && e->class == ERROR_CORRUPT)
        a->index_suspect = true; /* made anew */
    pthread_mutex_unlock(&files_lock);
    return result;
}

/* ------------------------------------------------------------------ the thread */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool running, stopping;
    bool (*disk_has_room)(void);
} indexer = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

/* Sleeps; true: it is time to end. */
static bool indexer_rest(unsigned seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&indexer.lock);
    if (seconds && !indexer.stopping)
        pthread_cond_timedwait(&indexer.wake, &indexer.lock, &until);
    bool stop = indexer.stopping;
    pthread_mutex_unlock(&indexer.lock);
    return stop;
}

static void *indexer_main(void *unused UNUSED)
{
    struct account *a;
    bool more = false;
    while (!indexer_rest(
        more ? 0 : 1)) { /* each account gets a batch, then the next one has its turn */
        size_t bucket = 0;
        more = false;
        while (!indexer_rest(0) && indexer.disk_has_room() &&
               (a = account_next_unindexed(&bucket))) {
            struct error e = {0};
            int result = search_index(a, &e);
            if (result != 0)
                account_want_index(a);
            more |= result > 0;
            if (result < 0) {
                log_event(LOG_WARNING, "search-index-failed", "account=%llu class=%s cause=%s",
                          (unsigned long long)a->id, error_class_name(e.class),
                          log_quote(str_from(*e.cause ? e.cause : e.text)));
                a->index_retry_ms = clock_monotonic_ms() + RETRY_MS;
            }
            account_close(&a);
        }
    }
    return NULL;
}

int search_start(bool (*disk_has_room)(void), struct error *e)
{
    indexer.stopping = false;
    indexer.disk_has_room = disk_has_room;
    int failed = pthread_create(&indexer.thread, NULL, indexer_main, NULL);
    if (failed)
        return error_set(e, ERROR_INTERNAL, "The indexing thread cannot be started: %s",
                         strerror(failed));
    indexer.running = true;
    return 0;
}

void search_stop(void)
{
    if (!indexer.running)
        return;
    pthread_mutex_lock(&indexer.lock);
    indexer.stopping = true;
    pthread_cond_broadcast(&indexer.wake);
    pthread_mutex_unlock(&indexer.lock);
    pthread_join(indexer.thread, NULL);
    indexer.running = false;
}
