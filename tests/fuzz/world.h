/* world.h - for fuzz targets that run a session: a domain, an account, a store, and every process's calls
 * answered in this one.
 */
#ifndef FUZZ_WORLD_H
#define FUZZ_WORLD_H

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
#include "run/settings.h"
#include "store/account.h"
#include "store/directory.h"
#include "store/trace.h"

static inline uint64_t world_make(const char *more_settings)
{
    static char directory[] = "/tmp/posthouse-fuzz-XXXXXX";
    struct buf text = BUF_INIT(BUF_UNBOUNDED), errors = BUF_INIT(BUF_UNBOUNDED);
    struct error e;
    uint64_t id;
    panic_unless(mkdtemp(directory) != NULL);
    log_set_level(LOG_ERROR);
    buf_printf(&text, "[server]\nhost-name = mail.example.test\ndata-directory = %s\n%s\n",
               directory, more_settings);
    if (settings_load("fuzz", buf_str(&text), &errors) < 0) {
        fwrite(errors.data, 1, errors.len, stderr);
        abort();
    }
    ipc_loopback(PROCESS_CORE, PROCESS_MX);
    ipc_loopback(PROCESS_BOX, PROCESS_MX);
    ipc_loopback(PROCESS_SCAN, PROCESS_MX);
    panic_unless(directory_open(directory, &e) == 0);
    panic_unless(directory_domain_add(STR("example.test"), 0, &e) == 0);
    panic_unless(directory_account_add(STR("alice@example.test"), STR(""), 100000000, &id, &e) ==
                 0);
    panic_unless(accounts_init(directory, 1 << 22, &e) == 0);
    panic_unless(trace_start(directory, 60000, &e) == 0);
    scan_serve();
    deliver_serve();
    panic_unless(queue_start(directory, &e) == 0);
    route_serve();
    trace_serve();
    usage_serve();
    workers_start(2, true);
    buf_free(&text);
    buf_free(&errors);
    return id;
}

/* Says all of it, ends its side, and reads what comes until the server ends its own. */
static inline void world_talk(int fd, const uint8_t *data, size_t size)
{
    char reply[65536];
    size_t sent = 0;
    while (sent < size) {
        ssize_t n = send(fd, data + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            sent += (size_t)n;
        else if (recv(fd, reply, sizeof(reply), 0) <= 0)
            break;
    }
    shutdown(fd, SHUT_WR);
    while (recv(fd, reply, sizeof(reply), 0) > 0)
        ;
    close(fd);
}

#endif
