/* mime.h - the tree of MIME parts of a message, as offsets into it.
 */
#ifndef MESSAGE_MIME_H
#define MESSAGE_MIME_H

#include "message/header.h"
#include "message/summary.h"

/* What the header of a part says; everything lives in the arena or the message. */
struct mime_headers {
    struct parameterized type; /* value "text/plain" when absent or unusable */
    struct parameterized disposition;
    struct str encoding; /* as written, trimmed; empty when absent */
    struct str id, description, md5, language, location;
    bool has_disposition;
};

struct mime_part {
    enum part_kind kind;
    enum part_encoding encoding;
    uint32_t parent, number;
    uint64_t header_offset, header_size, body_offset, body_size;
    uint32_t body_lines;
    struct mime_headers headers;
};

struct mime_tree {
    struct mime_part *parts; /* in the arena; in the order of the message, children after parents */
    size_t count;
    bool truncated; /* a limit was reached */
};

/* Parses any bytes; linear in their number. Part 0 is the message. */
void mime_parse(struct str message, const struct summary_limits *limits, struct arena *arena,
                struct mime_tree *out);

#endif
