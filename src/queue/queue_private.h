/* queue_private.h - private to the room: queue.db as accept, runner and listing share it.
 */
#ifndef QUEUE_QUEUE_PRIVATE_H
#define QUEUE_QUEUE_PRIVATE_H

#include "queue/queue.h"
#include "store/db.h"

enum queue_state { QUEUE_WAITING, QUEUE_HELD, QUEUE_REMOTE, QUEUE_STATE_COUNT };
struct str queue_state_name(enum queue_state state);

/* ------------------------------------------------------------------ queue_db.c */

int queue_db_start(const char *data_directory, struct error *e);
void queue_db_stop(void);

/* Runs job inside a durable transaction that it may share with those of other threads: one fsync for
 * all who wait. A job that fails leaves nothing; it may be run twice (alone, after the shared
 * transaction failed), so it must only write to db. */
typedef int queue_job(struct db *db, void *context, struct error *e);
int queue_write(queue_job *job, void *context, struct error *e);

/* Another handle, for reading. */
int queue_db_open(struct db **out, struct error *e);

/* ------------------------------------------------------------------ accept.c, runner.c */

void accept_serve(void);

int runner_start(struct error *e);
void runner_stop(void);
void runner_wake(void); /* there is something due */

#endif
