/* cli.h - the commands that administration verbs are: posthouse domain, account, alias, password, queue,
 * trace, status.
 */
#ifndef ADMIN_CLI_H
#define ADMIN_CLI_H

/* argv[0] is the noun. The exit status: 0, 1 refused or something found, 2 wrong usage. */
int admin_command(int argc, char **argv);

#endif
