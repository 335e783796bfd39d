/* Lists whose items know what points at them, and so leave without a walk. An item has `next`, and `link`: the address
 * of the pointer at it. */
#ifndef MILLRACE_BASE_LINK_H
#define MILLRACE_BASE_LINK_H

#define LINK(first, item)                                                                                              \
    do {                                                                                                               \
        (item)->next = *(first);                                                                                       \
        (item)->link = (first);                                                                                        \
        if (*(first) != NULL) (*(first))->link = &(item)->next;                                                        \
        *(first) = (item);                                                                                             \
    } while (0)
#define UNLINK(item)                                                                                                   \
    do {                                                                                                               \
        *(item)->link = (item)->next;                                                                                  \
        if ((item)->next != NULL) (item)->next->link = (item)->link;                                                   \
    } while (0)

#endif
