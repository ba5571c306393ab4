/* queue_private.h - private to the room: queue.db as accept, runner and listing share it.
 */
#ifndef QUEUE_QUEUE_PRIVATE_H
#define QUEUE_QUEUE_PRIVATE_H

#include <pthread.h>

#include "queue/queue.h"
#include "store/db.h"

enum queue_state { QUEUE_WAITING, QUEUE_HELD, QUEUE_REMOTE };

/* The one handle, used under its lock. */
extern struct queue_db {
    pthread_mutex_t lock;
    struct db *db;
} queue_db;

/* runner.c */
int runner_start(struct error *e);
void runner_stop(void);
void runner_wake(void);

#endif
