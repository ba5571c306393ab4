/* subject.c - the base subject. See subject.h; the step numbers are those of RFC 5256 §2.1. */
#include "message/subject.h"

#include "message/charset.h"

static struct str skip_space(struct str s)
{
    while (s.len && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = str_from_pos(s, 1);
    return s;
}

/* subj-blob: "[" anything but brackets "]" spaces. The length, 0 = none. */
static size_t blob_length(struct str s)
{
    if (s.len == 0 || s.data[0] != '[')
        return 0;
    for (size_t i = 1; i < s.len; i++) {
        if (s.data[i] == '[')
            return 0;
        if (s.data[i] == ']')
            return s.len - skip_space(str_from_pos(s, i + 1)).len;
    }
    return 0;
}

/* subj-refwd: "re" / "fw" / "fwd", spaces, a blob, ":". The length, 0 = none. */
static size_t refwd_length(struct str s)
{
    static const struct str words[] = {STR_INIT("fwd"), STR_INIT("re"), STR_INIT("fw")};
    for (size_t i = 0; i < countof(words); i++) {
        if (!str_starts_nocase(s, words[i]))
            continue;
        struct str rest = skip_space(str_from_pos(s, words[i].len));
        rest = str_from_pos(rest, blob_length(rest));
        if (rest.len && rest.data[0] == ':')
            return s.len - rest.len + 1;
    }
    return 0;
}

/* Steps 3 to 5: what stands in front. */
static bool leader_remove(struct str *s)
{
    struct str rest = *s;
    size_t blob;
    while ((blob = blob_length(rest)) > 0)
        rest = str_from_pos(rest, blob);
    size_t refwd = refwd_length(rest);
    if (refwd) {
        *s = skip_space(str_from_pos(rest, refwd));
        return true;
    }
    blob = blob_length(*s);
    if (blob && blob < s->len) { /* only when something is left */
        *s = str_from_pos(*s, blob);
        return true;
    }
    return false;
}

bool base_subject(struct str subject, struct buf *out)
{
    bool reply = false, again = true;
    struct buf collapsed = BUF_INIT(subject.len + 1);
    for (size_t i = 0; i < subject.len; i++) { /* step 1 */
        bool space = ascii_is_space(subject.data[i]);
        if (!space || (collapsed.len && collapsed.data[collapsed.len - 1] != ' '))
            buf_add_char(&collapsed, space ? ' ' : subject.data[i]);
    }
    struct str s = str_trim(buf_str(&collapsed));
    while (again) {
        again = false;
        while (str_ends_nocase(s, STR("(fwd)"))) { /* step 2 */
            s = str_trim_end(str_slice(s, 0, s.len - 5));
            reply = true;
        }
        while (leader_remove(&s))
            reply = true;
        if (str_starts_nocase(s, STR("[fwd:")) && str_ends(s, STR("]"))) { /* step 6 */
            s = str_trim(str_slice(s, 5, s.len - 6));
            reply = again = true;
        }
    }
    text_fold(s, out);
    buf_free(&collapsed);
    return reply;
}
