/* civetweb gives its threads a stack of 100 KiB, fixed when it was built. Our handlers compile nested documents on
 * theirs, with libpq and OpenSSL below, so they need more. There is no option for it; hence this function stands in
 * front of libc's and raises what is asked for. tests/api/test_http would crash without it (test_deep_document). */
#include "api/stack.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "engine/os/log.h"

typedef int set_fn(pthread_attr_t *attr, size_t size);

/* libc declares it for everybody; this definition is ours. */
int pthread_attr_setstacksize(pthread_attr_t *attr, size_t size)
{
    set_fn *next;
    void *symbol = dlsym(RTLD_NEXT, "pthread_attr_setstacksize");
    memcpy(&next, &symbol, sizeof next);
    return next(attr, size < STACK_LEAST ? STACK_LEAST : size);
}

bool stack_suffices(void)
{
    pthread_attr_t attr;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attr) != 0) return true;
    bool ok = pthread_attr_getstacksize(&attr, &size) != 0 || size >= STACK_LEAST;
    pthread_attr_destroy(&attr);
    if (!ok) log_error("the stack of request threads is too small", LOG_INT("bytes", size));
    return ok;
}
