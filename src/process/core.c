/* core.c - the hooks of process core.
 *
 * Everything is opened after the sandbox has closed: Landlock binds the threads that are made later, and
 * directory, trace and queue have some of their own.
 */
#include "process/core.h"

#include <limits.h>

#include "auth/sasl.h"
#include "base/log.h"
#include "delivery/changes.h"
#include "delivery/route.h"
#include "delivery/usage.h"
#include "queue/queue.h"
#include "run/process.h"
#include "run/settings.h"
#include "store/directory.h"
#include "store/trace.h"

static struct core_admin admin;

void core_admin(const struct core_admin *functions)
{
    admin = *functions;
}

static void settings_apply(const struct settings *settings)
{
    directory_scram_default((uint32_t)settings->login.scram_iterations);
    trace_max_age(settings->store.trace_age);
}

/* The only thing that is done before the sandbox closes. */
int core_prepare(struct error *e)
{
    return admin.prepare ? admin.prepare(e) : 0;
}

/* The services come last: whoever calls earlier is told to try again. */
int core_start(struct error *e)
{
    char data[PATH_MAX];
    snprintf(data, sizeof(data), "%s/core", process_data_directory());
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    if (directory_open(data, e) < 0 || trace_start(data, settings->store.trace_age, e) < 0)
        return -1;
    settings_apply(settings);
    trace_serve();
    usage_serve();
    if (changes_start(e) < 0 || queue_start(data, e) < 0)
        return -1;
    sasl_serve();
    route_serve();
    return admin.start ? admin.start(e) : 0;
}

void core_reload(void)
{
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    settings_apply(settings);
}

void core_stop(void)
{
    if (admin.stop)
        admin.stop();
    queue_stop();
    changes_stop();
    trace_stop();
    directory_close();
}

void core_status(struct buf *json)
{
    uint64_t messages = 0, recipients = 0, bytes = 0;
    struct error e;
    if (queue_counts(&messages, &recipients, &bytes, &e) < 0)
        return;
    buf_printf(json, "\"queue\": {\"messages\": %llu, \"recipients\": %llu, \"bytes\": %llu},",
               (unsigned long long)messages, (unsigned long long)recipients,
               (unsigned long long)bytes);
}
