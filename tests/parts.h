/* parts.h - what is true of the parts of any summary, however broken its message is. For unit tests and
 * fuzz targets: what is not true ends the program.
 */
#ifndef TESTS_PARTS_H
#define TESTS_PARTS_H

#include "message/summary.h"

/* A part is its header and, right behind, its body; all of it lies in the body of its parent, and behind
 * the sibling in front of it. size: of the message. */
static inline void parts_check(const struct summary *s, uint64_t size)
{
    for (uint32_t i = 0; i < s->part_count; i++) {
        struct summary_part p, parent, sibling;
        summary_part(s, i, &p);
        panic_unless(p.header_offset <= size && p.header_size <= size - p.header_offset);
        panic_unless(p.body_offset == p.header_offset + p.header_size);
        panic_unless(p.body_size <= size - p.body_offset);
        if (i == 0)
            continue;
        panic_unless(p.parent < i);
        summary_part(s, p.parent, &parent);
        panic_unless(parent.kind != PART_LEAF && p.header_offset >= parent.body_offset);
        panic_unless(p.body_offset + p.body_size <= parent.body_offset + parent.body_size);
        for (uint32_t k = i - 1; k > p.parent; k--) {
            summary_part(s, k, &sibling);
            if (sibling.parent == p.parent) {
                panic_unless(sibling.number + 1 == p.number);
                panic_unless(sibling.body_offset + sibling.body_size <= p.header_offset);
                break;
            }
        }
    }
}

#endif
