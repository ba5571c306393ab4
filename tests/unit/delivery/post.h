/* post.h - a whole post office in one process for tests of delivery and queue: a data directory in /tmp,
 * settings, the directory, accounts, and the calls answered here (ipc_loopback).
 */
#ifndef TESTS_POST_H
#define TESTS_POST_H

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "delivery/control.h"
#include "delivery/deliver.h"
#include "delivery/route.h"
#include "delivery/usage.h"
#include "message/summary.h"
#include "queue/queue.h"
#include "run/ipc.h"
#include "run/settings.h"
#include "store/account.h"
#include "store/directory.h"
#include "unit.h"

static char post_directory[64];

static inline int post_remove(const char *path, const struct stat *st UNUSED, int type UNUSED,
                              struct FTW *walk UNUSED)
{
    return remove(path);
}

static inline void post_settings(const char *more)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED), errors = BUF_INIT(BUF_UNBOUNDED);
    buf_printf(&text,
               "[server]\nhost-name = mail.example.test\ndata-directory = %s\n"
               "%s\n%s\n",
               post_directory, strstr(more, "[limits]") ? "" : "[limits]\nfree-space = 1M", more);
    if (settings_load("test", buf_str(&text), &errors) < 0)
        fail_msg("settings: " STR_FMT, STR_ARG(errors));
    buf_free(&text);
    buf_free(&errors);
}

static inline void post_directory_make(void)
{
    snprintf(post_directory, sizeof(post_directory), "/tmp/posthouse-test-XXXXXX");
    assert_non_null(mkdtemp(post_directory));
    post_settings("");
}

static inline void post_directory_remove(void)
{
    nftw(post_directory, post_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* What core and box open; ipc answered in this process. */
static inline void post_open(enum process_kind caller)
{
    struct error e;
    ipc_loopback(PROCESS_CORE, caller);
    ipc_loopback(PROCESS_BOX, caller);
    assert_int_equal(directory_open(post_directory, &e), 0);
    assert_int_equal(accounts_init(post_directory, 8 << 20, &e), 0);
    deliver_serve();
    route_serve();
}

static inline void post_close(void)
{
    accounts_shutdown();
    directory_close();
}

static inline uint64_t post_account(const char *address, uint64_t quota)
{
    struct error e;
    uint64_t id = 0;
    if (directory_account_add(str_from(address), STR(""), quota, &id, &e) < 0)
        fail_msg("%s: %s", address, e.text);
    return id;
}

static inline void post_domain(void)
{
    struct error e;
    assert_int_equal(directory_domain_add(STR("example.test"), 0, &e), 0);
}

/* A message as mx hands it over. */
struct post_message {
    int fd;
    struct buf text, summary;
};

static inline struct post_message post_message(const char *subject, size_t body)
{
    struct post_message m = {.text = BUF_INIT(BUF_UNBOUNDED), .summary = BUF_INIT(BUF_UNBOUNDED)};
    buf_printf(&m.text, "Return-Path: <a@b.test>\r\nMessage-ID: <%s@b.test>\r\nSubject: %s\r\n\r\n",
               subject, subject);
    for (size_t i = 0; i < body; i += 10)
        buf_add_literal(&m.text, "12345678\r\n");
    summary_build(buf_str(&m.text), &summary_limits_default, &m.summary);
    m.fd = memfd_from(buf_str(&m.text), "test");
    assert_true(m.fd >= 0);
    return m;
}

static inline void post_message_free(struct post_message *m)
{
    fd_close(&m->fd);
    buf_free(&m->text);
    buf_free(&m->summary);
}

static inline int post_deliver(const struct post_message *m, uint64_t account, uint64_t quota,
                               const char *queue_id, const char *detail, struct error *e)
{
    struct delivery d = {.account = account,
                         .quota = quota,
                         .queue_id = str_from(queue_id),
                         .repeatable = true,
                         .recipient = STR("alice@example.test"),
                         .reverse_path = STR("a@b.test"),
                         .detail = str_from(detail),
                         .message_fd = m->fd,
                         .message_size = m->text.len,
                         .summary = buf_str(&m->summary),
                         .received = clock_real_seconds()};
    return deliver(&d, e);
}

/* How many messages a mailbox has. */
static inline uint64_t post_count(uint64_t id, const char *name)
{
    struct error e;
    struct account *account = NULL;
    struct account_tx *tx = NULL;
    struct arena arena = ARENA_INIT;
    struct mailbox mailbox;
    assert_int_equal(account_open(id, &account, &e), 0);
    assert_int_equal(account_begin(account, ACCOUNT_READ, &tx, &e), 0);
    assert_int_equal(mailbox_find(tx, str_from(name), &arena, &mailbox, &e), 0);
    account_rollback(&tx);
    account_close(&account);
    arena_free(&arena);
    return mailbox.messages;
}

static inline int post_accept(const struct post_message *m, const char *queue_id,
                              const char *const *recipients, size_t count, struct error *e)
{
    struct queue_recipient list[64] = {0};
    assert_true(count <= 64);
    for (size_t i = 0; i < count; i++)
        list[i].address = str_from(recipients[i]);
    struct queue_message q = {.id = str_from(queue_id),
                              .reverse_path = STR("a@b.test"),
                              .received = clock_real_seconds(),
                              .origin = STR("smtp 192.0.2.1"),
                              .recipients = list,
                              .recipient_count = count,
                              .message_fd = m->fd,
                              .message_size = m->text.len,
                              .summary = buf_str(&m->summary)};
    return queue_accept(&q, e);
}

#endif
