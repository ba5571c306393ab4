/* search_segment.c - the form of the search index. See search_segment.h. */
#include "store/search_segment.h"

#include "store/content.h"

enum { BLOCK_WORDS = 128, BLOCK_BYTES = 8192, BLOCK_BITS = 24 };

const struct db_step search_schema[] = {
    {.sql = "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), indexed INTEGER NOT NULL);"
            "INSERT INTO state VALUES (1, 0);"
            "CREATE TABLE segment (id INTEGER PRIMARY KEY, count INTEGER NOT NULL,"
            "  emails BLOB NOT NULL, words BLOB NOT NULL);"
            "CREATE TABLE block (id INTEGER PRIMARY KEY, data BLOB NOT NULL);"},
};
const size_t search_schema_count = sizeof(search_schema) / sizeof(search_schema[0]);

/* ------------------------------------------------------------------ words */

enum byte_kind { SEPARATOR, LETTER, ALONE };

/* The character at the front of folded text and its length. A byte that begins no character of UTF-8 is a
 * letter: so it never takes one that begins a character with it, and a needle that is UTF-8 is cut into
 * words as the text is in which it stands. */
static enum byte_kind character(struct str text, size_t *len)
{
    unsigned char c = (unsigned char)text.data[0];
    size_t want = c < 0x80 ? 1 : c < 0xC0 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF8 ? 4 : 0;
    size_t have = 1;
    while (have < want && have < text.len && (text.data[have] & 0xC0) == 0x80)
        have++;
    *len = have == want ? want : 1;
    if (c < 0x80)
        return ascii_is_alnum((char)c) ? LETTER : SEPARATOR;
    if (have != want)
        return LETTER;
    unsigned char second = (unsigned char)text.data[1];
    switch (c) {
    case 0xC2: /* U+0080 to U+00BF */
        return SEPARATOR;
    case 0xE2: /* U+2000 to U+207F: punctuation */
        return second <= 0x81 ? SEPARATOR : LETTER;
    case 0xE3: /* U+3000 to U+303F: punctuation; kana */
        return second == 0x80 ? SEPARATOR : ALONE;
    case 0xEF: /* U+F900 to U+FAFF: ideographs */
        return second >= 0xA4 && second <= 0xAB ? ALONE : LETTER;
    case 0xF0: /* from U+20000: ideographs */
        return second >= 0xA0 ? ALONE : LETTER;
    default: /* U+4000 to U+9FFF: ideographs */
        return c >= 0xE4 && c <= 0xE9 ? ALONE : LETTER;
    }
}

bool word_next(struct str *text, struct str *word)
{
    size_t len;
    while (text->len) {
        enum byte_kind kind = character(*text, &len);
        if (kind == ALONE) {
            *word = str_slice(*text, 0, len);
            *text = str_from_pos(*text, len);
            return true;
        }
        if (kind == LETTER)
            break;
        *text = str_from_pos(*text, len);
    }
    if (!text->len)
        return false;
    size_t end = 0;
    while (end < text->len && end < WORD_MAX && character(str_from_pos(*text, end), &len) == LETTER)
        end += len;
    *word = str_slice(*text, 0, MIN(end, (size_t)WORD_MAX));
    *text = str_from_pos(*text, end < WORD_MAX ? end : WORD_STEP);
    return true;
}

/* ------------------------------------------------------------------ varints */

static void varint_add(struct buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_add_char(out, (char)(value | 0x80));
    buf_add_char(out, (char)value);
}

static int varint_take(struct str *s, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && s->len; shift += 7) {
        unsigned char c = (unsigned char)s->data[0];
        *s = str_from_pos(*s, 1);
        value |= (uint64_t)(c & 0x7F) << shift;
        if (c < 0x80) {
            *out = value;
            return 0;
        }
    }
    return -1;
}

/* ------------------------------------------------------------------ reading */

static int damaged(struct error *e)
{
    return error_set(e, ERROR_CORRUPT, "The search index is damaged");
}

int64_t segment_first_block(int64_t id)
{
    return id << BLOCK_BITS;
}

int segment_load(struct segment *s, struct db *db, int64_t id, struct str emails, struct str words,
                 struct error *e)
{
    uint64_t last = 0, more;
    *s = (struct segment){.db = db, .id = id, .words = BUF_INIT(SEGMENT_WORDS_MAX)};
    while (emails.len) {
        if (varint_take(&emails, &more) < 0 || s->emails.len == SEGMENT_EMAILS_MAX || more == 0) {
            segment_free(s);
            return damaged(e);
        }
        last += more;
        VEC_ADD(&s->emails, last);
    }
    int result = content_unpack(words, SEGMENT_WORDS_MAX, &s->words, e);
    if (result == 0 && s->words.len && s->words.data[s->words.len - 1] != '\0')
        result = damaged(e);
    if (result < 0)
        segment_free(s);
    return result;
}

void segment_free(struct segment *s)
{
    VEC_FREE(&s->emails);
    buf_free(&s->words);
}

