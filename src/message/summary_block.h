/* summary_block.h - private to the room: the layout of the summary block.
 *
 *     header   version u8, number of strings u8, flags u16, number of parts u32,
 *              message size u64, header size u64, date i64, zone i16
 *     strings  number of strings times: which u8, offset u24, length u24
 *     parts    number of parts times PART_SIZE bytes
 *     pool     the bytes that strings and parts point to
 *
 * Equal strings, and strings that are part of others, share bytes of the pool.
 */
#ifndef MESSAGE_SUMMARY_BLOCK_H
#define MESSAGE_SUMMARY_BLOCK_H

#include "message/summary.h"

enum {
    BLOCK_HEADER = 34,
    STRING_SIZE = 7,
    PART_STRINGS = 6, /* type, subtype, charset, name, disposition, content id */
    PART_SIZE =
        54 + PART_STRINGS * 5, /* kinds 2, parent and number 8, offsets 32, lines 4, reserved 8 */
    FLAG_HAS_DATE = 1 << 15,
};

#endif
