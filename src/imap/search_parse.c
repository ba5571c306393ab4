/* search_parse.c - parsing the keys of a SEARCH (RFC 9051 §6.4.4, RFC 3501 §6.4.4). */
#include "imap/search.h"
#include "message/charset.h"
#include "message/date.h"
#include "message/summary.h"

struct parse {
    struct imap_session *s;
    struct imap_lexer *l;
    struct str charset;
    size_t keys;
    const char *why;
};

static struct search_key *key_make(struct parse *p, enum search_kind kind)
{
    struct search_key *key = arena_alloc(p->l->arena, sizeof(*key));
    key->kind = kind;
    p->keys++;
    return key;
}

static const struct {
    struct str name;
    uint8_t flags, wanted;
} flag_keys[] = {
    {STR_INIT("ANSWERED"), FLAG_ANSWERED, FLAG_ANSWERED},
    {STR_INIT("UNANSWERED"), FLAG_ANSWERED, 0},
    {STR_INIT("DELETED"), FLAG_DELETED, FLAG_DELETED},
    {STR_INIT("UNDELETED"), FLAG_DELETED, 0},
    {STR_INIT("DRAFT"), FLAG_DRAFT, FLAG_DRAFT},
    {STR_INIT("UNDRAFT"), FLAG_DRAFT, 0},
    {STR_INIT("FLAGGED"), FLAG_FLAGGED, FLAG_FLAGGED},
    {STR_INIT("UNFLAGGED"), FLAG_FLAGGED, 0},
    {STR_INIT("SEEN"), FLAG_SEEN, FLAG_SEEN},
    {STR_INIT("UNSEEN"), FLAG_SEEN, 0},
};
static const struct {
    struct str name;
    int field;
} summary_keys[] = {
    {STR_INIT("SUBJECT"), SUMMARY_SUBJECT}, {STR_INIT("FROM"), SUMMARY_FROM},
    {STR_INIT("TO"), SUMMARY_TO},           {STR_INIT("CC"), SUMMARY_CC},
    {STR_INIT("BCC"), SUMMARY_BCC},
};
static const struct {
    struct str name;
    enum search_kind kind;
    int before, after; /* -1 everything before the day, 0 the day, 1 from the day on */
} date_keys[] = {
    {STR_INIT("BEFORE"), SEARCH_DATE, 1, 0},      {STR_INIT("ON"), SEARCH_DATE, 0, 0},
    {STR_INIT("SINCE"), SEARCH_DATE, 0, 1},       {STR_INIT("SENTBEFORE"), SEARCH_SENT_DATE, 1, 0},
    {STR_INIT("SENTON"), SEARCH_SENT_DATE, 0, 0}, {STR_INIT("SENTSINCE"), SEARCH_SENT_DATE, 0, 1},
};

static int text_parse(struct parse *p, struct search_key *key)
{
    struct str raw;
    if (imap_space(p->l) < 0 || imap_astring(p->l, &raw) < 0)
        return -1;
    struct buf text = BUF_INIT(256 * 1024), folded = BUF_INIT(1024 * 1024);
    charset_to_utf8(p->charset, raw, &text);
    text_fold(buf_str(&text), &folded);
    key->text = arena_copy(p->l->arena, buf_str(&text));
    key->folded = arena_copy(p->l->arena, buf_str(&folded));
    buf_free(&text);
    buf_free(&folded);
    return 0;
}

static struct search_key *key_parse(struct parse *p, unsigned depth);

static int child_parse(struct parse *p, struct search_key *key, unsigned depth)
{
    struct search_key *child = imap_space(p->l) == 0 ? key_parse(p, depth + 1) : NULL;
    if (!child)
        return -1;
    *ARENA_PUSH(p->l->arena, key->children, key->child_count) = child;
    return 0;
}