void word_cursor_open(struct word_cursor *c, const struct segment *s)
{
    *c = (struct word_cursor){
        .segment = s, .index = UINT32_MAX, .data = BUF_INIT(BUF_UNBOUNDED), .data_block = -1};
}

bool word_cursor_next(struct word_cursor *c)
{
    struct str words = buf_str(&c->segment->words);
    if (c->next >= words.len)
        return false;
    if (words.data[c->next] == '\1') {
        c->block++;
        c->index = 0;
        c->next++;
    } else {
        c->index++;
    }
    c->start = c->next;
    c->end = c->start + str_find_char(str_from_pos(words, c->start), '\0');
    c->next = c->end + 1;
    return true;
}

struct str word_cursor_word(const struct word_cursor *c)
{
    return str_slice(buf_str(&c->segment->words), c->start, c->end - c->start);
}

int word_cursor_posting(struct word_cursor *c, struct str *out, struct error *e)
{
    if (c->data_block != c->block || c->data_index > c->index) {
        struct db_query *q = db_query(c->segment->db, "SELECT data FROM block WHERE id=?");
        db_bind_i64(q, 1, segment_first_block(c->segment->id) + c->block);
        buf_reset(&c->data);
        if (db_step(q) == 1)
            buf_add(&c->data, db_column_str(q, 0));
        db_done(q);
        c->data_block = c->block;
        c->data_index = 0;
        c->data_at = 0;
    }
    for (;;) {
        struct str rest = str_from_pos(buf_str(&c->data), c->data_at);
        uint64_t len;
        if (varint_take(&rest, &len) < 0 || len > rest.len)
            return damaged(e);
        *out = str_slice(rest, 0, (size_t)len);
        if (c->data_index == c->index)
            return 0;
        c->data_index++;
        c->data_at = (size_t)(rest.data - c->data.data) + (size_t)len;
    }
}

void word_cursor_close(struct word_cursor *c)
{
    buf_free(&c->data);
}

int posting_next(struct str *posting, size_t count, uint32_t *place)
{
    uint64_t more;
    if (!posting->len)
        return 0;
    if (varint_take(posting, &more) < 0 || more >= count)
        return -1;
    uint64_t next = *place == UINT32_MAX ? more : *place + 1 + more;
    if (next >= count)
        return -1;
    *place = (uint32_t)next;
    return 1;
}

/* ------------------------------------------------------------------ writing */

void segment_writer_begin(struct segment_writer *w, struct db *db, int64_t id)
{
    *w = (struct segment_writer){.db = db,
                                 .id = id,
                                 .words = BUF_INIT(SEGMENT_WORDS_MAX),
                                 .block = BUF_INIT(BUF_UNBOUNDED),
                                 .posting = BUF_INIT(BUF_UNBOUNDED),
                                 .last = UINT32_MAX};
}

void segment_writer_place(struct segment_writer *w, uint32_t place)
{
    varint_add(&w->posting, w->last == UINT32_MAX ? place : place - w->last - 1);
    w->last = place;
}

static void block_write(struct segment_writer *w)
{
    struct db_query *q = db_query(w->db, "INSERT INTO block VALUES (?, ?)");
    db_bind_i64(q, 1, segment_first_block(w->id) + w->blocks++);
    db_bind_blob(q, 2, buf_str(&w->block));
    db_run(q);
    buf_reset(&w->block);
    w->block_words = 0;
}

void segment_writer_word(struct segment_writer *w, struct str word)
{
    if (w->last == UINT32_MAX)
        return;
    if (w->block_words == BLOCK_WORDS || w->block.len >= BLOCK_BYTES) {
        block_write(w);
        buf_add_char(&w->words, '\1');
    }
    buf_add(&w->words, word);
    buf_add_char(&w->words, '\0');
    varint_add(&w->block, w->posting.len);
    buf_add(&w->block, buf_str(&w->posting));
    w->block_words++;
    buf_reset(&w->posting);
    w->last = UINT32_MAX;
}

int segment_writer_end(struct segment_writer *w, const uint64_t *emails, size_t count,
                       struct error *e)
{
    struct buf packed = BUF_INIT(BUF_UNBOUNDED), list = BUF_INIT(BUF_UNBOUNDED);
    block_write(w);
    for (size_t i = 0; i < count; i++)
        varint_add(&list, emails[i] - (i ? emails[i - 1] : 0));
    content_pack(buf_str(&w->words), false, &packed);
    struct db_query *q = db_query(w->db, "INSERT INTO segment VALUES (?, ?, ?, ?)");
    db_bind_i64(q, 1, w->id);
    db_bind_i64(q, 2, (int64_t)count);
    db_bind_blob(q, 3, buf_str(&list));
    db_bind_blob(q, 4, buf_str(&packed));
    db_run(q);
    buf_free(&packed);
    buf_free(&list);
    if (w->words.failed || w->blocks >= 1 << BLOCK_BITS)
        return error_set(e, ERROR_LIMIT, "A part of the search index is too large");
    return db_error(w->db, e);
}

void segment_writer_free(struct segment_writer *w)
{
    buf_free(&w->words);
    buf_free(&w->block);
    buf_free(&w->posting);
}
