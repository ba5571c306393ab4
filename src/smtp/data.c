/* data.c - the bytes after DATA. See data.h. */
#include "smtp/data.h"

enum {
    LINE_START, /* after CRLF, or at the beginning */
    DOT,        /* a dot at the start of a line */
    DOT_CR,     /* dot, CR */
    MIDDLE,     /* inside a line */
    MIDDLE_CR,  /* a CR that is not stored yet */
};

/* Counts into the line; notices NUL. */
static void middle_store(struct data_reader *r, struct str piece, data_sink *sink, void *context)
{
    r->line += piece.len;
    if (r->line_max && r->line + 2 > r->line_max)
        r->flaws |= DATA_LONG_LINE;
    while (piece.len && memchr(piece.data, '\0', piece.len)) {
        size_t at = str_find_char(piece, '\0');
        r->flaws |= DATA_NUL;
        sink(context, str_slice(piece, 0, at));
        piece = str_from_pos(piece, at + 1);
    }
    if (piece.len)
        sink(context, piece);
}

static void line_end(struct data_reader *r, data_sink *sink, void *context)
{
    sink(context, STR("\r\n"));
    r->line = 0;
}

/* In the middle of a line: takes everything up to its CRLF, or all there is. */
static size_t middle_read(struct data_reader *r, struct str input, data_sink *sink, void *context)
{
    size_t end = str_find_char(input, '\n');
    size_t cr = str_find_char(str_slice(input, 0, end), '\r');
    if (cr + 1 == end && end < input.len) { /* the common case: text CR LF */
        middle_store(r, str_slice(input, 0, cr), sink, context);
        line_end(r, sink, context);
        r->state = LINE_START;
        return end + 1;
    }
    if (cr < end) {
        middle_store(r, str_slice(input, 0, cr), sink, context);
        r->state = MIDDLE_CR;
        return cr + 1;
    }
    middle_store(r, str_slice(input, 0, end), sink, context);
    if (end == input.len)
        return end;
    r->flaws |= DATA_BARE_LF;
    line_end(r, sink, context);
    r->state = MIDDLE; /* not the start of a line: a dot that follows is only a dot */
    return end + 1;
}

bool data_read(struct data_reader *r, struct str input, size_t *used, data_sink *sink,
               void *context)
{
    size_t i = 0;
    while (i < input.len) {
        char c = input.data[i];
        switch (r->state) {
        case LINE_START:
            r->state = c == '.' ? DOT : MIDDLE;
            i += c == '.';
            break;
        case DOT: /* the dot was stuffing, unless CRLF follows (RFC 5321 §4.5.2) */
            r->state = c == '\r' ? DOT_CR : MIDDLE;
            i += c == '\r';
            break;
        case DOT_CR:
            if (c == '\n') {
                *used = i + 1;
                r->state = LINE_START;
                return true;
            }
            r->flaws |= DATA_BARE_CR;
            line_end(r, sink, context);
            r->state = MIDDLE;
            break;
        case MIDDLE_CR:
            if (c == '\n') {
                r->state = LINE_START;
                i++;
            } else {
                r->flaws |= DATA_BARE_CR;
                r->state = MIDDLE;
            }
            line_end(r, sink, context);
            break;
        default:
            i += middle_read(r, str_from_pos(input, i), sink, context);
        }
    }
    *used = i;
    return false;
}

void data_check_chunk(struct data_reader *r, struct str input, bool last, data_sink *sink,
                      void *context)
{
    size_t i = 0;
    while (i < input.len) {
        if (r->state == MIDDLE_CR) {
            bool lf = input.data[i] == '\n';
            r->flaws |= lf ? 0 : (unsigned)DATA_BARE_CR;
            i += lf;
            line_end(r, sink, context);
            r->state = MIDDLE;
            continue;
        }
        i += middle_read(r, str_from_pos(input, i), sink, context);
        if (r->state == LINE_START) /* dots mean nothing here */
            r->state = MIDDLE;
    }
    if (last && r->state == MIDDLE_CR) {
        r->flaws |= DATA_BARE_CR;
        line_end(r, sink, context);
        r->state = MIDDLE;
    }
}
