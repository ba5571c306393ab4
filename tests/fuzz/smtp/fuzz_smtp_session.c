/* Any bytes as an SMTP or LMTP session (the first byte says which), from the greeting into the store. */
#include "../world.h"
#include "smtp/server.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sockaddr_un addresses[2] = {{.sun_family = AF_UNIX}, {.sun_family = AF_UNIX}};

int LLVMFuzzerInitialize(int *argc UNUSED, char ***argv UNUSED)
{
    static struct process_listener listeners[2];
    world_make(
        "[limits]\nfree-space = 1M\nmessage-size = 100K\nheader-size = 50K\n[smtp]\ngreeting-delay = 0\n"
        "[listener smtp]\nprotocol = smtp\naddress = /tmp/unused\n[listener lmtp]\nprotocol = lmtp\naddress = /tmp/unused2");
    const struct settings *settings = settings_ref();
    for (int i = 0; i < 2; i++) {
        /* An abstract name: no file is left behind. */
        snprintf(addresses[i].sun_path + 1, sizeof(addresses[i].sun_path) - 1,
                 "posthouse-fuzz-%d-%d", (int)getpid(), i);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        panic_unless(bind(fd, (struct sockaddr *)&addresses[i], sizeof(addresses[i])) == 0 &&
                     listen(fd, 16) == 0);
        listeners[i] = (struct process_listener){.settings = &settings->listeners[i], .fd = fd};
        smtp_listen(&listeners[i]);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const struct sockaddr_un *address = &addresses[data[0] % 2];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    panic_unless(connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0);
    char greeting[512];
    if (recv(fd, greeting, sizeof(greeting), 0) > 0)
        world_talk(fd, data + 1, size - 1);
    else
        close(fd);
    return 0;
}
