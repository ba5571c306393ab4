/* attach.c - the hand-over of a connection from edge to box. See attach.h. */
#include "auth/attach.h"

#include "auth/ticket.h"
#include "base/log.h"
#include "run/ipc.h"

enum { TEXT_MAX = 256, INPUT_MAX = 1024 * 1024 };

int session_attach(const struct attach *a, int fd, struct error *e)
{
    struct ipc_out request = {0};
    struct ipc_in reply CLEANUP(ipc_in_free) = {0};
    uint64_t account;
    if (ticket_account(a->ticket, &account) < 0) {
        fd_close(&fd);
        error_set(e, ERROR_INTERNAL, "The login was not understood");
        return error_cause(e, "core gave a ticket without an account");
    }
    ipc_put_u32(&request, a->protocol);
    ipc_put_str(&request, a->ticket);
    ipc_put_str(&request, a->tag);
    ipc_put_blob(&request, a->input);
    ipc_put_bool(&request, a->tls);
    ipc_put_bool(&request, a->plaintext);
    ipc_put_str(&request, a->mechanisms);
    ipc_put_str(&request, a->peer);
    ipc_put_str(&request, a->listener);
    ipc_put_str(&request, a->session);
    ipc_put_fd(&request, fd, true);
    unsigned index = (unsigned)(account % ipc_peer_count(PROCESS_BOX));
    return ipc_call(PROCESS_BOX, index, IPC_SESSION_ATTACH, &request, 0, &reply, e);
}

/* ------------------------------------------------------------------ box */

static attach_handler *attach_handlers[ATTACH_PROTOCOL_COUNT];

static int attach_answer(struct ipc_in *request, struct ipc_out *reply UNUSED, struct error *e)
{
    struct attach a = {.protocol = (enum attach_protocol)ipc_get_u32(request)};
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct ticket ticket;
    a.ticket = ipc_get_str(request, TICKET_MAX);
    a.tag = ipc_get_str(request, TEXT_MAX);
    a.input = ipc_get_blob(request, INPUT_MAX);
    a.tls = ipc_get_bool(request);
    a.plaintext = ipc_get_bool(request);
    a.mechanisms = ipc_get_str(request, TEXT_MAX);
    a.peer = ipc_get_str(request, TEXT_MAX);
    a.listener = ipc_get_str(request, TEXT_MAX);
    a.session = ipc_get_str(request, TEXT_MAX);
    int fd = ipc_get_fd(request);
    if (ipc_get_end(request) < 0 || (unsigned)a.protocol >= ATTACH_PROTOCOL_COUNT ||
        !attach_handlers[a.protocol]) {
        fd_close(&fd);
        return error_set(e, ERROR_INVALID, "The request was not understood");
    }
    if (ticket_check(a.ticket, &arena, &ticket, e) < 0) {
        fd_close(&fd);
        log_event(LOG_WARNING, "ticket-refused", "session=" STR_FMT " peer=%s error=%s",
                  STR_ARG(a.session), log_quote(a.peer), log_quote(str_from(e->text)));
        return -1;
    }
    a.account = ticket.account;
    a.quota = ticket.quota;
    a.address = ticket.address;
    return attach_handlers[a.protocol](&a, fd, e);
}

void session_attach_serve(attach_handler *handlers[static ATTACH_PROTOCOL_COUNT])
{
    static const struct ipc_service rows[] = {
        {IPC_SESSION_ATTACH, 1 << PROCESS_EDGE, attach_answer},
    };
    for (size_t i = 0; i < ATTACH_PROTOCOL_COUNT; i++)
        attach_handlers[i] = handlers[i];
    ipc_serve(rows, countof(rows));
}
