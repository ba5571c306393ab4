/* process.h - the process table, and what a child process knows of itself.
 *
 * `posthouse serve` is master. It forks and executes the same binary once per row (and index), with
 * one control socket; over it the child gets its configuration (a memfd with the text of the file,
 * parsed by each process with the same table), listening sockets, certificates, directories'
 * descriptors or paths, and a control socket per peer that it may call. When the child has all, it
 * closes its sandbox and reports ready.
 */
#ifndef RUN_PROCESS_H
#define RUN_PROCESS_H

#include "base/error.h"
#include "run/ipc.h"
#include "run/settings.h"

/* What a process may still do once its sandbox is closed. */
struct sandbox {
    const char *seccomp; /* name of the system call list in sandbox.c: "mx", "edge", "scan", ... */
    bool reads_data;     /* Landlock: DATA below the named folders/files, else no file at all */
    const char *data_paths[6]; /* relative to DATA; "RUN" is the run directory; NULL ends */
};

struct process {
    enum process_kind kind;
    const char *name;
    unsigned calls;                             /* mask of 1 << process_kind that it calls */
    unsigned (*count)(const struct settings *); /* how many; NULL = 1 */
    struct sandbox sandbox;
    /* In the child. prepare: before the sandbox closes and before there are threads (iconv's tables).
     * start: inside it, opens databases, registers services, starts listeners. reload: new settings are
     * current. stop: after the workers have stopped (close databases). Any may be NULL. */
    int (*prepare)(struct error *e);
    int (*start)(struct error *e);
    void (*reload)(void);
    void (*stop)(void);
    void (*status)(struct buf *json); /* adds members `"name": value,` to the status object */
};

/* What this process is. */
enum process_kind process_self(void);
unsigned process_index(void);
const char *process_data_directory(void); /* DATA, absolute */

/* core: master's table of processes as a JSON array, the last one it told. */
void process_master_status(struct buf *json);
uint64_t process_memory_kb(void); /* resident, of this process */

/* A command that owns DATA says so, for what asks process_self() and process_data_directory(). */
void process_command_setup(const char *data_directory);

/* A listening socket that master bound for this process, in the order of the settings. */
struct process_listener {
    const struct settings_listener *settings; /* valid for the process's life */
    int fd;
};
size_t process_listeners(const struct process_listener **out);

/* Ends this process in the orderly way, after what is in flight; master starts a fresh one. */
void process_retire(void);

/* 32 random bytes that master makes at start and gives to core and box only: core signs login tickets
 * with them, box checks. */
struct str process_ticket_key(void);

/* Runs master in the foreground until it is told to stop; the exit status. rows is process/'s table. */
int master_run(const struct process *rows, size_t count, const char *config_path);

/* The child's main: called when the binary is started with "--process". The exit status. */
int process_run(const struct process *rows, size_t count, int argc, char **argv);

#endif
