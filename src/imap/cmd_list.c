/* cmd_list.c - LIST with its extensions (RFC 5258, 5819, 6154), LSUB. */
#include "imap/session.h"

enum { PATTERNS_MAX = 50 };

struct listing {
    struct imap_session *s;
    struct str patterns[PATTERNS_MAX];
    size_t pattern_count;
    bool select_subscribed, select_special, select_recursive; /* selection options */
    bool return_subscribed, return_children, return_special, return_status;
    bool lsub;
    struct status_items status;
    struct mailbox *mailboxes; /* all there are, in order */
    size_t mailbox_count;
    struct str *missing; /* subscribed names that do not exist */
    size_t missing_count;
};

/* RFC 9051 §6.3.9: "*" any characters, "%" any but the separator. Runs in time pattern x name. */
static bool matches(struct str pattern, struct str name)
{
    size_t p = 0, n = 0, star = SIZE_MAX, star_name = 0;
    while (n < name.len) {
        char c = p < pattern.len ? pattern.data[p] : '\0';
        if (p < pattern.len && c == '*') {
            star = p++;
            star_name = n;
        } else if (p < pattern.len && c == '%') {
            /* "%" is tried from the shortest on, remembered like a star that stops at the separator. */
            star = p++;
            star_name = n;
        } else if (p < pattern.len && c == name.data[n]) {
            p++;
            n++;
        } else if (star != SIZE_MAX && (pattern.data[star] == '*' || name.data[star_name] != '/')) {
            p = star + 1;
            n = ++star_name;
        } else {
            return false;
        }
    }
    while (p < pattern.len && (pattern.data[p] == '*' || pattern.data[p] == '%'))
        p++;
    return p == pattern.len;
}

/* "%" and "*" together need more than one point to come back to: the exact answer by recursion over the
 * pattern, bounded by its length. */
static bool matches_exactly(struct str pattern, struct str name, unsigned depth)
{
    for (size_t p = 0;; p++) {
        if (p == pattern.len)
            return name.len == 0;
        char c = pattern.data[p];
        if (c != '*' && c != '%') {
            if (name.len == 0 || name.data[0] != c)
                return false;
            name = str_from_pos(name, 1);
            continue;
        }
        if (depth == 0)
            return false;
        struct str rest = str_from_pos(pattern, p + 1);
        for (size_t n = 0;; n++) {
            if (matches_exactly(rest, str_from_pos(name, n), depth - 1))
                return true;
            if (n == name.len || (c == '%' && name.data[n] == '/'))
                return false;
        }
    }
}

static bool name_matches(const struct listing *l, struct str name)
{
    for (size_t i = 0; i < l->pattern_count; i++) {
        struct str pattern = l->patterns[i];
        size_t wild = 0;
        bool star = str_has_char(pattern, '*'), percent = str_has_char(pattern, '%');
        for (size_t k = 0; k < pattern.len; k++)
            wild += pattern.data[k] == '*' || pattern.data[k] == '%';
        /* Few wildcards, or both kinds: exactly. Many of one kind: linear (only hostile patterns). */
        if (wild <= 4 || (star && percent && wild <= 6)) {
            if (matches_exactly(pattern, name, 8))
                return true;
        } else if (matches(pattern, name)) {
            return true;
        }
    }
    return false;
}

static const char *use_name(enum special_use use)
{
    static const char *const names[] = {[USE_DRAFTS] = "\\Drafts",
                                        [USE_SENT] = "\\Sent",
                                        [USE_ARCHIVE] = "\\Archive",
                                        [USE_JUNK] = "\\Junk",
                                        [USE_TRASH] = "\\Trash"};
    return (size_t)use < countof(names) ? names[use] : NULL;
}

static bool has_children(const struct listing *l, size_t index)
{
    /* The list is in name order, but INBOX stands first: look for the name with a separator. */
    struct str name = l->mailboxes[index].name;
    for (size_t i = 0; i < l->mailbox_count; i++) {
        struct str other = l->mailboxes[i].name;
        if (other.len > name.len && other.data[name.len] == '/' && str_starts(other, name))
            return true;
    }
    return false;
}

/* RFC 5258 §3.5: something below this name fits the selection, but does not match the pattern. */
static bool child_subscribed(const struct listing *l, struct str name)
{
    for (size_t i = 0; i < l->mailbox_count; i++) {
        const struct mailbox *m = &l->mailboxes[i];
        if (m->subscribed && m->name.len > name.len && m->name.data[name.len] == '/' &&
            str_starts(m->name, name) && !name_matches(l, m->name))
            return true;
    }
    for (size_t i = 0; i < l->missing_count; i++)
        if (l->missing[i].len > name.len && l->missing[i].data[name.len] == '/' &&
            str_starts(l->missing[i], name) && !name_matches(l, l->missing[i]))
            return true;
    return false;
}

