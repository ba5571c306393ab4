/* wheel.h - a timing wheel: many deadlines, set and cleared in constant time.
 *
 * Six levels of 64 slots; a slot of level n is 64 times as long as one of level n - 1, and the
 * shortest is WHEEL_TICK. A node far in the future stands in a long slot; when that slot is reached
 * the node is given back and its owner adds it again, now nearer, until it stands in a short slot.
 * So the wheel need not know when a node is really due, and a deadline that moves later costs
 * nothing until the old one is reached. No locks: the owner has one.
 */
#ifndef RUN_WHEEL_H
#define RUN_WHEEL_H

#include "base/base.h"

enum { WHEEL_LEVELS = 6, WHEEL_SLOTS = 64, WHEEL_TICK = 8 /* ms */ };

struct wheel_node {
    struct wheel_node *previous, *next; /* of its slot; previous is NULL for the first */
    uint16_t place;                     /* level * WHEEL_SLOTS + slot */
};

struct wheel {
    int64_t tick; /* the last one that was reached */
    size_t count;
    uint64_t used[WHEEL_LEVELS]; /* a bit per slot that is not empty */
    struct wheel_node *slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

/* Adds a node that is in no wheel. now and due in ms on one clock. Returns the time at which the node
 * will be given back: never earlier than due and at most WHEEL_TICK later when due is near, else
 * somewhat before due. */
int64_t wheel_add(struct wheel *w, struct wheel_node *node, int64_t now, int64_t due);
void wheel_remove(struct wheel *w, struct wheel_node *node);

/* Goes on to now; takes out the nodes of all slots reached, linked by next. NULL when none. */
struct wheel_node *wheel_advance(struct wheel *w, int64_t now);

/* When wheel_advance will next give a node; 0 when the wheel is empty. */
int64_t wheel_next(const struct wheel *w);

#endif
