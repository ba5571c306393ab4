/* ipc_client.c - calling another process.
 *
 * Each thread has its own connection to each peer, so a call is one sendmsg and one recvmsg and needs
 * no lock. A connection belongs to a generation of its peer: when master tells of a new process, the
 * generation goes up, and a thread that notices makes its connection anew: a socketpair of which one
 * end goes over the control socket.
 *
 * A dead peer shows as end of file or an error at once; one that hangs, by the socket's receive
 * timeout. In each case the connection is closed, so that a late answer is never taken for another.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "run/ipc_internal.h"

enum { TIMEOUT_DEFAULT_MS = 30000 };

struct peer {
    int control_fd;              /* under peers_lock; -1 = none */
    _Atomic uint32_t generation; /* 0 = never told */
};

static pthread_mutex_t peers_lock = PTHREAD_MUTEX_INITIALIZER;
static struct peer *_Atomic peers[PROCESS_KIND_COUNT]; /* IPC_PEERS_MAX each, made at first use */
static _Atomic unsigned peer_counts[PROCESS_KIND_COUNT];

/* 1 + the kind that calls to this peer seem to come from; 0: calls go to another process. */
static _Atomic unsigned loopback[PROCESS_KIND_COUNT];

const char *process_kind_name(enum process_kind kind)
{
    static const char names[][8] = {"master", "core", "scan", "box", "mx", "edge", "command"};
    return (unsigned)kind < countof(names) ? names[kind] : "unknown";
}

/* --------------------------------------------------------------------------------- peers */

static struct peer *peers_of(enum process_kind kind) /* peers_lock is held */
{
    struct peer *all = atomic_load(&peers[kind]);
    if (!all) {
        all = mem_alloc_array(IPC_PEERS_MAX, sizeof(*all));
        for (size_t i = 0; i < IPC_PEERS_MAX; i++)
            all[i].control_fd = -1;
        atomic_store(&peers[kind], all);
    }
    return all;
}

int ipc_peer_set(enum process_kind peer, unsigned index, int control_fd)
{
    if ((unsigned)peer >= PROCESS_KIND_COUNT || index >= IPC_PEERS_MAX) {
        fd_close(&control_fd);
        return -1;
    }
    pthread_mutex_lock(&peers_lock);
    struct peer *p = &peers_of(peer)[index];
    fd_close(&p->control_fd);
    p->control_fd = control_fd;
    p->generation++;
    pthread_mutex_unlock(&peers_lock);
    return 0;
}

void ipc_peer_count_set(enum process_kind peer, unsigned count)
{
    if ((unsigned)peer < PROCESS_KIND_COUNT)
        atomic_store(&peer_counts[peer], MIN(count, (unsigned)IPC_PEERS_MAX));
}

unsigned ipc_peer_count(enum process_kind peer)
{
    return MAX(atomic_load(&peer_counts[peer]), 1u);
}

/* ------------------------------------------------------------- this thread's connections */

struct end {
    int fd; /* -1 = none */
    uint32_t generation;
    uint32_t sequence;
    unsigned timeout_ms; /* what the socket is set to */
};
struct ends {
    struct end *kinds[PROCESS_KIND_COUNT]; /* IPC_PEERS_MAX each */
};

static pthread_key_t ends_key;
static pthread_once_t ends_once = PTHREAD_ONCE_INIT;

static void ends_free(void *memory)
{
    struct ends *all = memory;
    for (size_t kind = 0; kind < PROCESS_KIND_COUNT; kind++) {
        for (size_t i = 0; all->kinds[kind] && i < IPC_PEERS_MAX; i++)
            fd_close(&all->kinds[kind][i].fd);
        mem_free(all->kinds[kind]);
    }
    mem_free(all);
}

static void ends_key_make(void)
{
    if (pthread_key_create(&ends_key, ends_free) != 0)
        fatal("pthread_key_create");
}

static struct end *end_of(enum process_kind kind, unsigned index)
{
    static _Thread_local struct ends *all;
    if (!all) {
        pthread_once(&ends_once, ends_key_make);
        all = mem_alloc(sizeof(*all));
        pthread_setspecific(ends_key, all);
    }
    if (!all->kinds[kind]) {
        all->kinds[kind] = mem_alloc_array(IPC_PEERS_MAX, sizeof(struct end));
        for (size_t i = 0; i < IPC_PEERS_MAX; i++)
            all->kinds[kind][i].fd = -1;
    }
    return &all->kinds[kind][index];
}

/* Sends theirs over the peer's control socket and notes the generation that it went to. */
static int end_hand_over(struct peer *p, struct end *end, int theirs)
{
    struct packet_header header = {.kind = PACKET_TELL};
    struct ipc_out o = {.failed = false};
    ipc_put_fd(&o, theirs, false);
    pthread_mutex_lock(&peers_lock);
    int result = p->control_fd < 0 ? -1 : packet_send(p->control_fd, &header, &o, MSG_DONTWAIT);
    end->generation = p->generation;
    pthread_mutex_unlock(&peers_lock);
    ipc_out_free(&o);
    return result;
}

/* A connection to the peer as it is now. */
static int end_connect(struct peer *p, struct end *end)
{
    if (end->fd >= 0 && end->generation == atomic_load(&p->generation))
        return 0;
    fd_close(&end->fd);
    int ends[2];
    if (packet_pair(ends) < 0)
        return -1;
    int theirs CLEANUP(fd_close) = ends[1];
    end->fd = ends[0];
    end->timeout_ms = 0;
    if (end_hand_over(p, end, theirs) == 0)
        return 0;
    fd_close(&end->fd);
    return -1;
}

