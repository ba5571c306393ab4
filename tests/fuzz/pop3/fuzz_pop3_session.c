/* Any bytes as an POP3 session after the login, with a store behind it. */
#include "../../house.h"
#include "auth/attach.h"
#include "pop3/session.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t account;

static void messages_make(void)
{
    house_deliver(
        account,
        STR("Subject: one\r\nFrom: a <a@b.test>\r\nMessage-ID: <1@b.test>\r\n\r\nbody one\r\n"));
    house_deliver(
        account,
        STR("Subject: two\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst\r\n--b\r\n"
            "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninside\r\n--b--\r\n"));
    house_deliver(account, STR("no header at all\r\n"));
}

int LLVMFuzzerInitialize(int *argc UNUSED, char ***argv UNUSED)
{
    account = house_make("[limits]\nfree-space = 1M");
    messages_make();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned runs;
    int ends[2];
    struct error e = {0};
    struct attach a = {.protocol = ATTACH_POP3,
                       .tag = STR(""),
                       .input = STR(""),
                       .peer = STR("local"),
                       .listener = STR("pop3"),
                       .session = STR("fuzz"),
                       .account = account,
                       .address = STR("alice@example.test"),
                       .quota = 100000000};
    if (++runs % 500 == 0) /* sessions delete what they find */
        messages_make();
    panic_unless(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    panic_unless(pop3_session_start(&a, ends[1], &e) == 0);
    house_talk(ends[0], data, size, NULL);
    return 0;
}
