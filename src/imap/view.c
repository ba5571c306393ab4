/* view.c - a session's picture of its mailbox. See view.h. */
#include "imap/view.h"

void view_free(struct view *v)
{
    mem_free(v->runs);
    *v = (struct view){0};
}

static void runs_number(struct view *v, size_t from)
{
    uint32_t next = from ? v->runs[from - 1].sequence + v->runs[from - 1].count : 1;
    for (size_t i = from; i < v->run_count; i++) {
        v->runs[i].sequence = next;
        next += v->runs[i].count;
    }
    v->total = next - 1;
}

static void runs_room(struct view *v, size_t more)
{
    if (v->run_count + more <= v->run_capacity)
        return;
    v->run_capacity = MAX(v->run_capacity * 2, v->run_count + more);
    v->runs = mem_resize(v->runs, v->run_capacity, sizeof(*v->runs));
}

void view_set(struct view *v, const struct uid_run *runs, size_t count)
{
    v->run_count = 0;
    runs_room(v, count);
    for (size_t i = 0; i < count; i++)
        v->runs[v->run_count++] = (struct view_run){.first = runs[i].first, .count = runs[i].count};
    runs_number(v, 0);
}

void view_add(struct view *v, uint32_t first, uint32_t count)
{
    struct view_run *last = v->run_count ? &v->runs[v->run_count - 1] : NULL;
    if (last && last->first + last->count == first) {
        last->count += count;
    } else {
        runs_room(v, 1);
        v->runs[v->run_count++] = (struct view_run){.first = first, .count = count};
    }
    runs_number(v, v->run_count - 1);
}

/* The run that holds uid, or the first one above it (run_count: none). */
static size_t run_find(const struct view *v, uint32_t uid)
{
    size_t low = 0, high = v->run_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (v->runs[middle].first + (v->runs[middle].count - 1) < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void view_remove(struct view *v, uint32_t uid)
{
    size_t i = run_find(v, uid);
    if (i == v->run_count || uid < v->runs[i].first)
        return;
    struct view_run *r = &v->runs[i];
    uint32_t before = uid - r->first, after = r->count - before - 1;
    if (before && after) {
        runs_room(v, 1);
        r = &v->runs[i];
        memmove(r + 2, r + 1, (v->run_count - i - 1) * sizeof(*r));
        r[1] = (struct view_run){.first = uid + 1, .count = after};
        r->count = before;
        v->run_count++;
    } else if (before) {
        r->count = before;
    } else if (after) {
        r->first++;
        r->count = after;
    } else {
        memmove(r, r + 1, (v->run_count - i - 1) * sizeof(*r));
        v->run_count--;
    }
    runs_number(v, i);
}

uint32_t view_uid(const struct view *v, uint32_t sequence)
{
    size_t low = 0, high = v->run_count;
    if (sequence == 0 || sequence > v->total)
        return 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (v->runs[middle].sequence + v->runs[middle].count <= sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return v->runs[low].first + (sequence - v->runs[low].sequence);
}

uint32_t view_sequence(const struct view *v, uint32_t uid)
{
    size_t i = run_find(v, uid);
    if (i == v->run_count || uid < v->runs[i].first)
        return 0;
    return v->runs[i].sequence + (uid - v->runs[i].first);
}

uint32_t view_count_below(const struct view *v, uint32_t uid)
{
    size_t i = run_find(v, uid);
    if (i == v->run_count)
        return v->total;
    uint32_t inside = uid > v->runs[i].first ? uid - v->runs[i].first : 0;
    return v->runs[i].sequence - 1 + inside;
}

uint32_t view_last_uid(const struct view *v)
{
    return v->run_count ? v->runs[v->run_count - 1].first + v->runs[v->run_count - 1].count - 1 : 0;
}