static void end_set_timeout(struct end *end, unsigned timeout_ms)
{
    if (end->timeout_ms == timeout_ms)
        return;
    struct timeval t = {.tv_sec = timeout_ms / 1000, .tv_usec = (long)(timeout_ms % 1000) * 1000};
    if (setsockopt(end->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) == 0 &&
        setsockopt(end->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) == 0)
        end->timeout_ms = timeout_ms;
}

/* --------------------------------------------------------------------------------- calls */

static int unreachable(enum process_kind peer, struct error *e, const char *why)
{
    error_set(e, ERROR_TEMPORARY, "temporarily unavailable, try again later");
    return error_cause(e, "%s: %s", process_kind_name(peer), why);
}

/* Did the connection break before the peer read the request? A Unix socket that is closed with
 * unread packets gives ECONNRESET to the other side, and a call is the last packet on its end. */
static bool is_unread(int error)
{
    return error == EPIPE || error == ECONNRESET;
}

/* One attempt. *again: the peer never saw the request. */
static int call_once(enum process_kind kind, struct peer *p, struct end *end,
                     enum ipc_method method, const struct ipc_out *request, unsigned timeout_ms,
                     struct ipc_in *reply, struct error *e, bool *again)
{
    if (end_connect(p, end) < 0)
        return unreachable(kind, e, strerror(errno));
    end_set_timeout(end, timeout_ms);
    struct packet_header header = {
        .kind = PACKET_CALL, .method = (uint16_t)method, .sequence = ++end->sequence};
    struct packet_header answer;
    if (packet_send(end->fd, &header, request, 0) < 0) {
        if (errno == EMSGSIZE) { /* ours; the connection is as it was */
            error_set(e, ERROR_INTERNAL, "internal error");
            return error_cause(e, "%s: request %d does not fit a packet", process_kind_name(kind),
                               method);
        }
        *again = is_unread(errno);
        fd_close(&end->fd);
        return unreachable(kind, e, strerror(errno));
    }
    int got = packet_receive(end->fd, &answer, reply, 0);
    if (got <= 0) {
        *again = got < 0 && is_unread(errno);
        fd_close(&end->fd);
        return unreachable(kind, e,
                           got == 0          ? "died while it was asked"
                           : errno == EAGAIN ? "no answer in time"
                                             : strerror(errno));
    }
    if (answer.sequence == header.sequence && answer.kind == PACKET_REPLY)
        return 0;
    if (answer.sequence == header.sequence && answer.kind == PACKET_ERROR) {
        packet_get_error(reply, e);
    } else {
        fd_close(&end->fd);
        unreachable(kind, e, "an answer that does not fit the question");
    }
    ipc_in_free(reply);
    return -1;
}

static int call_here(enum process_kind peer, enum ipc_method method, struct ipc_out *request,
                     struct ipc_in *reply, struct error *e)
{
    struct ipc_in in;
    struct ipc_out out = {.failed = false};
    packet_turn(request, &in);
    in.caller = (enum process_kind)(loopback[peer] - 1);
    int result = ipc_dispatch((uint16_t)method, &in, &out, e);
    ipc_in_free(&in);
    if (result == 0)
        packet_turn(&out, reply);
    ipc_out_free(&out);
    return result;
}

int ipc_call(enum process_kind peer, unsigned index, enum ipc_method method,
             struct ipc_out *request, unsigned timeout_ms, struct ipc_in *reply, struct error *e)
{
    int result;
    panic_unless((unsigned)peer < PROCESS_KIND_COUNT && index < IPC_PEERS_MAX);
    struct peer *all = atomic_load(&peers[peer]);
    *reply = (struct ipc_in){.failed = false};
    if (loopback[peer]) {
        result = call_here(peer, method, request, reply, e);
    } else if (!all || !all[index].generation) {
        result = unreachable(peer, e, "not known to this process");
    } else {
        bool again = false;
        struct end *end = end_of(peer, index);
        timeout_ms = timeout_ms ? timeout_ms : TIMEOUT_DEFAULT_MS;
        result = call_once(peer, &all[index], end, method, request, timeout_ms, reply, e, &again);
        if (result < 0 && again)
            result =
                call_once(peer, &all[index], end, method, request, timeout_ms, reply, e, &again);
    }
    ipc_out_free(request);
    return result;
}

void ipc_tell(enum process_kind peer, unsigned index, enum ipc_method method,
              struct ipc_out *message)
{
    struct packet_header header = {.kind = PACKET_TELL, .method = (uint16_t)method};
    panic_unless((unsigned)peer < PROCESS_KIND_COUNT && index < IPC_PEERS_MAX);
    struct peer *all = atomic_load(&peers[peer]);
    struct error ignored;
    struct ipc_in reply;
    if (loopback[peer]) {
        if (call_here(peer, method, message, &reply, &ignored) == 0)
            ipc_in_free(&reply);
    } else if (all && all[index].generation) {
        struct end *end = end_of(peer, index);
        if (end_connect(&all[index], end) == 0 &&
            packet_send(end->fd, &header, message, MSG_DONTWAIT) < 0 && is_unread(errno))
            fd_close(&end->fd);
    }
    ipc_out_free(message);
}

void ipc_loopback(enum process_kind peer, enum process_kind as_caller)
{
    atomic_store(&loopback[peer], 1 + (unsigned)as_caller);
}
