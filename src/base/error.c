/* error.c - why something failed. */
#include "base/error.h"

int error_set(struct error *e, enum error_class class, const char *format, ...)
{
    if (!e)
        return -1;
    va_list args;
    va_start(args, format);
    e->class = class;
    e->cause[0] = '\0';
    vsnprintf(e->text, sizeof(e->text), format, args);
    va_end(args);
    return -1;
}

int error_cause(struct error *e, const char *format, ...)
{
    if (!e)
        return -1;
    va_list args;
    va_start(args, format);
    vsnprintf(e->cause, sizeof(e->cause), format, args);
    va_end(args);
    return -1;
}

const char *error_class_name(enum error_class class)
{
    static const char names[][12] = {"none",  "not-found", "exists", "invalid", "denied",  "quota",
                                     "limit", "temporary", "full",   "corrupt", "internal"};
    return (size_t) class < countof(names) ? names[class] : "unknown";
}
