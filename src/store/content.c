/* content.c - stored forms of headers and bodies: a byte that says how, then the bytes.
 *
 * Headers are compressed with a dictionary of what headers consist of. A stored form is never changed:
 * a better dictionary gets a new number, and the old one stays readable.
 */
#include "store/content.h"

#include <pthread.h>
#include <zstd.h>

enum { FORM_RAW = 0, FORM_ZSTD = 1, FORM_ZSTD_HEADER_1 = 2, LEVEL = 2 };

/* Common header text; what is most common stands last, where references to it are shortest. */
static const char header_dictionary[] =
    "X-Priority: 3\r\nX-Mailer: Microsoft Outlook\r\nUser-Agent: Mozilla Thunderbird\r\n"
    "X-Spam-Status: No, score=-0.1 required=5.0\r\nPrecedence: bulk\r\nAuto-Submitted: auto-generated\r\n"
    "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nList-Unsubscribe: <mailto:unsubscribe@\r\n"
    "List-Archive: <https://lists.\r\nList-Help: <mailto:\r\nList-Post: <mailto:\r\nList-Subscribe: <\r\n"
    "List-Id: <\r\nErrors-To: \r\nSender: \r\nReply-To: \r\nCc: \r\nX-Google-DKIM-Signature: \r\n"
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=gmail.com; s=20230601; t=1700000000; "
    "h=to:subject:message-id:date:from:mime-version:from:to:cc:subject:date:message-id:reply-to; bh="
    "; b=\r\nAuthentication-Results: spf=pass smtp.mailfrom=; dkim=pass header.d=; dmarc=pass "
    "(p=none dis=none) header.from=\r\nReceived-SPF: pass\r\nContent-Disposition: inline\r\n"
    "Content-Language: en-US\r\nContent-Transfer-Encoding: base64\r\n"
    "Content-Type: multipart/mixed; boundary=\"----=_NextPart_000_\"\r\n"
    "Content-Type: multipart/related; boundary=\"\r\nContent-Type: multipart/alternative; boundary=\"\r\n"
    "Content-Type: text/html; charset=\"utf-8\"\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    "Content-Type: text/plain; charset=UTF-8; format=flowed\r\nContent-Transfer-Encoding: 8bit\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n"
    "References: <\r\nIn-Reply-To: <\r\n@mail.gmail.com>\r\n@localhost>\r\n.com>\r\n.org>\r\n"
    " (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n with ESMTPS id \r\n by mail.example.test\r\n with ESMTP id "
    "\r\n for <\r\n>; Mon, Tue, Wed, Thu, Fri, Sat, Sun, Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec "
    "2023 2024 2025 2026 00:00:00 +0000\r\nMIME-Version: 1.0\r\nSubject: Re: \r\nSubject: Fwd: \r\n"
    "Subject: \r\nTo: \r\nFrom: \r\nDate: Mon, \r\nMessage-ID: <\r\nReceived: from localhost ([127.0.0.1])\r\n"
    "Return-Path: <\r\nReceived: from mail.";

static pthread_once_t once = PTHREAD_ONCE_INIT;
static ZSTD_CDict *compress_dictionary;
static ZSTD_DDict *decompress_dictionary;

/* Idle contexts: a few for all threads, since each holds up to a megabyte. */
enum { IDLE_MAX = 4 };
static struct {
    pthread_mutex_t lock;
    ZSTD_CCtx *compressors[IDLE_MAX];
    ZSTD_DCtx *decompressors[IDLE_MAX];
    size_t compressor_count, decompressor_count;
} idle = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void content_once(void)
{
    size_t len = sizeof(header_dictionary) - 1;
    compress_dictionary = ZSTD_createCDict(header_dictionary, len, LEVEL);
    decompress_dictionary = ZSTD_createDDict(header_dictionary, len);
    if (!compress_dictionary || !decompress_dictionary)
        fatal("out of memory (zstd dictionary)");
}

