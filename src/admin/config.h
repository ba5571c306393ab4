/* config.h - `posthouse config`: the settings with their explanations; `config check`.
 */
#ifndef ADMIN_CONFIG_H
#define ADMIN_CONFIG_H

#define CONFIG_PATH_DEFAULT "/etc/posthouse/posthouse.conf"

int config_command(int argc, char **argv); /* the exit status */

#endif
