/* house.h - a whole post office in one process, for tests and fuzz targets that run sessions: a domain, the
 * account alice, a store, a queue, workers, and every process's calls answered here.
 *
 * Once per process: workers are started once. What fails here ends the program, so that it serves cmocka
 * and libFuzzer alike.
 */
#ifndef TESTS_HOUSE_H
#define TESTS_HOUSE_H

#include <ftw.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "delivery/deliver.h"
#include "delivery/route.h"
#include "delivery/usage.h"
#include "message/scan.h"
#include "queue/queue.h"
#include "run/conn.h"
#include "run/ipc.h"
#include "run/process.h"
#include "run/settings.h"
#include "store/account.h"
#include "store/directory.h"
#include "store/trace.h"

static char house_directory[] = "/tmp/posthouse-house-XXXXXX";

/* Calls to core, box and scan come from this kind of process from now on. */
static inline void house_calls_from(enum process_kind caller)
{
    ipc_loopback(PROCESS_CORE, caller);
    ipc_loopback(PROCESS_BOX, caller);
    ipc_loopback(PROCESS_SCAN, caller);
}

static inline uint64_t house_account(const char *address, uint64_t quota)
{
    struct error e;
    uint64_t id;
    panic_unless(directory_account_add(str_from(address), STR(""), quota, &id, &e) == 0);
    return id;
}

/* The id of alice@example.test. */
static inline uint64_t house_make(const char *more_settings)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED), errors = BUF_INIT(BUF_UNBOUNDED);
    struct error e;
    panic_unless(mkdtemp(house_directory) != NULL);
    log_set_level(LOG_ERROR);
    buf_printf(&text, "[server]\nhost-name = mail.example.test\ndata-directory = %s\n%s\n",
               house_directory, more_settings);
    if (settings_load("house", buf_str(&text), &errors) < 0) {
        fwrite(errors.data, 1, errors.len, stderr);
        abort();
    }
    house_calls_from(PROCESS_MX);
    panic_unless(directory_open(house_directory, &e) == 0);
    panic_unless(directory_domain_add(STR("example.test"), 0, &e) == 0);
    uint64_t id = house_account("alice@example.test", 100000000);
    panic_unless(accounts_init(house_directory, 1 << 22, &e) == 0);
    panic_unless(trace_start(house_directory, 60000, &e) == 0);
    scan_serve();
    deliver_serve();
    panic_unless(queue_start(house_directory, &e) == 0);
    route_serve();
    trace_serve();
    usage_serve();
    workers_start(2, true);
    buf_free(&text);
    buf_free(&errors);
    return id;
}

static inline int house_remove_one(const char *path, const struct stat *st UNUSED, int type UNUSED,
                                   struct FTW *walk UNUSED)
{
    return remove(path);
}

/* Ends everything and removes the directory; how many sessions had to be left. */
static inline unsigned house_end(void)
{
    unsigned left = workers_stop(5000);
    queue_stop();
    trace_stop();
    accounts_shutdown();
    directory_close();
    nftw(house_directory, house_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return left;
}

static inline void house_deliver(uint64_t account, struct str text)
{
    struct error e;
    struct buf summary = BUF_INIT(BUF_UNBOUNDED);
    int fd = memfd_from(text, "message");
    scan_summarize(fd, text.len, &summary);
    struct delivery d = {.account = account,
                         .queue_id = STR("X"),
                         .recipient = STR("alice@example.test"),
                         .message_fd = fd,
                         .message_size = text.len,
                         .summary = buf_str(&summary),
                         .reverse_path = STR(""),
                         .detail = STR("")};
    panic_unless(deliver(&d, &e) == 0);
    fd_close(&fd);
    buf_free(&summary);
}

/* The account's INBOX as it is now (its strings are not kept). */
static inline struct mailbox house_inbox(uint64_t id)
{
    struct error e;
    struct account *account = NULL;
    struct account_tx *tx = NULL;
    struct arena arena = ARENA_INIT;
    struct mailbox mailbox;
    panic_unless(account_open(id, &account, &e) == 0 &&
                 account_begin(account, ACCOUNT_READ, &tx, &e) == 0 &&
                 mailbox_find(tx, STR("INBOX"), &arena, &mailbox, &e) == 0);
    account_rollback(&tx);
    account_close(&account);
    arena_free(&arena);
    return mailbox;
}

/* ------------------------------------------------------------------ listeners and clients */

/* A listening socket with an abstract name (no file is left behind), for the listener of that number in
 * the settings. */
static inline struct process_listener house_listener(size_t number, struct sockaddr_un *address)
{
    const struct settings *settings = settings_ref(); /* kept for the process's life */
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1, "posthouse-house-%d-%zu",
             (int)getpid(), number);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    panic_unless(bind(fd, (struct sockaddr *)address, sizeof(*address)) == 0 &&
                 listen(fd, 16) == 0);
    panic_unless(number < settings->listener_count);
    return (struct process_listener){.settings = &settings->listeners[number], .fd = fd};
}

static inline int house_connect(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    panic_unless(connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0);
    return fd;
}

/* Says all of it, ends its side, and reads what comes until the server ends its own. heard may be NULL. */
static inline void house_talk(int fd, const void *data, size_t size, struct buf *heard)
{
    char reply[65536];
    size_t sent = 0;
    ssize_t n;
    while (sent < size) {
        n = send(fd, (const char *)data + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            sent += (size_t)n;
            continue;
        }
        n = recv(fd, reply, sizeof(reply), 0);
        if (n <= 0)
            break;
        if (heard)
            buf_add_bytes(heard, reply, (size_t)n);
    }
    shutdown(fd, SHUT_WR);
    while ((n = recv(fd, reply, sizeof(reply), 0)) > 0)
        if (heard)
            buf_add_bytes(heard, reply, (size_t)n);
    close(fd);
}

static inline void house_say(int fd, struct str text)
{
    while (text.len) {
        ssize_t n = send(fd, text.data, text.len, MSG_NOSIGNAL);
        panic_unless(n > 0);
        text = str_from_pos(text, (size_t)n);
    }
}

/* Replaces *heard by what comes until it ends in end (or, with an empty end, until the server ends its
 * side). false: it did not come within five seconds, or the server ended before. */
static inline bool house_hear(int fd, struct buf *heard, struct str end)
{
    char byte;
    buf_reset(heard);
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 5000) != 1)
            return false;
        if (recv(fd, &byte, 1, 0) != 1)
            return end.len == 0;
        buf_add_char(heard, byte);
        if (end.len && str_ends(buf_str(heard), end))
            return true;
    }
}

#endif
