/* queue_db.c - queue.db: its tables, and one durable commit for all who wait.
 *
 * One handle writes. A thread that wants to write puts its job on a list; the first one there leads: it
 * runs what has gathered in one transaction. While its fsync lasts the next ones gather. Reading goes
 * through other handles and waits for nobody (WAL).
 */
#include <pthread.h>

#include "queue/queue_private.h"

enum { GROUP_MAX = 64 };

static const struct db_step schema[] = {
    {.sql = "CREATE TABLE message (id INTEGER PRIMARY KEY, queue_id TEXT NOT NULL UNIQUE,"
            " reverse_path TEXT NOT NULL, received INTEGER NOT NULL, flags INTEGER NOT NULL,"
            " origin TEXT NOT NULL, size INTEGER NOT NULL);"
            /* number 0: the summary; from 1 on: the message, packed */
            "CREATE TABLE content (message INTEGER NOT NULL, number INTEGER NOT NULL,"
            " data BLOB NOT NULL, PRIMARY KEY (message, number));"
            "CREATE TABLE recipient (id INTEGER PRIMARY KEY, message INTEGER NOT NULL,"
            " recipient TEXT NOT NULL, original TEXT NOT NULL, notify INTEGER NOT NULL,"
            " account INTEGER NOT NULL, target TEXT NOT NULL, detail TEXT NOT NULL,"
            " state INTEGER NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL,"
            " reason TEXT NOT NULL);"
            "CREATE INDEX recipient_message ON recipient (message);"
            "CREATE INDEX recipient_due ON recipient (due, message) WHERE state = 0;"},
};

enum job_state { JOB_WAITS, JOB_LEADS, JOB_DONE };

struct job {
    queue_job *run;
    void *context;
    struct error error;
    int result;
    enum job_state state;
    struct job *next;
};

static struct {
    pthread_mutex_t lock; /* of the list; db is the leader's */
    pthread_cond_t done;
    struct job *first, **end;
    bool leading;
    struct db *db;
    char path[512];
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

struct str queue_state_name(enum queue_state state)
{
    static const struct str names[] = {STR_INIT("waiting"), STR_INIT("held"), STR_INIT("remote")};
    return (unsigned)state < countof(names) ? names[state] : STR("unknown");
}

int queue_db_open(struct db **out, struct error *e)
{
    struct db_options options = {.path = queue.path, .durable = true};
    return db_open(&options, out, e);
}

int queue_db_start(const char *data_directory, struct error *e)
{
    snprintf(queue.path, sizeof(queue.path), "%s/queue.db", data_directory);
    queue.end = &queue.first;
    struct db_options options = {.path = queue.path,
                                 .create = true,
                                 .durable = true,
                                 .cache_kb = 2048,
                                 .checkpoint_pages = 1000};
    if (db_open(&options, &queue.db, e) < 0)
        return -1;
    if (db_migrate(queue.db, schema, countof(schema), e) < 0) {
        db_close(&queue.db);
        return -1;
    }
    return 0;
}

void queue_db_stop(void)
{
    db_close(&queue.db);
}

/* One transaction for the jobs of a list. */
static int jobs_commit(struct job *first, struct error *e)
{
    if (db_begin(queue.db, true, e) < 0)
        return -1;
    for (struct job *job = first; job; job = job->next) {
        if (job->run(queue.db, job->context, e) < 0) {
            db_rollback(queue.db);
            return -1;
        }
    }
    return db_commit(queue.db, e);
}

static void jobs_run(struct job *first)
{
    struct error e = {0};
    if (!first->next) {
        first->result = jobs_commit(first, &first->error);
        return;
    }
    if (jobs_commit(first, &e) == 0)
        return;
    /* One of them spoilt it, or the disk is full: each for itself. */
    for (struct job *job = first; job; job = job->next) {
        struct job *next = job->next;
        job->next = NULL;
        job->result = jobs_commit(job, &job->error);
        job->next = next;
    }
}

int queue_write(queue_job *run, void *context, struct error *e)
{
    struct job job = {.run = run, .context = context};
    pthread_mutex_lock(&queue.lock);
    *queue.end = &job;
    queue.end = &job.next;
    if (!queue.leading) {
        queue.leading = true;
        job.state = JOB_LEADS;
    }
    while (job.state == JOB_WAITS)
        pthread_cond_wait(&queue.done, &queue.lock);
    if (job.state == JOB_LEADS) {
        /* All that have come so far, this one first. */
        struct job *first = queue.first, *last = first;
        for (size_t n = 1; last->next && n < GROUP_MAX; n++)
            last = last->next;
        queue.first = last->next;
        last->next = NULL;
        if (!queue.first)
            queue.end = &queue.first;
        pthread_mutex_unlock(&queue.lock);
        jobs_run(first);
        pthread_mutex_lock(&queue.lock);
        for (struct job *done = first, *next; done; done = next) {
            next = done->next;
            done->state = JOB_DONE;
        }
        if (queue.first)
            queue.first->state = JOB_LEADS;
        else
            queue.leading = false;
        pthread_cond_broadcast(&queue.done);
    }
    pthread_mutex_unlock(&queue.lock);
    if (job.result < 0 && e)
        *e = job.error;
    return job.result;
}
