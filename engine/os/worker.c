/* A pool of worker threads. See worker.h. */
#include "engine/os/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct queue {
    struct job *first, **last;
};

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct queue waiting, finished;
    bool stopping;
    int fd;
    uint32_t n;
    pthread_t threads[];
};

static void put(struct queue *q, struct job *job)
{
    job->next = NULL;
    *q->last = job;
    q->last = &job->next;
}

static struct job *get(struct queue *q)
{
    struct job *job = q->first;
    if (job == NULL) return NULL;
    q->first = job->next;
    if (q->first == NULL) q->last = &q->first;
    return job;
}

static void announce(struct workers *w)
{
    uint64_t one = 1;
    if (write(w->fd, &one, sizeof one) < 0) return; /* full: it is readable anyway */
}

static void *thread_main(void *arg)
{
    struct workers *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        struct job *job = get(&w->waiting);
        if (job == NULL) {
            pthread_cond_wait(&w->work, &w->lock);
            continue;
        }
        pthread_mutex_unlock(&w->lock);
        job->run(job);
        pthread_mutex_lock(&w->lock);
        put(&w->finished, job);
        announce(w);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void destroy(struct workers *w)
{
    if (w->fd >= 0) close(w->fd);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->work);
    free(w);
}

bool workers_new(uint32_t threads, struct workers **out, struct err *err)
{
    struct workers *w = calloc(1, sizeof *w + threads * sizeof(pthread_t));
    if (w == NULL) abort();
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    w->waiting.last = &w->waiting.first;
    w->finished.last = &w->finished.first;
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->fd < 0) {
        err_set(err, ERR_IO, "cannot make an event descriptor: %s", strerror(errno));
        destroy(w);
        return false;
    }
    for (; w->n < threads; w->n++) {
        int failed = pthread_create(&w->threads[w->n], NULL, thread_main, w);
        if (failed == 0) continue;
        err_set(err, ERR_IO, "cannot start a worker thread: %s", strerror(failed));
        workers_free(w, NULL);
        return false;
    }
    *out = w;
    return true;
}

void workers_free(struct workers *w, void (*drop)(struct job *job))
{
    if (w == NULL) return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
    for (uint32_t i = 0; i < w->n; i++)
        pthread_join(w->threads[i], NULL);
    for (struct job *job; (job = get(&w->waiting)) != NULL || (job = get(&w->finished)) != NULL;)
        if (drop != NULL) drop(job);
    destroy(w);
}

void workers_add(struct workers *w, struct job *job)
{
    pthread_mutex_lock(&w->lock);
    put(&w->waiting, job);
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
}

struct job *workers_take(struct workers *w)
{
    uint64_t n;
    pthread_mutex_lock(&w->lock);
    struct job *job = get(&w->finished);
    if (w->finished.first == NULL && read(w->fd, &n, sizeof n) < 0) n = 0; /* nothing left: not readable any more */
    pthread_mutex_unlock(&w->lock);
    return job;
}

int workers_fd(const struct workers *w)
{
    return w->fd;
}
