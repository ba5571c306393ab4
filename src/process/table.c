/* table.c - the table of processes: who calls whom, and what each may touch. */
#include "process/table.h"

#include "message/charset.h"
#include "message/scan.h"
#include "process/box.h"
#include "process/core.h"
#include "process/edge.h"
#include "process/mx.h"

static unsigned scans(const struct settings *s)
{
    return (unsigned)s->server.scans;
}

static unsigned boxes(const struct settings *s)
{
    return (unsigned)s->server.boxes;
}

static int scan_prepare(struct error *e UNUSED)
{
    charset_open_all();
    return 0;
}

static int scan_start(struct error *e UNUSED)
{
    scan_serve();
    return 0;
}

/* In the order of starting: what others call comes first. */
const struct process processes[] = {
    {.kind = PROCESS_SCAN,
     .name = "scan",
     .count = scans,
     .sandbox = {.seccomp = "scan"},
     .prepare = scan_prepare,
     .start = scan_start},
    {.kind = PROCESS_BOX,
     .name = "box",
     .calls = 1 << PROCESS_SCAN | 1 << PROCESS_CORE,
     .count = boxes,
     .sandbox = {.seccomp = "box", .reads_data = true, .data_paths = {"accounts"}},
     .start = box_start,
     .stop = box_stop,
     .status = box_status},
    {.kind = PROCESS_CORE,
     .name = "core",
     .calls = 1 << PROCESS_BOX | 1 << PROCESS_SCAN | 1 << PROCESS_MX | 1 << PROCESS_EDGE |
              1 << PROCESS_CORE,
     .sandbox = {.seccomp = "core", .reads_data = true, .data_paths = {"core", "RUN"}},
     .prepare = core_prepare,
     .start = core_start,
     .reload = core_reload,
     .stop = core_stop,
     .status = core_status},
    {.kind = PROCESS_MX,
     .name = "mx",
     .calls = 1 << PROCESS_CORE | 1 << PROCESS_BOX | 1 << PROCESS_SCAN,
     .sandbox = {.seccomp = "mx"},
     .start = mx_start,
     .status = mx_status},
    {.kind = PROCESS_EDGE,
     .name = "edge",
     .calls = 1 << PROCESS_CORE | 1 << PROCESS_BOX,
     .sandbox = {.seccomp = "edge"},
     .start = edge_start,
     .status = edge_status},
};
const size_t process_count = countof(processes);
