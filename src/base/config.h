/* config.h - the configuration file's syntax and the table behind it.
 *
 *     # comment
 *     [section name]
 *     key = value
 *
 * One row per setting says its section, name, type, bounds, default and explanation. The parser,
 * the error messages, `posthouse config` and the man page come from the rows. All errors of a file
 * are reported, each with file:line and, for an unknown name, the nearest known one.
 */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include "base/arena.h"
#include "base/buf.h"

enum { CONFIG_ERRORS_MAX = 100, CONFIG_FILE_MAX = 1024 * 1024 };

enum setting_type {
    SETTING_BOOL,     /* yes, no -> bool */
    SETTING_COUNT,    /* 100 -> uint64_t */
    SETTING_SIZE,     /* 64K, 50M, 2G (binary) -> uint64_t bytes */
    SETTING_TIME,     /* 500ms, 30s, 5m, 2h, 7d -> uint64_t milliseconds */
    SETTING_TEXT,     /* -> struct str in the arena */
    SETTING_PATH,     /* as text, absolute -> struct str, NUL-terminated */
    SETTING_CHOICE,   /* one of choices -> int, the index */
    SETTING_LIST,     /* comma separated -> struct str; walk it with list_next() */
    SETTING_NETWORKS, /* list of addresses and CIDR networks, checked -> struct str */
};

struct setting {
    const char *section; /* "server"; for sections with a name, "listener *" */
    const char *name;    /* "message-size" */
    enum setting_type type;
    size_t offset;        /* of the field in the section's struct */
    const char *fallback; /* the default, in the file's own syntax; NULL = must be given */
    uint64_t min, max;    /* of numbers, and lengths of text; max 0 = none. Text with min 0 may be
                             empty */
    const char *choices;  /* "plain,tls,starttls" */
    const char *help;     /* one paragraph */
};

/* A section of the table: where its struct lives in the result. Sections with "*" may be repeated
 * under different names: each gets one element. */
struct setting_section {
    const char *name; /* "server" or "listener *" */
    size_t offset;    /* of the struct, or of {pointer, size_t count} for a repeated one */
    size_t size; /* of the struct or element; its first member is struct str name if repeated */
    const char *help;
};

struct config_table {
    const struct setting_section *sections;
    size_t section_count;
    const struct setting *settings;
    size_t setting_count;
};

/* Takes the next entry, trimmed, of a comma-separated value off *rest; empty entries are passed over.
 * False at the end. */
bool list_next(struct str *rest, struct str *entry);

/* Parses text into result (a zeroed struct; pointers live in arena), defaults first. 0, or -1: errors
 * holds one line per error, "file:line: what is wrong and what to do". */
int config_parse(const struct config_table *table, const char *file_name, struct str text,
                 struct arena *arena, void *result, struct buf *errors);

/* Writes every setting with its explanation, in the file's syntax: with result, the values it has
 * now; without, the defaults, commented out. What `posthouse config` prints. */
void config_print(const struct config_table *table, const void *result, struct buf *out);

/* Checks one entry of a list of networks: "192.0.2.0/24", "2001:db8::/32" or an address. 0, or -1
 * with *why a phrase that says what is wrong. */
int network_check(struct str network, const char **why) MUST_CHECK;

/* Is address inside the comma-separated list of a SETTING_NETWORKS value? An IPv4 peer of an IPv6 socket (::ffff:192.0.2.1) counts as its IPv4 address. A Unix socket's peer is
 * in no network. */
bool networks_contain(struct str networks, const void *sockaddr, size_t sockaddr_len);

#endif
