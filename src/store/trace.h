/* trace.h - trace.db: what happened to each message, for `posthouse trace`.
 *
 * Every step of a message writes an event. Events are collected and written in batches without
 * fsync; they are bounded in age. Any process sends (one way), core writes. What comes faster than it
 * can be written is dropped, and the log says how many.
 */
#ifndef STORE_TRACE_H
#define STORE_TRACE_H

#include "base/arena.h"
#include "base/error.h"

struct trace_event {
    int64_t time_ms; /* real time; 0 = now */
    struct str queue_id;
    struct str event; /* "accept", "refuse", "deliver", "defer", "queue", "append", ... */
    struct str peer;  /* address of the other side */
    struct str sender, recipient, message_id; /* without <>; found in any case */
    struct str reply;                         /* what we answered, or were answered */
    struct str detail;                        /* anything else, key=value */
};
void trace_send(const struct trace_event *event); /* any process; never blocks, never fails */

int trace_start(const char *data_directory, uint64_t max_age_ms, struct error *e); /* core */
void trace_max_age(uint64_t max_age_ms);                                           /* at a reload */
void trace_stop(void);  /* writes what is collected */
void trace_serve(void); /* core: registers IPC_TRACE */
/* Events whose queue id, address or message id equals key, oldest first; all events of every queue
 * id that matches are given. At most limit, of the newest messages. */
int trace_find(struct str key, size_t limit, struct arena *arena, struct trace_event **out,
               size_t *count, struct error *e);

#endif
