/* stream.h - buffered bytes over a socket, plain or TLS (later with COMPRESS), never blocking.
 *
 * Input is read when the session's conn is readable (stream_fill) and taken as whole units (lines,
 * literals) from the front of the input buffer. Output is put into the output buffer; stream_flush
 * sends what the peer takes. Buffers exist only while they hold bytes, so a parked, idle stream
 * costs its struct (and OpenSSL's released object when TLS).
 */
#ifndef RUN_STREAM_H
#define RUN_STREAM_H

#include "base/buf.h"
#include "run/conn.h"
#include "run/tls.h"

struct stream {
    int fd;                  /* owned */
    struct tls_session *tls; /* NULL: plain */
    struct buf in, out;
    size_t in_taken;  /* bytes at the front of in that were consumed */
    size_t out_sent;  /* bytes at the front of out that were sent */
    size_t out_plain; /* unsent bytes that were put before stream_start_tls() */
    bool eof;         /* the peer ended its side */
    bool failed;      /* nothing more can be sent or read */
    bool handshaking;
    bool tls_wants_write; /* private: TLS needs the other direction */
    bool tls_wants_read;
    bool drained; /* the last read gave less than was asked for */
    uint64_t bytes_in, bytes_out;
};

/* Takes over fd and makes it non-blocking. in_max: most unread bytes kept; out_max: most unsent. */
void stream_init(struct stream *s, int fd, size_t in_max, size_t out_max);
void stream_close(struct stream *s); /* sends TLS close_notify if it can; closes the fd */

/* Reads what is there, up to the input maximum or max bytes. >0 bytes added, 0 nothing now, -1 end of
 * file or error (eof or failed set; what was read before stays readable). After a read that gave less
 * than was asked for, the next call says 0 without asking the socket again: park then. When it says
 * 0 and nothing is unread, the input buffer is given back. */
ssize_t stream_fill(struct stream *s, size_t max);

struct str stream_input(const struct stream *s); /* unread bytes; valid until fill or consume */
void stream_consume(struct stream *s, size_t len);
/* Bytes are waiting in the buffer, or in TLS (stream_fill gets them), although the socket may not be
 * readable. Who parks with such input must be waiting for something else. */
bool stream_has_input(const struct stream *s);

/* Takes one line off the input. 1: *line is it, without its CRLF (or LF), valid until the next fill
 * or consume; 0: not complete yet; -1: more than max bytes without an end, or as many as the input
 * buffer holds (nothing is consumed). */
int stream_line(struct stream *s, size_t max, struct str *line, bool *bare_lf);

void stream_put(struct stream *s, struct str data); /* queues; sets failed past out_max */
void stream_put_literal(struct stream *s, const char *text);
void stream_printf(struct stream *s, const char *format, ...) PRINTF(2, 3);
size_t stream_unsent(const struct stream *s);

/* Sends what the peer takes now. 0: all sent, 1: the peer does not take more now, -1: failed. */
int stream_flush(struct stream *s);

/* What to wait for so that the stream can go on: CONN_READABLE unless reading is false, and
 * CONN_WRITABLE while something is unsent or TLS needs it. */
unsigned stream_want(const struct stream *s, bool reading);

/* STARTTLS and implicit TLS, server side. stream_start_tls discards all unread input (RFC 3207 §4.2:
 * nothing said before the handshake survives); what was put before it still leaves in the clear.
 * Then call stream_handshake at each run until it returns 0 (done) or -1 (failed; *why is a word for
 * the log). 1: wait for stream_want(). */
void stream_start_tls(struct stream *s, struct tls_context *context);
/* The same where TLS is expected from the first byte: unread input (what was read along with a PROXY
 * header) is the beginning of the handshake. */
void stream_implicit_tls(struct stream *s, struct tls_context *context);
int stream_handshake(struct stream *s, const char **why);

/* Gives back the memory of empty buffers. Before a park for long, when the last stream_fill() did not
 * say 0. */
void stream_rest(struct stream *s);

#endif
