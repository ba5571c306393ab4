/* fetch_plan.c - parsing the items of a FETCH (RFC 9051 §6.4.5, RFC 3501 §6.4.5). */
#include "imap/fetch.h"
#include "store/account.h"

static const struct {
    struct str name;
    enum fetch_kind kind;
    unsigned columns;
} simple[] = {
    {STR_INIT("UID"), FETCH_UID, 0},
    {STR_INIT("FLAGS"), FETCH_FLAGS, 0},
    {STR_INIT("INTERNALDATE"), FETCH_INTERNALDATE, COLUMN_EMAIL},
    {STR_INIT("RFC822.SIZE"), FETCH_SIZE, COLUMN_EMAIL},
    {STR_INIT("ENVELOPE"), FETCH_ENVELOPE, COLUMN_SUMMARY},
    {STR_INIT("BODYSTRUCTURE"), FETCH_BODYSTRUCTURE, COLUMN_SUMMARY},
    {STR_INIT("BODY"), FETCH_BODY_STRUCTURE, COLUMN_SUMMARY},
};

static const struct {
    struct str name, items;
} macros[] = {
    {STR_INIT("ALL"), STR_INIT("(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)")},
    {STR_INIT("FAST"), STR_INIT("(FLAGS INTERNALDATE RFC822.SIZE)")},
    {STR_INIT("FULL"), STR_INIT("(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY)")},
};

/* RFC 3501's names for sections. */
static const struct {
    struct str name;
    enum fetch_section section;
    bool peek;
} old_names[] = {
    {STR_INIT("RFC822"), SECTION_ALL, false},
    {STR_INIT("RFC822.HEADER"), SECTION_HEADER, true},
    {STR_INIT("RFC822.TEXT"), SECTION_TEXT, false},
};

static struct fetch_item *item_add(struct imap_lexer *l, struct fetch_plan *plan,
                                   enum fetch_kind kind, struct str name, unsigned columns)
{
    struct fetch_item *item = ARENA_PUSH(l->arena, plan->items, plan->count);
    item->kind = kind;
    item->name = name;
    plan->columns |= columns & COLUMN_SUMMARY ? columns | COLUMN_EMAIL : columns;
    return item;
}

/* The name up to a bracket, blank or parenthesis. */
static struct str item_name(struct imap_lexer *l)
{
    size_t i = 0;
    while (i < l->rest.len && (ascii_is_alnum(l->rest.data[i]) || l->rest.data[i] == '.'))
        i++;
    struct str name = str_slice(l->rest, 0, i);
    l->rest = str_from_pos(l->rest, i);
    return name;
}

static int fields_parse(struct imap_lexer *l, struct fetch_item *item)
{
    struct str *fields = NULL;
    if (imap_space(l) < 0 || !imap_take(l, '('))
        return -1;
    do {
        struct str name;
        if (item->field_count >= FIELDS_MAX || imap_astring(l, &name) < 0)
            return -1;
        *ARENA_PUSH(l->arena, fields, item->field_count) = name;
    } while (imap_take(l, ' '));
    item->fields = fields;
    return imap_take(l, ')') ? 0 : -1;
}

/* Behind "[": numbers and words up to "]". */
static int section_parse(struct imap_lexer *l, struct fetch_item *item)
{
    static const struct {
        struct str name;
        enum fetch_section section;
    } words[] = {{STR_INIT("HEADER.FIELDS.NOT"), SECTION_FIELDS_NOT},
                 {STR_INIT("HEADER.FIELDS"), SECTION_FIELDS},
                 {STR_INIT("HEADER"), SECTION_HEADER},
                 {STR_INIT("TEXT"), SECTION_TEXT},
                 {STR_INIT("MIME"), SECTION_MIME}};
    uint32_t *numbers = NULL;
    bool word = true; /* may come next: at the beginning or behind a dot */
    while (l->rest.len && ascii_is_digit(l->rest.data[0])) {
        uint32_t number;
        if (item->number_count >= SECTION_DEPTH_MAX || imap_number(l, &number) < 0 || number == 0)
            return -1;
        *ARENA_PUSH(l->arena, numbers, item->number_count) = number;
        word = imap_take(l, '.');
        if (!word)
            break;
        if (l->rest.len && l->rest.data[0] == ']')
            return -1;
    }
    item->numbers = numbers;
    if (imap_take(l, ']'))
        return 0;
    if (item->kind != FETCH_BODY || !word)
        return -1;
    for (size_t i = 0; i < countof(words); i++) {
        if (!str_starts_nocase(l->rest, words[i].name))
            continue;
        l->rest = str_from_pos(l->rest, words[i].name.len);
        item->section = words[i].section;
        if (item->section == SECTION_MIME && item->number_count == 0)
            return -1;
        if ((item->section == SECTION_FIELDS || item->section == SECTION_FIELDS_NOT) &&
            fields_parse(l, item) < 0)
            return -1;
        return imap_take(l, ']') ? 0 : -1;
    }
    return -1;
}

