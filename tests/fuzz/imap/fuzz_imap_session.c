/* Any bytes as an IMAP session after the login, with a store behind it. */
#include "../world.h"
#include "auth/attach.h"
#include "imap/session.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t account;

static void message_add(struct str text)
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

static void messages_make(void)
{
    message_add(
        STR("Subject: one\r\nFrom: a <a@b.test>\r\nMessage-ID: <1@b.test>\r\n\r\nbody one\r\n"));
    message_add(STR(
        "Subject: two\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst\r\n--b\r\n"
        "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninside\r\n--b--\r\n"));
    message_add(STR("no header at all\r\n"));
}

int LLVMFuzzerInitialize(int *argc UNUSED, char ***argv UNUSED)
{
    account = world_make("[limits]\nfree-space = 1M");
    messages_make();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned runs;
    int ends[2];
    struct error e = {0};
    struct attach a = {.protocol = ATTACH_IMAP,
                       .tag = STR("t"),
                       .input = STR(""),
                       .peer = STR("local"),
                       .listener = STR("imap"),
                       .session = STR("fuzz"),
                       .account = account,
                       .address = STR("alice@example.test"),
                       .quota = 100000000};
    if (++runs % 2000 == 0) /* sessions delete what they find */
        messages_make();
    panic_unless(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    panic_unless(imap_session_start(&a, ends[1], &e) == 0);
    world_talk(ends[0], data, size);
    return 0;
}
