/* settings.h - every setting of Posthouse, as one struct. The table with defaults, bounds and
 * explanations is in settings.c.
 *
 * A process holds one current, immutable snapshot. SIGHUP makes a new one; sessions keep the one
 * they began with (settings_ref), so a pointer never changes under them.
 */
#ifndef RUN_SETTINGS_H
#define RUN_SETTINGS_H

#include <sys/socket.h>

#include "base/config.h"

enum listener_protocol {
    LISTEN_SMTP,
    LISTEN_LMTP,
    LISTEN_IMAP,
    LISTEN_POP3, /* order of settings.c's choices */
};
enum listener_tls { LISTEN_TLS_OFF, LISTEN_TLS_STARTTLS, LISTEN_TLS_IMPLICIT };

struct settings_listener {
    struct str name;
    int protocol;                /* enum listener_protocol */
    struct str address;          /* list: "0.0.0.0:25, [::]:25" or "/run/posthouse/lmtp.sock" */
    struct str socket_mode;      /* of Unix sockets, octal */
    int tls;                     /* enum listener_tls */
    struct str proxy_networks;   /* peers that must send a PROXY header (v1 or v2) */
    struct str trusted_networks; /* peers exempt from per-address limits */
    bool plaintext_login;        /* allow login without TLS; only from loopback addresses */
    uint64_t message_size;       /* 0 = the general limit */
    uint64_t recipients;
    uint64_t sessions; /* in all; 0 = the general limit */
};

struct settings_certificate {
    struct str name;
    struct str chain_file, key_file;
};

struct settings {
    struct {
        struct str host_name;      /* our name in greetings and Received */
        struct str data_directory; /* DATA */
        struct str run_directory;  /* admin socket, sockets */
        struct str user;           /* service user; empty: stay who we are */
        struct str admin_group;
        int log_level;
        uint64_t workers_mx, workers_edge, workers_box, workers_core, workers_scan;
        uint64_t boxes, scans;
        uint64_t scan_messages; /* a scan process is replaced after so many */
        uint64_t stop_grace;    /* ms */
    } server;
    struct {
        uint64_t message_size, recipients, header_size, hops;
        uint64_t line_length;      /* of a message's lines with their CRLF; 0 = no limit */
        uint64_t errors, commands; /* per session: wrong ones, and ones that bring no mail */
        uint64_t mime_depth, mime_parts;
        uint64_t sessions, sessions_per_address; /* per process */
        uint64_t memory_in_flight; /* bytes of messages not yet committed, per process */
        uint64_t free_space;       /* bytes of DATA's disk below which no mail is accepted */
    } limits;
    struct {
        uint64_t greeting_delay; /* ms the greeting waits so that early talkers show */
        int early_talker;        /* "note, refuse" */
        int bare_line_ends;      /* "refuse, repair": bare CR, bare LF, NUL */
        uint64_t command_timeout, data_timeout, message_timeout; /* ms */
        struct str recipient_delimiter;                          /* "+" */
    } smtp;
    struct {
        uint64_t login_timeout, idle_timeout; /* ms */
        uint64_t command_size; /* a command with its literals, APPEND's message apart */
        uint64_t append_size;  /* 0 = limits.message_size */
        uint64_t literal_size; /* one literal that is not a message */
        uint64_t sessions_per_account;
    } imap;
    struct {
        uint64_t idle_timeout; /* ms */
        uint64_t sessions_per_account;
    } pop3;
    struct {
        uint64_t failure_time;      /* ms a failed login takes at least */
        uint64_t failures_per_pair; /* (address, account) in window */
        uint64_t failures_per_network;
        uint64_t failure_window; /* ms */
        uint64_t scram_iterations;
    } login;
    struct {
        uint64_t open_bytes;    /* memory for open account handles, per box */
        uint64_t trace_age;     /* ms */
        uint64_t retry_max;     /* ms a local delivery is retried before it is held */
        bool detail_to_mailbox; /* alice+lists goes to the mailbox "lists" where there is one */
    } store;
    const struct settings_listener *listeners;
    size_t listener_count;
    const struct settings_certificate *certificates;
    size_t certificate_count;
};

extern const struct config_table settings_table;

/* One address of a listener's list, ready for bind(). 0, or -1 with *why a phrase. */
int settings_address(struct str text, struct sockaddr_storage *out, socklen_t *len,
                     const char **why) MUST_CHECK;
unsigned settings_socket_mode(const struct settings_listener *l);

/* The current snapshot: a counted reference, to be given back. Never NULL once loaded. */
const struct settings *settings_ref(void);
void settings_unref(const struct settings **s); /* fits CLEANUP() */

/* Parses text and checks what the table cannot say (addresses, settings that need each other) into
 * *out; the memory is arena's. 0, or -1: errors has a line for each. */
int settings_parse(const char *file_name, struct str text, struct arena *arena,
                   struct settings *out, struct buf *errors);

/* The same, and makes the result current. -1: the present snapshot stays. */
int settings_load(const char *file_name, struct str text, struct buf *errors);

#endif
