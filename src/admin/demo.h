/* demo.h - `posthouse demo`: a complete server on loopback, for trying things out.
 *
 * It writes DIR/posthouse.conf, a self-signed certificate and two accounts when they are not there
 * yet, and runs `posthouse serve` with them: no other code path than a real server's.
 */
#ifndef ADMIN_DEMO_H
#define ADMIN_DEMO_H

int demo_command(int argc, char **argv); /* the exit status */

#endif
