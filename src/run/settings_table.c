/* settings_table.c - the rows: every setting's name, type, bounds, default and explanation. */
#include "run/settings.h"

/* FIELD(server, host_name): the offset within the section's own struct. */
#define FIELD(section, field) \
    (offsetof(struct settings, section.field) - offsetof(struct settings, section))

enum { KB = 1024, MB = 1024 * KB, SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };
#define GB             (1024ull * MB)
#define DAY            (24ull * HOUR)

#define SECTION(field) offsetof(struct settings, field), sizeof(((struct settings *)NULL)->field)

static const struct setting_section sections[] = {
    {"server", SECTION(server), "The server as a whole: its name, its files, its processes."},
    {"listener *", offsetof(struct settings, listeners), sizeof(struct settings_listener),
     "One section for each service that listens, with a name of your choice. A change of addresses "
     "takes a restart; everything else in this file takes a reload (SIGHUP)."},
    {"certificate *", offsetof(struct settings, certificates), sizeof(struct settings_certificate),
     "One section for each TLS certificate. A client gets the certificate that names the host it "
     "asked for; one that names no host, or an unknown one, gets the first."},
    {"limits", SECTION(limits), "What strangers may ask of this server."},
    {"smtp", SECTION(smtp), "How mail is received, by SMTP and LMTP."},
    {"imap", SECTION(imap), "Reading mail by IMAP."},
    {"pop3", SECTION(pop3), "Reading mail by POP3."},
    {"login", SECTION(login), "Logging in, whatever the protocol."},
    {"store", SECTION(store), "How mail is kept in DATA."},
};