static ZSTD_CCtx *compressor_take(void)
{
    pthread_mutex_lock(&idle.lock);
    ZSTD_CCtx *c = idle.compressor_count ? idle.compressors[--idle.compressor_count] : NULL;
    pthread_mutex_unlock(&idle.lock);
    if (!c && !(c = ZSTD_createCCtx()))
        fatal("out of memory (zstd)");
    return c;
}

static void compressor_give(ZSTD_CCtx *c)
{
    pthread_mutex_lock(&idle.lock);
    bool keep = idle.compressor_count < IDLE_MAX;
    if (keep)
        idle.compressors[idle.compressor_count++] = c;
    pthread_mutex_unlock(&idle.lock);
    if (!keep)
        ZSTD_freeCCtx(c);
}

static ZSTD_DCtx *decompressor_take(void)
{
    pthread_mutex_lock(&idle.lock);
    ZSTD_DCtx *d = idle.decompressor_count ? idle.decompressors[--idle.decompressor_count] : NULL;
    pthread_mutex_unlock(&idle.lock);
    if (!d && !(d = ZSTD_createDCtx()))
        fatal("out of memory (zstd)");
    return d;
}

static void decompressor_give(ZSTD_DCtx *d)
{
    pthread_mutex_lock(&idle.lock);
    bool keep = idle.decompressor_count < IDLE_MAX;
    if (keep)
        idle.decompressors[idle.decompressor_count++] = d;
    pthread_mutex_unlock(&idle.lock);
    if (!keep)
        ZSTD_freeDCtx(d);
}

int content_pack(struct str plain, bool header, struct buf *out)
{
    pthread_once(&once, content_once);
    size_t bound = ZSTD_compressBound(plain.len);
    char *room = buf_reserve(out, bound + 1);
    if (!room)
        return -1;
    ZSTD_CCtx *compressor = compressor_take();
    /* The stored size is in the row, so the frame needs no size, checksum or dictionary id. */
    ZSTD_CCtx_reset(compressor, ZSTD_reset_session_and_parameters);
    ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, LEVEL);
    ZSTD_CCtx_setParameter(compressor, ZSTD_c_dictIDFlag, 0);
    if (header)
        ZSTD_CCtx_refCDict(compressor, compress_dictionary);
    size_t len =
        ZSTD_compress2(compressor, room + 1, bound, plain.data ? plain.data : "", plain.len);
    compressor_give(compressor);
    if (!ZSTD_isError(len) && len < plain.len) {
        room[0] = header ? FORM_ZSTD_HEADER_1 : FORM_ZSTD;
        buf_added(out, len + 1);
        return 0;
    }
    room[0] = FORM_RAW;
    if (plain.len)
        memcpy(room + 1, plain.data, plain.len);
    buf_added(out, plain.len + 1);
    return 0;
}

int content_unpack(struct str packed, size_t max, struct buf *out, struct error *e)
{
    pthread_once(&once, content_once);
    if (packed.len == 0)
        return error_set(e, ERROR_CORRUPT, "A stored message is damaged");
    struct str data = str_from_pos(packed, 1);
    if (packed.data[0] == FORM_RAW)
        return data.len <= max ? buf_add(out, data)
                               : error_set(e, ERROR_CORRUPT, "A stored message is damaged");
    unsigned long long size = ZSTD_getFrameContentSize(data.data, data.len);
    if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > max)
        return error_set(e, ERROR_CORRUPT, "A stored message is damaged");
    char *room = buf_reserve(out, (size_t)size);
    if (!room)
        return error_set(e, ERROR_LIMIT, "The message is too large");
    ZSTD_DCtx *decompressor = decompressor_take();
    size_t len = packed.data[0] == FORM_ZSTD_HEADER_1
                     ? ZSTD_decompress_usingDDict(decompressor, room, (size_t)size, data.data,
                                                  data.len, decompress_dictionary)
                     : ZSTD_decompressDCtx(decompressor, room, (size_t)size, data.data, data.len);
    decompressor_give(decompressor);
    if (ZSTD_isError(len) || len != size)
        return error_set(e, ERROR_CORRUPT, "A stored message is damaged");
    buf_added(out, len);
    return 0;
}
