/* socket.h - the admin socket in the run directory: verbs for root, the service user, and members of the
 * admin group, who are told apart by the kernel (SO_PEERCRED).
 *
 * A request is a 4-byte little-endian length and a JSON object {"noun", "verb", "arguments"}; the answer is
 * the same with {"result"} or {"error", "class"}.
 */
#ifndef ADMIN_SOCKET_H
#define ADMIN_SOCKET_H

#include <jansson.h>

#include "base/error.h"

enum { ADMIN_MESSAGE_MAX = 16 * 1024 * 1024 };

int admin_socket_start(struct error *e);   /* core: after everything else stands */
int admin_socket_prepare(struct error *e); /* core: before its sandbox closes */
void admin_socket_stop(void);

/* A command's side. 1: answered (result or *e), 0: no server runs, -1: cannot be reached, *e says why. */
int admin_ask(const char *run_directory, const char *noun, const char *verb, json_t *arguments,
              json_t **result, struct error *e, bool *failed);

#endif