/* "(" keys ")" */
static struct search_key *group_parse(struct parse *p, unsigned depth)
{
    struct search_key *key = key_make(p, SEARCH_AND);
    do {
        struct search_key *child = key_parse(p, depth + 1);
        if (!child)
            return NULL;
        *ARENA_PUSH(p->l->arena, key->children, key->child_count) = child;
    } while (imap_take(p->l, ' '));
    return imap_take(p->l, ')') ? key : NULL;
}

/* Leaves out sequence numbers beyond the last message: many clients search for such, and what is there is
 * found (RFC 9051 §6.4.4: messages whose numbers correspond to the set). */
static void set_clip(uint32_t total, struct imap_set *set)
{
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct imap_range r = set->ranges[i];
        uint32_t one = r.low == UINT32_MAX ? total : r.low;
        uint32_t other = r.high == UINT32_MAX ? total : r.high;
        if (total && MIN(one, other) <= total)
            set->ranges[kept++] = (struct imap_range){MIN(one, other), MIN(MAX(one, other), total)};
    }
    set->count = kept;
}

static struct search_key *set_parse(struct parse *p, bool uid)
{
    struct search_key *key = key_make(p, SEARCH_SET);
    struct imap_set set;
    if (imap_set(p->l, &set) < 0)
        return NULL;
    if (!uid && !set.saved)
        set_clip(p->s->view.total, &set);
    return imap_set_resolve(p->s, &set, uid, &key->runs, &key->run_count) < 0 ? NULL : key;
}

static struct search_key *date_parse_key(struct parse *p, size_t row)
{
    struct search_key *key = key_make(p, date_keys[row].kind);
    struct str text;
    int64_t day;
    if (imap_space(p->l) < 0 || imap_astring(p->l, &text) < 0 ||
        date_parse_imap_day(text, &day) < 0)
        return NULL;
    key->from = date_keys[row].before ? INT64_MIN : day;
    key->until = date_keys[row].before ? day : date_keys[row].after ? INT64_MAX : day + 86400;
    return key;
}

static struct search_key *named_parse(struct parse *p, struct str name, unsigned depth)
{
    struct search_key *key;
    uint64_t number;
    for (size_t i = 0; i < countof(flag_keys); i++)
        if (str_equal_nocase(name, flag_keys[i].name)) {
            key = key_make(p, SEARCH_FLAGS);
            key->flags = flag_keys[i].flags;
            key->wanted = flag_keys[i].wanted;
            return key;
        }
    for (size_t i = 0; i < countof(summary_keys); i++)
        if (str_equal_nocase(name, summary_keys[i].name)) {
            key = key_make(p, SEARCH_SUMMARY);
            key->field = summary_keys[i].field;
            return text_parse(p, key) < 0 ? NULL : key;
        }
    for (size_t i = 0; i < countof(date_keys); i++)
        if (str_equal_nocase(name, date_keys[i].name))
            return date_parse_key(p, i);
    if (str_equal_nocase(name, STR("ALL")))
        return key_make(p, SEARCH_ALL);
    if (str_equal_nocase(name, STR("NOT"))) {
        key = key_make(p, SEARCH_NOT);
        return child_parse(p, key, depth) < 0 ? NULL : key;
    }
    if (str_equal_nocase(name, STR("OR"))) {
        key = key_make(p, SEARCH_OR);
        return child_parse(p, key, depth) < 0 || child_parse(p, key, depth) < 0 ? NULL : key;
    }
    if (str_equal_nocase(name, STR("BODY")) || str_equal_nocase(name, STR("TEXT"))) {
        key = key_make(p, str_equal_nocase(name, STR("BODY")) ? SEARCH_BODY : SEARCH_TEXT);
        return text_parse(p, key) < 0 ? NULL : key;
    }
    if (str_equal_nocase(name, STR("HEADER"))) {
        key = key_make(p, SEARCH_HEADER);
        return imap_space(p->l) < 0 || imap_astring(p->l, &key->name) < 0 || text_parse(p, key) < 0
                   ? NULL
                   : key;
    }
    if (str_equal_nocase(name, STR("KEYWORD")) || str_equal_nocase(name, STR("UNKEYWORD"))) {
        key = key_make(p, SEARCH_KEYWORD);
        key->negated = name.len > 7;
        return imap_space(p->l) < 0 || imap_atom(p->l, &key->name) < 0 ? NULL : key;
    }
    if (str_equal_nocase(name, STR("LARGER")) || str_equal_nocase(name, STR("SMALLER"))) {
        key = key_make(p, SEARCH_SIZE);
        if (imap_space(p->l) < 0 || imap_number64(p->l, &number) < 0)
            return NULL;
        bool larger = str_equal_nocase(name, STR("LARGER"));
        key->from = larger ? (int64_t)MIN(number, (uint64_t)INT64_MAX - 1) + 1 : 0;
        key->until = larger ? INT64_MAX : (int64_t)number;
        return key;
    }
    if (str_equal_nocase(name, STR("UID")))
        return imap_space(p->l) < 0 ? NULL : set_parse(p, true);
    if (str_equal_nocase(name, STR("RECENT")) || str_equal_nocase(name, STR("OLD"))) {
        key = key_make(p, SEARCH_RECENT);
        key->negated = str_equal_nocase(name, STR("OLD"));
        return key;
    }
    if (str_equal_nocase(name, STR("NEW"))) { /* RECENT UNSEEN */
        key = key_make(p, SEARCH_AND);
        *ARENA_PUSH(p->l->arena, key->children, key->child_count) = key_make(p, SEARCH_RECENT);
        struct search_key *unseen = key_make(p, SEARCH_FLAGS);
        unseen->flags = FLAG_SEEN;
        *ARENA_PUSH(p->l->arena, key->children, key->child_count) = unseen;
        return key;
    }
    return NULL;
}