/* "<offset.count>" */
static int partial_parse(struct imap_lexer *l, struct fetch_item *item)
{
    if (!imap_take(l, '<'))
        return 0;
    item->partial = true;
    if (imap_number64(l, &item->partial_offset) < 0 || !imap_take(l, '.') ||
        imap_number64(l, &item->partial_count) < 0 || item->partial_count == 0)
        return -1;
    return imap_take(l, '>') ? 0 : -1;
}

/* BODY[..], BODY.PEEK[..], BINARY[..], BINARY.PEEK[..], BINARY.SIZE[..] */
static int section_item(struct imap_lexer *l, struct fetch_plan *plan, struct str name)
{
    bool body = str_equal_nocase(name, STR("BODY")) || str_equal_nocase(name, STR("BODY.PEEK"));
    bool size = str_equal_nocase(name, STR("BINARY.SIZE"));
    bool binary =
        str_equal_nocase(name, STR("BINARY")) || str_equal_nocase(name, STR("BINARY.PEEK"));
    bool peek = str_ends_nocase(name, STR(".PEEK"));
    if ((!body && !size && !binary) || !imap_take(l, '['))
        return -1;
    struct str from = l->rest;
    struct fetch_item *item = item_add(l, plan,
                                       body   ? FETCH_BODY
                                       : size ? FETCH_BINARY_SIZE
                                              : FETCH_BINARY,
                                       STR(""), COLUMN_SUMMARY);
    if (section_parse(l, item) < 0)
        return -1;
    struct str section = str_of(from.data, (size_t)(l->rest.data - from.data));
    item->name = arena_printf(l->arena, "%s[" STR_FMT,
                              body   ? "BODY"
                              : size ? "BINARY.SIZE"
                                     : "BINARY",
                              STR_ARG(section));
    plan->sets_seen |= !peek && !size;
    return size ? 0 : partial_parse(l, item);
}

static int item_parse(struct imap_lexer *l, struct fetch_plan *plan)
{
    struct str name = item_name(l);
    if (plan->count >= FETCH_ITEMS_MAX)
        return -1;
    if (l->rest.len && l->rest.data[0] == '[')
        return section_item(l, plan, name);
    for (size_t i = 0; i < countof(simple); i++)
        if (str_equal_nocase(name, simple[i].name)) {
            item_add(l, plan, simple[i].kind, simple[i].name, simple[i].columns);
            return 0;
        }
    for (size_t i = 0; i < countof(old_names); i++)
        if (str_equal_nocase(name, old_names[i].name)) {
            item_add(l, plan, FETCH_BODY, old_names[i].name, COLUMN_SUMMARY)->section =
                old_names[i].section;
            plan->sets_seen |= !old_names[i].peek;
            return 0;
        }
    return -1;
}

static int items_parse(struct imap_lexer *l, struct fetch_plan *plan)
{
    if (!imap_take(l, '('))
        return item_parse(l, plan);
    do
        if (item_parse(l, plan) < 0)
            return -1;
    while (imap_take(l, ' '));
    return imap_take(l, ')') ? 0 : -1;
}

static size_t item_find(const struct fetch_plan *plan, enum fetch_kind kind)
{
    size_t i = 0;
    while (i < plan->count && plan->items[i].kind != kind)
        i++;
    return i;
}

int fetch_plan_parse(struct imap_lexer *l, bool uid, struct fetch_plan *out, const char **why)
{
    *out = (struct fetch_plan){0};
    for (size_t i = 0; i < countof(macros); i++)
        if (str_equal_nocase(l->rest, macros[i].name))
            l->rest = macros[i].items;
    if (items_parse(l, out) < 0 || !imap_at_end(l)) {
        *why = "The items of FETCH were not understood";
        return -1;
    }
    if (uid && item_find(out, FETCH_UID) == out->count)
        item_add(l, out, FETCH_UID, STR("UID"), 0);
    out->flags_asked = item_find(out, FETCH_FLAGS) < out->count;
    if (!out->flags_asked)
        item_add(l, out, FETCH_FLAGS, STR("FLAGS"), 0);
    out->flags_item = item_find(out, FETCH_FLAGS);
    return 0;
}
