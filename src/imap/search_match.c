/* search_match.c - does a message match the keys of a SEARCH? */
#include "imap/search.h"
#include "message/charset.h"
#include "message/encoded_word.h"
#include "message/header.h"
#include "message/scan.h"
#include "message/summary.h"

void search_message_reset(struct search_message *m)
{
    buf_free(&m->header);
    buf_free(&m->text);
    m->have_header = m->have_text = false;
}

unsigned search_columns(const struct search_key *key)
{
    unsigned columns = 0;
    if (key->kind == SEARCH_DATE || key->kind == SEARCH_SIZE)
        columns = COLUMN_EMAIL;
    if (key->kind >= SEARCH_SUMMARY || key->kind == SEARCH_SENT_DATE)
        columns = COLUMN_EMAIL | COLUMN_SUMMARY;
    for (size_t i = 0; i < key->child_count; i++)
        columns |= search_columns(key->children[i]);
    return columns;
}

static bool contains_folded(struct str text, const struct search_key *key, struct buf *space)
{
    if (key->folded.len == 0)
        return true;
    buf_reset(space);
    text_fold(text, space);
    return str_find(buf_str(space), key->folded) < space->len;
}

/* A damaged message has no header and no text. */
static int header_load(struct search_message *m, struct error *e)
{
    struct summary s;
    if (m->have_header)
        return 0;
    m->header = BUF_INIT(BUF_UNBOUNDED);
    m->have_header = true;
    if (summary_open(&s, m->row->summary) < 0)
        return 0;
    int result = message_read(m->tx, m->row->email, 0, s.header_size, &m->header, e);
    return result < 0 && e->class != ERROR_CORRUPT ? -1 : 0;
}

/* Fields of that name whose decoded value has the needle; an empty needle asks for the field alone. */
static int header_match(const struct search_key *key, struct search_message *m, struct error *e)
{
    struct header_field field;
    struct buf value = BUF_INIT(1024 * 1024), space = BUF_INIT(4 * 1024 * 1024);
    size_t at = 0;
    int found = 0;
    if (header_load(m, e) < 0)
        return -1;
    while (!found && header_next(buf_str(&m->header), &at, &field)) {
        if (key->name.len && !str_equal_nocase(field.name, key->name))
            continue;
        buf_reset(&value);
        if (!key->name.len) { /* TEXT: the whole field */
            buf_add(&value, field.name);
            buf_add_literal(&value, ": ");
        }
        encoded_words_decode(field.value, &value);
        found = contains_folded(buf_str(&value), key, &space);
    }
    buf_free(&value);
    buf_free(&space);
    return found;
}

/* The decoded, folded text of the body, by scan: bytes of strangers are not decoded here. */
static int text_load(struct search_message *m, struct error *e)
{
    struct buf raw = BUF_INIT(BUF_UNBOUNDED);
    if (m->have_text)
        return 0;
    m->have_text = true;
    m->text = BUF_INIT(BUF_UNBOUNDED);
    int result = message_read(m->tx, m->row->email, 0, UINT64_MAX, &raw, e);
    if (result == 0)
        scan_folded_text(buf_str(&raw), &m->text);
    buf_free(&raw);
    return result < 0 && e->class != ERROR_CORRUPT ? -1 : 0;
}

static int text_match(struct search_key *key, struct search_message *m, struct error *e)
{
    if (key->folded.len == 0)
        return 1;
    if (!key->hits) {
        key->hits = mem_alloc(sizeof(*key->hits));
        search_find(m->s->account, key->folded, key->hits);
    }
    enum search_answer answer = search_answer(key->hits, m->row->email);
    if (answer == SEARCH_YES)
        return 1;
    if (key->kind == SEARCH_TEXT) {
        struct search_key anywhere = *key;
        anywhere.name = STR("");
        int in_header = header_match(&anywhere, m, e);
        if (in_header != 0)
            return in_header;
    }
    if (answer == SEARCH_NO)
        return 0;
    if (text_load(m, e) < 0)
        return -1;
    return str_find(buf_str(&m->text), key->folded) < m->text.len;
}

void search_program_free(struct search_key *key)
{
    for (size_t i = 0; i < key->child_count; i++)
        search_program_free(key->children[i]);
    if (key->hits)
        search_hits_free(key->hits);
    mem_free(key->hits);
    key->hits = NULL;
}

static bool in_runs(const struct search_key *key, uint32_t uid)
{
    size_t low = 0, high = key->run_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (key->runs[middle].first + key->runs[middle].count <= uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < key->run_count && uid >= key->runs[low].first;
}

static int keyword_match(const struct search_key *key, struct search_message *m, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct str *names;
    size_t count;
    if (keyword_set_names(m->tx, m->row->keyword_set, &arena, &names, &count, e) < 0)
        return -1;
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found |= str_equal_nocase(names[i], key->name);
    return found != key->negated;
}

static int summary_match(const struct search_key *key, struct search_message *m)
{
    struct summary s;
    if (summary_open(&s, m->row->summary) < 0)
        return 0;
    if (key->kind == SEARCH_SENT_DATE) { /* the day as written, without regard to the zone */
        int64_t day = s.date + s.date_zone * 60;
        return s.has_date && day >= key->from && day < key->until;
    }
    struct buf space = BUF_INIT(BUF_UNBOUNDED);
    bool found = contains_folded(summary_string(&s, (enum summary_string)key->field), key, &space);
    buf_free(&space);
    return found;
}

int search_match(struct search_key *key, struct search_message *m, struct error *e)
{
    int result;
    switch (key->kind) {
    case SEARCH_ALL:
        return 1;
    case SEARCH_AND:
        for (size_t i = 0; i < key->child_count; i++)
            if ((result = search_match(key->children[i], m, e)) != 1)
                return result;
        return 1;
    case SEARCH_OR:
        for (size_t i = 0; i < key->child_count; i++)
            if ((result = search_match(key->children[i], m, e)) != 0)
                return result;
        return 0;
    case SEARCH_NOT:
        result = search_match(key->children[0], m, e);
        return result < 0 ? -1 : !result;
    case SEARCH_SET:
        return in_runs(key, m->row->uid);
    case SEARCH_FLAGS:
        return (m->row->flags & key->flags) == key->wanted;
    case SEARCH_KEYWORD:
        return keyword_match(key, m, e);
    case SEARCH_RECENT:
        return (m->row->uid >= m->s->view.first_recent) != key->negated;
    case SEARCH_DATE:
        return m->row->received >= key->from && m->row->received < key->until;
    case SEARCH_SIZE:
        return (int64_t)m->row->size >= key->from && (int64_t)m->row->size < key->until;
    case SEARCH_SUMMARY:
    case SEARCH_SENT_DATE:
        return summary_match(key, m);
    case SEARCH_HEADER:
        return header_match(key, m, e);
    default:
        return text_match(key, m, e);
    }
}