static struct search_key *key_parse(struct parse *p, unsigned depth)
{
    char c = p->l->rest.len ? p->l->rest.data[0] : '\0';
    if (depth > SEARCH_DEPTH_MAX || p->keys > SEARCH_KEYS_MAX) {
        p->why = "The search is too deep or has too many keys";
        return NULL;
    }
    if (imap_take(p->l, '('))
        return group_parse(p, depth);
    if (ascii_is_digit(c) || c == '*' || c == '$')
        return set_parse(p, false);
    struct str name;
    return imap_atom(p->l, &name) < 0 ? NULL : named_parse(p, name, depth);
}

/* Cheap keys first: what reads the message is asked last. */
static int key_cost(const struct search_key *key)
{
    int cost = key->kind == SEARCH_BODY || key->kind == SEARCH_TEXT ? 100
               : key->kind == SEARCH_HEADER                         ? 50
               : key->kind == SEARCH_SUMMARY                        ? 5
                                                                    : 0;
    for (size_t i = 0; i < key->child_count; i++)
        cost += key_cost(key->children[i]);
    return cost;
}

static int cost_order(const void *a, const void *b)
{
    return key_cost(*(struct search_key *const *)a) - key_cost(*(struct search_key *const *)b);
}

int search_parse(struct imap_session *s, struct imap_lexer *l, struct search_key **out,
                 const char **why)
{
    struct parse p = {
        .s = s, .l = l, .charset = STR("utf-8"), .why = "The search was not understood"};
    if (str_starts_nocase(l->rest, STR("CHARSET "))) {
        l->rest = str_from_pos(l->rest, 8);
        if (imap_astring(l, &p.charset) < 0 || imap_space(l) < 0) {
            *why = p.why;
            return -1;
        }
        if (!charset_known(p.charset)) {
            *why = "";
            return -1;
        }
    }
    struct search_key *all = key_make(&p, SEARCH_AND);
    do {
        struct search_key *key = key_parse(&p, 0);
        if (!key) {
            *why = p.why;
            return -1;
        }
        *ARENA_PUSH(l->arena, all->children, all->child_count) = key;
    } while (imap_take(l, ' '));
    if (!imap_at_end(l)) {
        *why = p.why;
        return -1;
    }
    qsort(all->children, all->child_count, sizeof(struct search_key *), cost_order);
    *out = all;
    return 0;
}
