/* main.c - one table of subcommands. */
#include "base/log.h"

int main(void)
{
    log_event(LOG_INFO, "start", "version=%s", POSTHOUSE_VERSION);
    return 0;
}
