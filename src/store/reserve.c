/* reserve.c - room kept back on the disk. See reserve.h. */
#include "store/reserve.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char path[512];
static bool released = true;

static void reserve_make(void)
{
    struct statvfs disk;
    int fd CLEANUP(fd_close) = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fstatvfs(fd, &disk) < 0 ||
        (uint64_t)disk.f_bavail * disk.f_frsize < 4u * RESERVE_SIZE)
        return;
    if (posix_fallocate(fd, 0, RESERVE_SIZE) == 0)
        released = false;
}

void reserve_init(const char *data_directory)
{
    pthread_mutex_lock(&lock);
    snprintf(path, sizeof(path), "%s/accounts/reserve", data_directory);
    reserve_make();
    pthread_mutex_unlock(&lock);
}

bool reserve_release(void)
{
    pthread_mutex_lock(&lock);
    bool had = !released && truncate(path, 0) == 0;
    if (had) {
        released = true;
        log_event(LOG_WARNING, "disk-full", "action=reserve-released bytes=%d", RESERVE_SIZE);
    }
    pthread_mutex_unlock(&lock);
    return had;
}

void reserve_keep(void)
{
    pthread_mutex_lock(&lock);
    if (released && path[0])
        reserve_make();
    pthread_mutex_unlock(&lock);
}
