/* What curl is told of a server's certificate, and when its connections are given up. */
#include <dlfcn.h>

#include "engine/kube/client_inner.h"
#include "tests/engine/kube/rig.h"

static struct told get(struct kube_client *c)
{
    struct told t = {0};
    kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/x"), .tries = 1, .done = on_told, .ctx = &t});
    turn_until(c, &t.done);
    return t;
}

/* ---- certificates ---- */

static bool system_trusted; /* the system's folder of certificates has not been taken off */

/* In front of curl's own. Each option has one argument, as large as a pointer. */
#undef curl_easy_setopt
CURLcode curl_easy_setopt(CURL *curl, CURLoption option, ...)
{
    static CURLcode (*next)(CURL *, CURLoption, ...);
    va_list args;
    va_start(args, option);
    void *value = va_arg(args, void *);
    va_end(args);
    if (option == CURLOPT_CAPATH && value == NULL) system_trusted = false;
    if (next == NULL) next = (CURLcode(*)(CURL *, CURLoption, ...))(uintptr_t)dlsym(RTLD_NEXT, "curl_easy_setopt");
    return next(curl, option, value);
}

static void only_the_kubeconfigs_certificates_count(void **state)
{
    static const struct {
        const char *pem;
        bool system;
    } rows[] = {{"", true}, {"-----BEGIN CERTIFICATE-----", false}};
    static const struct row script[] = {{0}};
    (void)state;
    EACH(r, rows)
    {
        server_start(script);
        struct kube_access access = access_of_server();
        access.ca_pem = str_of(rows[r].pem);
        struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
        system_trusted = true;
        (void)get(c);
        assert_int_equal(system_trusted, rows[r].system);
        kube_client_close(c);
        server_stop();
    }
}

/* ---- connections ---- */

/* One that was not answered in time lets others' connections be, until they are done. */
static void who_is_under_way_is_answered(void **state)
{
    static const struct row script[] = {{"/late", .how = SILENT}, {"/x", 200, NULL, .body = "fine", .times = -1}, {0}};
    struct told late = {0}, t = {0};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    const struct kube_pool *first = c->requests;
    pthread_mutex_lock(&server.lock); /* nobody is answered */
    kube_request(
        c, &(struct kube_request){
               .method = "GET", .path = STR("/late"), .tries = 1, .timeout_ms = 200, .done = on_told, .ctx = &late});
    kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/x"), .done = on_told, .ctx = &t});
    turn_until(c, &late.done);
    assert_ptr_not_equal(c->requests, first);
    pthread_mutex_unlock(&server.lock);
    turn_until(c, &t.done);
    assert_int_equal(t.outcome, KUBE_DONE);
    assert_int_equal(t.tries, 1);
    assert_string_equal(get(c).body, "fine");
    kube_client_close(c);
    server_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_the_kubeconfigs_certificates_count),
                                       cmocka_unit_test(who_is_under_way_is_answered)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
