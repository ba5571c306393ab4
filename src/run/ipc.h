/* ipc.h - synchronous calls between the processes.
 *
 * One SOCK_SEQPACKET pair per calling thread and served process: the thread makes its pair at its
 * first call and sends one end over the control socket that master gave this process for that peer
 * (renewed after a restart). A packet is a method number and typed, length-checked fields; what is
 * large travels as a sealed memfd. The receiver trusts nothing: after an inconsistent field every
 * get gives zero or empty, and ipc_get_end() says so.
 *
 * The calls of worker threads form no cycle (else all workers could wait for each other):
 *     mx, edge -> core;  mx, edge -> box;  mx, box -> scan;  core's own threads (queue runner, admin)
 *     -> everything;  box's background thread -> core.
 */
#ifndef RUN_IPC_H
#define RUN_IPC_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum process_kind {
    PROCESS_MASTER,
    PROCESS_CORE,
    PROCESS_SCAN,
    PROCESS_BOX,
    PROCESS_MX,
    PROCESS_EDGE,
    PROCESS_COMMAND, /* a posthouse command that is itself the owner of DATA */
    PROCESS_KIND_COUNT
};
const char *process_kind_name(enum process_kind kind);

/* Method numbers, unique over all services. The room that defines the call owns the number. */
enum ipc_method {
    IPC_STATUS = 1, /* every process: counters as JSON text */
    IPC_SCAN_SUMMARIZE = 10,
    IPC_SCAN_TEXT,
    IPC_ROUTE_RECIPIENT = 20, /* core */
    IPC_QUEUE_ACCEPT,         /* core */
    IPC_TRACE,                /* core, one way */
    IPC_AUTH_START = 30,      /* core */
    IPC_AUTH_STEP,
    IPC_AUTH_MECHANISMS,
    IPC_DELIVER = 40,       /* box */
    IPC_SESSION_ATTACH,     /* box */
    IPC_ACCOUNT_CONTROL,    /* box: create, delete, verify, repair, end sessions, usage */
    IPC_ACCOUNT_USAGE = 50, /* core, from box's background thread */
    IPC_CONN_RETURN,        /* edge */
    IPC_CORE_CONTROL = 60,  /* admin socket and tests */
};

enum {
    IPC_PACKET_MAX = 64 * 1024,
    IPC_INLINE_MAX = 32 * 1024, /* larger blobs go by memfd */
    IPC_FDS_MAX = 4,
    IPC_PEERS_MAX = 64, /* processes of one kind */
};

struct ipc_out {
    struct buf bytes;
    int fds[IPC_FDS_MAX];
    bool owned[IPC_FDS_MAX]; /* ours to close: put with take, or made here */
    unsigned fd_count;
    bool failed;
};
struct ipc_in {
    struct str rest;      /* not yet read */
    char *packet;         /* owned bytes, or NULL */
    int fds[IPC_FDS_MAX]; /* those not yet taken are closed by ipc_in_free */
    unsigned fd_count, fd_next;
    struct arena arena; /* for blobs that came by memfd; freed with it */
    bool failed;
    enum process_kind caller; /* for the server */
    unsigned caller_index;
};

void ipc_out_free(struct ipc_out *o); /* zero-initialised is empty; fits CLEANUP() */
void ipc_in_free(struct ipc_in *in);

void ipc_put_bool(struct ipc_out *o, bool value);
void ipc_put_u32(struct ipc_out *o, uint32_t value);
void ipc_put_u64(struct ipc_out *o, uint64_t value);
void ipc_put_i64(struct ipc_out *o, int64_t value);
void ipc_put_str(struct ipc_out *o, struct str value);
/* Bytes of any size: inline when small, by sealed memfd otherwise. */
void ipc_put_blob(struct ipc_out *o, struct str value);
/* A descriptor; the callee gets its own copy. take: this side's copy is closed after sending. */
void ipc_put_fd(struct ipc_out *o, int fd, bool take);

bool ipc_get_bool(struct ipc_in *in);
uint32_t ipc_get_u32(struct ipc_in *in);
uint64_t ipc_get_u64(struct ipc_in *in);
int64_t ipc_get_i64(struct ipc_in *in);
struct str ipc_get_str(struct ipc_in *in, size_t max);  /* view, as long as in lives */
struct str ipc_get_blob(struct ipc_in *in, size_t max); /* view, as long as in lives */
int ipc_get_fd(struct ipc_in *in);                      /* the caller owns it; -1 when missing */
int ipc_get_end(struct ipc_in *in) MUST_CHECK; /* 0, or -1: something was missing or left */

/* Calls peer number index and waits for the answer (at most timeout_ms; 0 = 30 s). 0: reply is the
 * answer, to be freed. -1: *e is the callee's error, or ERROR_TEMPORARY when it cannot be reached,
 * died or did not answer. A request that the peer may have read is never sent again (one that it did
 * not, because it was just being replaced, is). Frees request's contents in any case. */
int ipc_call(enum process_kind peer, unsigned index, enum ipc_method method,
             struct ipc_out *request, unsigned timeout_ms, struct ipc_in *reply, struct error *e);
/* One way: sent and forgotten; dropped when the peer does not take it now. */
void ipc_tell(enum process_kind peer, unsigned index, enum ipc_method method,
              struct ipc_out *message);

/* How many processes of a kind there are (box, scan); at least 1. */
unsigned ipc_peer_count(enum process_kind peer);

/* A served method. serve() reads the request, does the work (may block) and writes the reply; 0, or
 * -1 with *e set, which is what the caller gets. callers is a mask of 1 << process_kind. */
struct ipc_service {
    enum ipc_method method;
    unsigned callers;
    int (*serve)(struct ipc_in *request, struct ipc_out *reply, struct error *e);
};
void ipc_serve(const struct ipc_service *rows, size_t count); /* rows are static */

/* Lets commands that own DATA, and tests, use the same calls inside one process: afterwards calls to
 * peer are answered by the rows registered here, in the calling thread, through the same encoding. */
void ipc_loopback(enum process_kind peer, enum process_kind as_caller);

/* Sealed memfds. */
int memfd_make(const char *name);                  /* -1 with errno; fatal() never */
int memfd_seal(int fd);                            /* no more writing, growing, shrinking */
int memfd_from(struct str data, const char *name); /* sealed; -1 with errno */
/* Checks the seals and gives its bytes, at most max: mapped read-only, or copied when they are few.
 * 0 or -1 with errno. Given back with memfd_unmap(). */
int memfd_map(int fd, size_t max, struct str *out);
void memfd_unmap(struct str *mapped);

#endif
