/* wheel.c - a timing wheel. */
#include "run/wheel.h"

enum { SLOT_BITS = 6, SLOT_MASK = WHEEL_SLOTS - 1 };

/* The number of the slot of this level that tick lies in, counted from the beginning of time. */
static int64_t slot_number(int64_t tick, unsigned level)
{
    return tick >> (SLOT_BITS * level);
}

static int64_t slot_start_ms(int64_t number, unsigned level)
{
    return (number << (SLOT_BITS * level)) * WHEEL_TICK;
}

int64_t wheel_add(struct wheel *w, struct wheel_node *node, int64_t now, int64_t due)
{
    if (w->count == 0)
        w->tick = MAX(w->tick, now / WHEEL_TICK);
    int64_t tick = MAX(MAX(due, now) / WHEEL_TICK + (due % WHEEL_TICK != 0), w->tick + 1);
    unsigned level = 0;
    while (level < WHEEL_LEVELS - 1 &&
           slot_number(tick, level) - slot_number(w->tick, level) >= WHEEL_SLOTS)
        level++;
    int64_t number = MIN(slot_number(tick, level), slot_number(w->tick, level) + WHEEL_SLOTS - 1);
    unsigned slot = (unsigned)(number & SLOT_MASK);

    node->place = (uint16_t)(level * WHEEL_SLOTS + slot);
    node->previous = NULL;
    node->next = w->slots[level][slot];
    if (node->next)
        node->next->previous = node;
    w->slots[level][slot] = node;
    w->used[level] |= UINT64_C(1) << slot;
    w->count++;
    return slot_start_ms(number, level);
}

void wheel_remove(struct wheel *w, struct wheel_node *node)
{
    unsigned level = node->place / WHEEL_SLOTS, slot = node->place % WHEEL_SLOTS;
    if (node->previous)
        node->previous->next = node->next;
    else
        w->slots[level][slot] = node->next;
    if (node->next)
        node->next->previous = node->previous;
    if (!w->slots[level][slot])
        w->used[level] &= ~(UINT64_C(1) << slot);
    w->count--;
    node->previous = node->next = NULL;
}

/* Empties one slot in front of *list. */
static void slot_take(struct wheel *w, unsigned level, unsigned slot, struct wheel_node **list)
{
    while (w->slots[level][slot]) {
        struct wheel_node *node = w->slots[level][slot];
        wheel_remove(w, node);
        node->next = *list;
        *list = node;
    }
}

struct wheel_node *wheel_advance(struct wheel *w, int64_t now)
{
    struct wheel_node *list = NULL;
    int64_t tick = now / WHEEL_TICK;
    if (tick <= w->tick)
        return NULL;
    for (unsigned level = 0; level < WHEEL_LEVELS && w->count; level++) {
        int64_t from = slot_number(w->tick, level), to = slot_number(tick, level);
        to = MIN(to, from + WHEEL_SLOTS); /* more would go round twice */
        for (int64_t number = from + 1; number <= to && w->used[level]; number++)
            slot_take(w, level, (unsigned)(number & SLOT_MASK), &list);
    }
    w->tick = tick;
    return list;
}

int64_t wheel_next(const struct wheel *w)
{
    int64_t next = 0;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        if (!w->used[level])
            continue;
        int64_t number = slot_number(w->tick, level) + 1;
        unsigned turn = (unsigned)(number & SLOT_MASK);
        uint64_t used = w->used[level] >> turn;
        if (turn)
            used |= w->used[level] << (WHEEL_SLOTS - turn);
        int64_t at = slot_start_ms(number + __builtin_ctzll(used), level);
        if (next == 0 || at < next)
            next = at;
    }
    return next;
}
