/* Any bytes as an SMTP or LMTP session (the first byte says which), from the greeting into the store. */
#include "../../house.h"
#include "smtp/server.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sockaddr_un addresses[2];

int LLVMFuzzerInitialize(int *argc UNUSED, char ***argv UNUSED)
{
    static struct process_listener listeners[2];
    house_make(
        "[limits]\nfree-space = 1M\nmessage-size = 100K\nheader-size = 50K\n[smtp]\ngreeting-delay = 0\n"
        "[listener smtp]\nprotocol = smtp\naddress = /tmp/unused\n[listener lmtp]\nprotocol = lmtp\naddress = /tmp/unused2");
    for (size_t i = 0; i < 2; i++) {
        listeners[i] = house_listener(i, &addresses[i]);
        smtp_listen(&listeners[i]);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    int fd = house_connect(&addresses[data[0] % 2]);
    char greeting[512];
    if (recv(fd, greeting, sizeof(greeting), 0) > 0)
        house_talk(fd, data + 1, size - 1, NULL);
    else
        close(fd);
    return 0;
}
