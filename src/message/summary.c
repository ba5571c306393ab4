/* summary.c - opening and reading summary blocks. See summary.h; the layout is in summary_block.h. */
#include "message/summary.h"

#include "message/summary_block.h"

const struct summary_limits summary_limits_default = {
    .max_depth = 32,
    .max_parts = 2000,
    .max_fields = 2000,
    .max_block = 1024 * 1024,
    .max_addresses = 1000,
};

static uint64_t get(const unsigned char *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

static const unsigned char *bytes_at(struct str block, size_t at)
{
    return (const unsigned char *)block.data + at;
}

static const unsigned char *part_at(const struct summary *s, uint32_t index)
{
    return (const unsigned char *)s->parts + (size_t)index * PART_SIZE;
}

/* Every part: kinds known, parents before their children, ranges inside the message, strings inside
 * the block. */
static bool parts_valid(const struct summary *s)
{
    for (uint32_t i = 0; i < s->part_count; i++) {
        const unsigned char *p = part_at(s, i);
        uint64_t parent = get(p + 2, 4), header = get(p + 10, 8), header_size = get(p + 18, 8),
                 body = get(p + 26, 8), body_size = get(p + 34, 8);
        if (p[0] > PART_MESSAGE || p[1] > ENCODING_UNKNOWN || (i ? parent >= i : parent != 0) ||
            header > s->message_size || header_size > s->message_size - header ||
            body > s->message_size || body_size > s->message_size - body)
            return false;
        for (unsigned k = 0; k < PART_STRINGS; k++) {
            uint64_t offset = get(p + 54 + k * 5, 3), length = get(p + 57 + k * 5, 2);
            if (offset > s->block.len || length > s->block.len - offset)
                return false;
        }
    }
    return true;
}

int summary_open(struct summary *out, struct str block)
{
    if (block.len < BLOCK_HEADER)
        return -1;
    const unsigned char *h = bytes_at(block, 0);
    unsigned strings = h[1];
    struct summary s = {.block = block,
                        .flags = (uint32_t)get(h + 2, 2) & ~(uint32_t)FLAG_HAS_DATE,
                        .message_size = get(h + 8, 8),
                        .header_size = get(h + 16, 8),
                        .date = (int64_t)get(h + 24, 8),
                        .date_zone = (int16_t)get(h + 32, 2),
                        .has_date = (get(h + 2, 2) & FLAG_HAS_DATE) != 0,
                        .part_count = (uint32_t)get(h + 4, 4)};
    size_t parts = BLOCK_HEADER + strings * STRING_SIZE;
    if (h[0] != SUMMARY_VERSION || strings > SUMMARY_STRING_COUNT || s.part_count == 0 ||
        block.len < parts || s.part_count > (block.len - parts) / PART_SIZE ||
        s.header_size > s.message_size)
        return -1;
    for (unsigned i = 0; i < strings; i++) {
        const unsigned char *entry = bytes_at(block, BLOCK_HEADER + i * STRING_SIZE);
        uint64_t offset = get(entry + 1, 3), length = get(entry + 4, 3);
        if (offset > block.len || length > block.len - offset)
            return -1;
    }
    s.parts = bytes_at(block, parts);
    if (!parts_valid(&s))
        return -1;
    *out = s;
    return 0;
}

struct str summary_string(const struct summary *s, enum summary_string which)
{
    const unsigned char *h = bytes_at(s->block, 0);
    for (unsigned i = 0; i < h[1]; i++) {
        const unsigned char *entry = h + BLOCK_HEADER + i * STRING_SIZE;
        if (entry[0] == (unsigned char)which)
            return str_slice(s->block, get(entry + 1, 3), get(entry + 4, 3));
    }
    return STR("");
}

void summary_part(const struct summary *s, uint32_t index, struct summary_part *out)
{
    panic_unless(index < s->part_count);
    const unsigned char *p = part_at(s, index);
    *out = (struct summary_part){.kind = (enum part_kind)p[0],
                                 .encoding = (enum part_encoding)p[1],
                                 .parent = (uint32_t)get(p + 2, 4),
                                 .number = (uint32_t)get(p + 6, 4),
                                 .header_offset = get(p + 10, 8),
                                 .header_size = get(p + 18, 8),
                                 .body_offset = get(p + 26, 8),
                                 .body_size = get(p + 34, 8),
                                 .body_lines = (uint32_t)get(p + 42, 4)};
    struct str *strings[PART_STRINGS] = {&out->type, &out->subtype,     &out->charset,
                                         &out->name, &out->disposition, &out->content_id};
    for (unsigned k = 0; k < PART_STRINGS; k++)
        *strings[k] = str_slice(s->block, get(p + 54 + k * 5, 3), get(p + 57 + k * 5, 2));
}

/* Child number n of a part; -1 none. */
static int child_find(const struct summary *s, uint32_t parent, uint32_t number)
{
    for (uint32_t i = parent + 1; i < s->part_count; i++) {
        const unsigned char *p = part_at(s, i);
        if (get(p + 2, 4) == parent && get(p + 6, 4) == number)
            return (int)i;
    }
    return -1;
}

int summary_find_part(const struct summary *s, const uint32_t *numbers, size_t count)
{
    uint32_t at = 0;
    bool is_message = true; /* `at` stands for a whole message: the root, or one inside */
    for (size_t i = 0; i < count; i++) {
        if (!is_message && part_at(s, at)[0] == PART_MESSAGE) {
            int inner = child_find(s, at, 1);
            if (inner < 0)
                return -1;
            at = (uint32_t)inner;
            is_message = true;
        }
        if (part_at(s, at)[0] == PART_MULTIPART) {
            int child = child_find(s, at, numbers[i]);
            if (child < 0)
                return -1;
            at = (uint32_t)child;
        } else if (!is_message || numbers[i] != 1) {
            return -1; /* a message that is no multipart has one part, itself */
        }
        is_message = false;
    }
    return (int)at;
}
