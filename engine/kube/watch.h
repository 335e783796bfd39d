/* What a collection of objects is now, and each change of it: list, then watch, for ever.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 *
 * Only names, uids and resource versions are kept here. A gap (410 as a status or within the stream, a cut connection,
 * a server that is away) is mended by going on from the last resource version, or else by a new list, after which what
 * is gone meanwhile is told as deleted. An object may be told twice with the same version; never out of order. */
#ifndef MILLRACE_KUBE_WATCH_H
#define MILLRACE_KUBE_WATCH_H

#include "engine/base/value.h"
#include "engine/kube/client.h"

struct kube_watch;

enum kube_change { KUBE_PRESENT, KUBE_DELETED };

/* Callbacks come from kube_client_turn and may close the watch. */
struct kube_watch_config {
    struct str path;     /* /api/v1/namespaces/x/pods, perhaps with a query: ?fieldSelector=… */
    struct str selector; /* labelSelector, not escaped; empty = all */
    /* `object` is valid during the call; items of a list lack apiVersion and kind. A deletion that was seen only by a
     * new list has nothing but metadata.name, metadata.namespace and metadata.uid; so has one whose name is in use
     * again by another uid, which is told as deleted before the new one is told as present. */
    void (*changed)(void *ctx, enum kube_change change, const struct value *object);
    void (*synced)(void *ctx); /* after each complete list: all there is was told; may be NULL */
    /* It cannot be listed or watched: forbidden, no such kind, away. Told once per kind of trouble, what may be over at
     * the next try only when that fails, too; NULL answer = it is well again. It goes on trying. May be NULL. */
    void (*trouble)(void *ctx, const struct kube_answer *answer);
    void *ctx;
    int64_t timeout_s; /* of one watch request; 0 = random 300–600 */
    int64_t idle_ms; /* without a byte, not even a bookmark (they come every minute), for so long it is asked for anew,
                        from where it was: the connection may be half-open; 0 = 90 s */
    size_t page;     /* of a list; 0 = 500 */
    int64_t delay_ms, delay_max_ms; /* between tries; 0 = 800 and 30000; from the start again after two good minutes */
};

struct kube_watch_stats {
    uint64_t lists, pages, watches, events, bookmarks, expired; /* lists: begun; expired: 410 in either form */
    size_t known;                                               /* objects, now */
};

MUST_CHECK bool kube_watch_open(struct kube_client *c, const struct kube_watch_config *config, struct kube_watch **out,
                                struct err *err);
void kube_watch_close(struct kube_watch *w);        /* before its client; NULL is fine */
bool kube_watch_synced(const struct kube_watch *w); /* the first list is complete */
/* What the server said when trouble was told last; NULL = it is well. Valid until the next turn of the client. */
const char *kube_watch_trouble(const struct kube_watch *w);
const struct kube_watch_stats *kube_watch_statistics(const struct kube_watch *w);

#endif
