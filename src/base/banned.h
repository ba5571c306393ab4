/* banned.h - libc functions that do not compile here, forced into every file by the build.
 *
 * Each of them writes without a bound, keeps hidden state, or cannot report an error. What to use
 * instead: struct str and struct buf (base/str.h, base/buf.h), str_to_u64(), snprintf().
 */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

/* The headers that declare them come first, or the poison would hit the declarations. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <wchar.h>

#undef alloca
#undef strdupa
#undef strndupa
#pragma GCC poison strcpy strcat strncpy strncat stpcpy sprintf vsprintf gets strtok strtok_r
#pragma GCC poison atoi atol atoll atof alloca strdupa strndupa
#pragma GCC poison gmtime localtime ctime asctime tmpnam mktemp

#endif