static void attribute_put(struct imap_session *s, bool *first, const char *name)
{
    stream_printf(&s->stream, "%s%s", *first ? "" : " ", name);
    *first = false;
}

static void mailbox_put(struct listing *l, size_t index)
{
    const struct mailbox *m = &l->mailboxes[index];
    struct imap_session *s = l->s;
    bool first = true, child_info = l->select_recursive && child_subscribed(l, m->name);
    if (!name_matches(l, m->name))
        return;
    if ((l->select_subscribed && !m->subscribed && !child_info) ||
        (l->select_special && !use_name(m->use)))
        return;
    imap_put(s, l->lsub ? "* LSUB (" : "* LIST (");
    if (m->no_select)
        attribute_put(s, &first, "\\Noselect");
    if (!l->lsub)
        attribute_put(s, &first, has_children(l, index) ? "\\HasChildren" : "\\HasNoChildren");
    if (m->subscribed && (l->select_subscribed || l->return_subscribed) && !l->lsub)
        attribute_put(s, &first, "\\Subscribed");
    if (use_name(m->use) && !l->lsub)
        attribute_put(s, &first, use_name(m->use));
    imap_put(s, ") \"/\" ");
    imap_put_mailbox(s, m->name);
    if (child_info)
        imap_put(s, " (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    imap_put(s, "\r\n");
    if (l->return_status && !m->no_select)
        status_put(s, m, &l->status);
}

static void missing_put(struct listing *l, struct str name)
{
    if (!name_matches(l, name) || l->select_special)
        return;
    imap_put(l->s,
             l->lsub ? "* LSUB (\\Noselect) \"/\" " : "* LIST (\\NonExistent \\Subscribed) \"/\" ");
    imap_put_mailbox(l->s, name);
    imap_put(l->s, "\r\n");
}

/* RFC 3501 §6.3.9: LSUB "%" shows a parent of what is subscribed further down, as \Noselect. */
static void lsub_parents_put(struct listing *l)
{
    struct str shown = STR("");
    for (size_t i = 0; i < l->mailbox_count; i++) {
        struct str name = l->mailboxes[i].name;
        if (!l->mailboxes[i].subscribed || name_matches(l, name))
            continue;
        for (size_t k = name.len; k-- > 0;) {
            struct str parent = str_slice(name, 0, k);
            bool listed = false;
            if (name.data[k] != '/' || !name_matches(l, parent) || str_equal(parent, shown))
                continue;
            for (size_t j = 0; j < l->mailbox_count; j++)
                listed |= l->mailboxes[j].subscribed && str_equal(l->mailboxes[j].name, parent);
            if (!listed) {
                imap_put(l->s, "* LSUB (\\Noselect) \"/\" ");
                imap_put_mailbox(l->s, parent);
                imap_put(l->s, "\r\n");
                shown = parent;
            }
            break;
        }
    }
}

static void listing_run(struct listing *l)
{
    struct imap_session *s = l->s;
    struct account_tx *tx = NULL;
    struct error e = {0};
    int result = account_begin(s->account, ACCOUNT_READ, &tx, &e);
    if (result == 0)
        result = mailbox_list(tx, &s->arena, &l->mailboxes, &l->mailbox_count, &e);
    if (result == 0 && l->select_subscribed)
        result = mailbox_subscribed_missing(tx, &s->arena, &l->missing, &l->missing_count, &e);
    account_rollback(&tx);
    if (result < 0) {
        imap_error(s, &e);
        return;
    }
    for (size_t i = 0; i < l->mailbox_count; i++)
        mailbox_put(l, i);
    for (size_t i = 0; i < l->missing_count; i++)
        missing_put(l, l->missing[i]);
    if (l->lsub)
        lsub_parents_put(l);
    imap_ok(s, NULL, "That is all");
}

/* ------------------------------------------------------------------ parsing */

static int selection_parse(struct listing *l, struct imap_lexer *x)
{
    bool remote = false;
    if (imap_take(x, ')'))
        return 0;
    do {
        struct str name;
        if (imap_atom(x, &name) < 0)
            return -1;
        if (str_equal_nocase(name, STR("SUBSCRIBED")))
            l->select_subscribed = true;
        else if (str_equal_nocase(name, STR("RECURSIVEMATCH")))
            l->select_recursive = true;
        else if (str_equal_nocase(name, STR("SPECIAL-USE")))
            l->select_special = true;
        else if (str_equal_nocase(name, STR("REMOTE")))
            remote = true;
        else
            return -1;
    } while (imap_take(x, ' '));
    (void)remote; /* there are no remote mailboxes */
    if (l->select_recursive && !l->select_subscribed)
        return -1; /* RFC 5258 §3.1 */
    return imap_take(x, ')') ? 0 : -1;
}

static int return_parse(struct listing *l, struct imap_lexer *x)
{
    if (!imap_take(x, '('))
        return -1;
    if (imap_take(x, ')'))
        return 0;
    do {
        struct str name;
        if (imap_atom(x, &name) < 0)
            return -1;
        if (str_equal_nocase(name, STR("SUBSCRIBED")))
            l->return_subscribed = true;
        else if (str_equal_nocase(name, STR("CHILDREN")))
            l->return_children = true;
        else if (str_equal_nocase(name, STR("SPECIAL-USE")))
            l->return_special = true;
        else if (str_equal_nocase(name, STR("STATUS"))) {
            l->return_status = true;
            if (imap_space(x) < 0 || status_items_parse(x, &l->status) < 0)
                return -1;
        } else
            return -1;
    } while (imap_take(x, ' '));
    return imap_take(x, ')') ? 0 : -1;
}

/* The reference stands in front of each pattern. */
static int pattern_add(struct listing *l, struct imap_lexer *x, struct str reference)
{
    struct str pattern;
    if (l->pattern_count == PATTERNS_MAX || imap_pattern(x, &pattern) < 0)
        return -1;
    if (reference.len)
        pattern = arena_printf(x->arena, STR_FMT "%s" STR_FMT, STR_ARG(reference),
                               str_ends(reference, STR("/")) ? "" : "/", STR_ARG(pattern));
    if (str_starts_nocase(pattern, STR("INBOX")) && (pattern.len == 5 || pattern.data[5] == '/'))
        pattern = arena_printf(x->arena, "INBOX" STR_FMT, STR_ARG(str_from_pos(pattern, 5)));
    l->patterns[l->pattern_count++] = pattern;
    return 0;
}

static int list_parse(struct listing *l, struct imap_lexer *x, bool *extended)
{
    struct str reference;
    if (imap_space(x) < 0)
        return -1;
    if (imap_take(x, '(')) {
        *extended = true;
        if (selection_parse(l, x) < 0 || imap_space(x) < 0)
            return -1;
    }
    if (imap_mailbox(x, &reference) < 0 || imap_space(x) < 0)
        return -1;
    if (imap_take(x, '(')) {
        *extended = true;
        do
            if (pattern_add(l, x, reference) < 0)
                return -1;
        while (imap_take(x, ' '));
        if (!imap_take(x, ')'))
            return -1;
    } else if (pattern_add(l, x, reference) < 0) {
        return -1;
    }
    if (imap_take(x, ' ')) {
        struct str word;
        *extended = true;
        if (imap_atom(x, &word) < 0 || !str_equal_nocase(word, STR("RETURN")) ||
            imap_space(x) < 0 || return_parse(l, x) < 0)
            return -1;
    }
    return imap_at_end(x) ? 0 : -1;
}

void cmd_list(struct imap_session *s, struct imap_lexer *x, bool uid UNUSED)
{
    struct listing l = {.s = s};
    bool extended = false;
    if (list_parse(&l, x, &extended) < 0) {
        imap_bad(s, "Say LIST reference pattern");
        return;
    }
    if (!extended && l.patterns[0].len == 0) { /* the separator is asked for */
        imap_put(s, "* LIST (\\Noselect) \"/\" \"\"\r\n");
        imap_ok(s, NULL, "That is all");
        return;
    }
    listing_run(&l);
}

void cmd_lsub(struct imap_session *s, struct imap_lexer *x, bool uid UNUSED)
{
    struct listing l = {.s = s, .lsub = true, .select_subscribed = true};
    struct str reference;
    if (imap_space(x) < 0 || imap_mailbox(x, &reference) < 0 || imap_space(x) < 0 ||
        pattern_add(&l, x, reference) < 0 || !imap_at_end(x)) {
        imap_bad(s, "Say LSUB reference pattern");
        return;
    }
    listing_run(&l);
}
