/* collect.c - complete commands. See collect.h. */
#include "imap/collect.h"

/* Does the line (without its end) announce a literal? */
static bool literal_announced(struct str line, struct imap_literal *out)
{
    size_t open = str_find_last_char(line, '{');
    if (line.len == 0 || line.data[line.len - 1] != '}' || open == line.len)
        return false;
    struct str number = str_slice(line, open + 1, line.len - open - 2);
    out->sync = !(number.len && number.data[number.len - 1] == '+');
    if (!out->sync)
        number.len--;
    if (number.len == 0 || number.len > 20)
        return false;
    for (size_t i = 0; i < number.len; i++)
        if (!ascii_is_digit(number.data[i]))
            return false;
    if (str_to_u64(number, UINT64_MAX, &out->size) < 0)
        out->size = UINT64_MAX;
    return true;
}

enum imap_collected imap_collect(struct imap_collector *c, struct str input, size_t max,
                                 uint64_t literal_max, bool (*is_message)(struct str so_far),
                                 size_t *length, struct imap_literal *literal)
{
    for (;;) {
        struct str rest = str_from_pos(input, c->at);
        size_t end = str_find_char(rest, '\n');
        if (c->at > input.len || end == rest.len)
            return input.len >= max ? COLLECT_TOO_LONG : COLLECT_MORE;
        struct str line = str_slice(rest, 0, end);
        if (line.len && line.data[line.len - 1] == '\r')
            line.len--;
        *length = c->at + end + 1;
        if (!literal_announced(line, literal)) { /* a literal before it keeps all its bytes */
            *c = (struct imap_collector){.command = c->at + str_trim_end(line).len};
            return *length > max ? COLLECT_TOO_LONG : COLLECT_COMMAND;
        }
        struct str so_far = str_slice(input, 0, c->at + (size_t)(str_find_last_char(line, '{')));
        if (literal->size > literal_max || *length + literal->size > max || is_message(so_far)) {
            *c = (struct imap_collector){0};
            return COLLECT_LITERAL;
        }
        if (literal->sync && !c->continued) {
            c->continued = true;
            return COLLECT_CONTINUE;
        }
        if (input.len < *length + literal->size)
            return COLLECT_MORE;
        c->at = *length + (size_t)literal->size;
        c->continued = false;
    }
}