static const struct setting settings[] = {
    /* server */
    {"server", "host-name", SETTING_TEXT, FIELD(server, host_name), NULL, 1, 253, NULL,
     "The full name of this host, such as mail.example.org: in greetings, in Received lines, and in "
     "the reports it sends. It should have an address record, and the address should lead back to it."},
    {"server", "data-directory", SETTING_PATH, FIELD(server, data_directory), "/var/lib/posthouse",
     1, 1024, NULL,
     "Where all mail, accounts and queues are kept (DATA in the manual). Only one server or command "
     "owns it at a time."},
    {"server", "run-directory", SETTING_PATH, FIELD(server, run_directory), "/run/posthouse", 1, 80,
     NULL, "Where the socket for the administration commands is made."},
    {"server", "user", SETTING_TEXT, FIELD(server, user), "", 0, 32, NULL,
     "The user that the processes run as when the server is started by root. Empty: they stay root, "
     "but without any of root's capabilities."},
    {"server", "admin-group", SETTING_TEXT, FIELD(server, admin_group), "", 0, 32, NULL,
     "Members of this group may use the administration commands, like root and the service user. "
     "Empty: nobody else may."},
    {"server", "log-level", SETTING_CHOICE, FIELD(server, log_level), "info", 0, 0,
     "error,warning,info,debug",
     "The least important lines that are still logged, to standard error."},
    {"server", "workers-mx", SETTING_COUNT, FIELD(server, workers_mx), "64", 1, 4096, NULL,
     "Most threads at work in the process that receives mail from the network. A connection takes one "
     "only while something is being done for it, so this is how many messages are committed at once."},
    {"server", "workers-edge", SETTING_COUNT, FIELD(server, workers_edge), "32", 1, 4096, NULL,
     "Most threads at work in the process that holds the readers' connections."},
    {"server", "workers-box", SETTING_COUNT, FIELD(server, workers_box), "64", 1, 4096, NULL,
     "Most threads at work in each process that keeps accounts."},
    {"server", "workers-core", SETTING_COUNT, FIELD(server, workers_core), "64", 1, 4096, NULL,
     "Most threads at work in the process that knows the accounts and runs the queue."},
    {"server", "workers-scan", SETTING_COUNT, FIELD(server, workers_scan), "4", 1, 256, NULL,
     "Most threads at work in each process that parses messages."},
    {"server", "boxes", SETTING_COUNT, FIELD(server, boxes), "1", 1, 64, NULL,
     "How many processes keep accounts; each has its share of them. A change takes a restart."},
    {"server", "scans", SETTING_COUNT, FIELD(server, scans), "2", 1, 64, NULL,
     "How many processes parse messages. A change takes a restart."},
    {"server", "scan-messages", SETTING_COUNT, FIELD(server, scan_messages), "10000", 1, 1000000000,
     NULL, "A process that parses messages is replaced by a fresh one after so many of them."},
    {"server", "stop-grace", SETTING_TIME, FIELD(server, stop_grace), "20s", 0, 10 * MINUTE, NULL,
     "How long a stop waits for what is in flight before it ends the processes."},

    /* listener */
    {"listener *", "protocol", SETTING_CHOICE, offsetof(struct settings_listener, protocol), NULL,
     0, 0, "smtp,lmtp,imap,pop3", "What is spoken here."},
    {"listener *", "address", SETTING_LIST, offsetof(struct settings_listener, address), NULL, 1,
     4096, NULL,
     "Where to listen: addresses with ports, as in '0.0.0.0:25, [::]:25', or the path of a Unix "
     "socket, separated by commas."},
    {"listener *", "socket-mode", SETTING_TEXT, offsetof(struct settings_listener, socket_mode),
     "0660", 3, 4, NULL, "The rights of a Unix socket, in octal."},
    {"listener *", "tls", SETTING_CHOICE, offsetof(struct settings_listener, tls), "starttls", 0, 0,
     "off,starttls,implicit",
     "Whether TLS is not offered, offered by command, or spoken from the first byte. Offered only "
     "when there is a certificate."},
    {"listener *", "proxy-networks", SETTING_NETWORKS,
     offsetof(struct settings_listener, proxy_networks), "", 0, 4096, NULL,
     "Peers in these networks are load balancers: they must begin with a PROXY header (version 1 or "
     "2), and the address it names counts as the client's."},
    {"listener *", "trusted-networks", SETTING_NETWORKS,
     offsetof(struct settings_listener, trusted_networks), "", 0, 4096, NULL,
     "Clients in these networks are exempt from the limits per address."},
    {"listener *", "plaintext-login", SETTING_BOOL,
     offsetof(struct settings_listener, plaintext_login), "no", 0, 0, NULL,
     "Allows passwords without TLS, but only to clients on this same machine (loopback)."},
    {"listener *", "message-size", SETTING_SIZE, offsetof(struct settings_listener, message_size),
     "0", 0, 2 * GB, NULL, "The largest message taken here; 0 means that of section limits."},
    {"listener *", "recipients", SETTING_COUNT, offsetof(struct settings_listener, recipients), "0",
     0, 50000, NULL, "Most recipients of a message taken here; 0 means that of section limits."},
    {"listener *", "sessions", SETTING_COUNT, offsetof(struct settings_listener, sessions), "0", 0,
     1000000, NULL, "Most sessions at a time here; 0 means that of section limits."},

    /* certificate */
    {"certificate *", "chain-file", SETTING_PATH, offsetof(struct settings_certificate, chain_file),
     NULL, 1, 1024, NULL, "The certificate and those between it and the root, PEM."},
    {"certificate *", "key-file", SETTING_PATH, offsetof(struct settings_certificate, key_file),
     NULL, 1, 1024, NULL, "The certificate's private key, PEM, without a password."},

    /* limits */
    {"limits", "message-size", SETTING_SIZE, FIELD(limits, message_size), "50M", 64 * KB, 2 * GB,
     NULL, "The largest message (RFC 1870), as it stands on the wire."},
    {"limits", "recipients", SETTING_COUNT, FIELD(limits, recipients), "1000", 100, 50000, NULL,
     "Most recipients of one message; RFC 5321 asks for at least 100."},
    {"limits", "header-size", SETTING_SIZE, FIELD(limits, header_size), "512K", 16 * KB, 16 * MB,
     NULL, "The largest message header."},
    {"limits", "hops", SETTING_COUNT, FIELD(limits, hops), "100", 10, 1000, NULL,
     "A message with more Received lines than this goes in circles and is refused."},
    {"limits", "line-length", SETTING_SIZE, FIELD(limits, line_length), "0", 0, 2 * GB, NULL,
     "The longest line of a message. RFC 5321 says 1000 bytes, but much mail does not keep to it; 0 "
     "means no limit."},
    {"limits", "errors", SETTING_COUNT, FIELD(limits, errors), "20", 1, 10000, NULL,
     "A session with more wrong commands or refused recipients than this is closed."},
    {"limits", "commands", SETTING_COUNT, FIELD(limits, commands), "1000", 10, 1000000, NULL,
     "A session with more commands than this that bring no mail is closed."},
    {"limits", "mime-depth", SETTING_COUNT, FIELD(limits, mime_depth), "32", 4, 100, NULL,
     "How deep parts of a message are looked into; what lies deeper is kept, undivided."},
    {"limits", "mime-parts", SETTING_COUNT, FIELD(limits, mime_parts), "2000", 100, 20000, NULL,
     "How many parts of a message are told apart."},
    {"limits", "sessions", SETTING_COUNT, FIELD(limits, sessions), "10000", 1, 1000000, NULL,
     "Most sessions at a time, for incoming mail and for readers each."},
    {"limits", "sessions-per-address", SETTING_COUNT, FIELD(limits, sessions_per_address), "50", 1,
     1000000, NULL, "Most sessions at a time from one address (for IPv6, from one /64 network)."},
    {"limits", "memory-in-flight", SETTING_SIZE, FIELD(limits, memory_in_flight), "512M", 64 * MB,
     1024 * GB, NULL,
     "Most memory for messages that are being received; beyond it senders are told to come again."},
    {"limits", "free-space", SETTING_SIZE, FIELD(limits, free_space), "256M", MB, 1024 * GB, NULL,
     "No mail is accepted while the disk of the data directory has less room than this."},

    /* smtp */
    {"smtp", "greeting-delay", SETTING_TIME, FIELD(smtp, greeting_delay), "0", 0, MINUTE, NULL,
     "How long the greeting waits, so that clients show themselves that talk before it. 0 greets at "
     "once, and notices only those who have talked already."},
    {"smtp", "early-talker", SETTING_CHOICE, FIELD(smtp, early_talker), "note", 0, 0, "note,refuse",
     "What is done about a client that talks before the greeting: it is noted in the log, or refused."},
    {"smtp", "bare-line-ends", SETTING_CHOICE, FIELD(smtp, bare_line_ends), "refuse", 0, 0,
     "refuse,repair",
     "What is done about CR or LF standing alone, and NUL, in a message: it is refused, so that no "
     "second message can be smuggled in behind it, or repaired (CRLF; NUL is left out)."},
    {"smtp", "command-timeout", SETTING_TIME, FIELD(smtp, command_timeout), "5m", 10 * SECOND, HOUR,
     NULL, "How long a client may be silent between commands; RFC 5321 asks for 5 minutes."},
    {"smtp", "data-timeout", SETTING_TIME, FIELD(smtp, data_timeout), "3m", 10 * SECOND, HOUR, NULL,
     "How long a client may be silent within a message; RFC 5321 asks for 3 minutes."},
    {"smtp", "message-timeout", SETTING_TIME, FIELD(smtp, message_timeout), "30m", MINUTE, DAY,
     NULL, "How long a whole message may take, however slowly its bytes come."},
    {"smtp", "recipient-delimiter", SETTING_TEXT, FIELD(smtp, recipient_delimiter), "+", 0, 1, NULL,
     "What parts the local part of an address from its detail: with '+', mail to alice+lists reaches "
     "alice. Empty: no details."},

    /* imap */
    {"imap", "login-timeout", SETTING_TIME, FIELD(imap, login_timeout), "1m", 5 * SECOND, HOUR,
     NULL, "How long a client may take to log in; for POP3 too."},
    {"imap", "idle-timeout", SETTING_TIME, FIELD(imap, idle_timeout), "30m", 30 * MINUTE, DAY, NULL,
     "How long a session may be silent; RFC 9051 asks for at least 30 minutes."},
    {"imap", "command-size", SETTING_SIZE, FIELD(imap, command_size), "1M", 64 * KB, 16 * MB, NULL,
     "The largest command with its literals, but for the message of APPEND."},
    {"imap", "append-size", SETTING_SIZE, FIELD(imap, append_size), "0", 0, 2 * GB, NULL,
     "The largest message of APPEND; 0 means message-size of section limits."},
    {"imap", "literal-size", SETTING_SIZE, FIELD(imap, literal_size), "256K", 8 * KB, 16 * MB, NULL,
     "The largest literal that is not a message."},
    {"imap", "sessions-per-account", SETTING_COUNT, FIELD(imap, sessions_per_account), "64", 1,
     10000, NULL, "Most IMAP sessions of one account at a time."},

    /* pop3 */
    {"pop3", "idle-timeout", SETTING_TIME, FIELD(pop3, idle_timeout), "10m", 10 * MINUTE, DAY, NULL,
     "How long a session may be silent; RFC 1939 asks for at least 10 minutes."},
    {"pop3", "sessions-per-account", SETTING_COUNT, FIELD(pop3, sessions_per_account), "16", 1,
     10000, NULL, "Most POP3 sessions of one account at a time."},

    /* login */
    {"login", "failure-time", SETTING_TIME, FIELD(login, failure_time), "2s", 0, MINUTE, NULL,
     "A login that fails takes at least this long, whatever the reason."},
    {"login", "failures-per-pair", SETTING_COUNT, FIELD(login, failures_per_pair), "10", 1, 1000000,
     NULL,
     "After so many failures within failure-window, logins to this account from this address are "
     "refused unseen; from other addresses they go on."},
    {"login", "failures-per-network", SETTING_COUNT, FIELD(login, failures_per_network), "100", 1,
     1000000, NULL,
     "After so many failures within failure-window from one network (IPv4 /24, IPv6 /48), to whatever "
     "accounts, logins from there are refused unseen, but for pairs of address and account that "
     "succeeded before."},
    {"login", "failure-window", SETTING_TIME, FIELD(login, failure_window), "10m", SECOND, DAY,
     NULL, "How long a failed login is remembered."},
    {"login", "scram-iterations", SETTING_COUNT, FIELD(login, scram_iterations), "10000", 4096,
     10000000, NULL,
     "Iterations of the SCRAM hash for passwords set from now on (RFC 7677 asks for at least 4096)."},

    /* store */
    {"store", "open-bytes", SETTING_SIZE, FIELD(store, open_bytes), "64M", MB, 1024 * GB, NULL,
     "Memory for accounts that are kept open, in each box process; the least recently used are closed "
     "beyond it."},
    {"store", "trace-age", SETTING_TIME, FIELD(store, trace_age), "30d", HOUR, 3650 * DAY, NULL,
     "How long it is remembered what became of each message (posthouse trace)."},
    {"store", "retry-max", SETTING_TIME, FIELD(store, retry_max), "5d", HOUR, 365 * DAY, NULL,
     "How long a local delivery that fails is tried again before it is held for the administrator."},
    {"store", "detail-to-mailbox", SETTING_BOOL, FIELD(store, detail_to_mailbox), "yes", 0, 0, NULL,
     "Whether mail to alice+lists goes to alice's mailbox 'lists' when there is one of that name (in "
     "any case); otherwise, and always with 'no', it goes to the Inbox."},
};

const struct config_table settings_table = {sections, countof(sections), settings,
                                            countof(settings)};
