/* view.h - a session's picture of its selected mailbox: which UIDs it has, under which sequence numbers.
 *
 * UIDs are kept as runs of consecutive ones, so that a large mailbox costs a session little. The picture
 * changes only when the session says so to its client (RFC 9051 §7.5.1): what vanished from the store is
 * still in it until then.
 */
#ifndef IMAP_VIEW_H
#define IMAP_VIEW_H

#include "store/account.h"

struct view_run {
    uint32_t first, count;
    uint32_t sequence; /* number of the first */
};

struct view {
    uint64_t mailbox;
    struct view_run *runs; /* ascending; heap */
    size_t run_count, run_capacity;
    uint32_t total;
    uint32_t uidnext;        /* UIDs from here on are not in the picture yet */
    uint32_t first_recent;   /* UIDs from here on are \Recent for this session */
    uint64_t modseq;         /* flags up to here were told */
    uint64_t expunge_modseq; /* expunges up to here were told */
};

void view_free(struct view *v);
void view_set(struct view *v, const struct uid_run *runs, size_t count);
void view_add(struct view *v, uint32_t first, uint32_t count);
void view_remove(struct view *v, uint32_t uid);

uint32_t view_uid(const struct view *v, uint32_t sequence); /* 0: no such number */
uint32_t view_sequence(const struct view *v, uint32_t uid); /* 0: not in the picture */
uint32_t view_last_uid(const struct view *v);               /* 0 when empty */
/* The number of messages in the picture with UIDs below uid. */
uint32_t view_count_below(const struct view *v, uint32_t uid);

#endif
